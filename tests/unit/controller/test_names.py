"""Domain names and owner names: what is taken, how it is stored, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import names
from controller.refusal import CommandError


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("shop.test", "shop.test"),
        ("Shop.TEST.", "shop.test"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
        ("0.0.example", "0.0.example"),
    ],
)
def test_domain_name_is_stored_as_lower_case_a_labels(given_name: str, stored: str) -> None:
    assert names.domain_name(given_name) == stored


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        ".",
        "test",
        "test..com",
        ".test.com",
        "a" * 64 + ".test",
        ".".join(["a" * 60] * 4) + ".abcdefghijkl",
        "-a.test",
        "a-.test",
        "a_b.test",
        "_a.test",
        "192.0.2.1",
        "shop.123",
        "127.1shop",
        "shop.3d",
        "shop.test\n",
        "shop\r\n.test",
        "shop\0.test",
        "sh op.test",
        "shop\u2028.test",
        'sh"op.test',
        "sh;op.test",
        "$INCLUDE.test",
        "sh/../op.test",
        "*.test",
        "xn--a.test",
        "xn--.test",
        "ab--cd.test",
        "ｓｈｏｐ.test..",
        "\u202eshop.test",
        "shop.test@evil",
        "ü" * 60 + ".test",
    ],
)
def test_bad_domain_name_is_refused(hostile: str) -> None:
    with pytest.raises(CommandError) as caught:
        names.domain_name(hostile)
    assert caught.value.id == "domain.name.invalid"
    assert caught.value.value == hostile
    assert caught.value.allowed


def test_name_of_254_bytes_is_refused_and_of_253_is_taken() -> None:
    longest = ".".join(["a" * 61] * 4 + ["bcdef"])
    assert len(longest) == 253
    assert names.domain_name(longest) == longest
    with pytest.raises(CommandError):
        names.domain_name("x" + longest)


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("@", "@"),
        ("", "@"),
        ("www", "www"),
        ("WWW", "www"),
        ("a.b", "a.b"),
        ("www.shop.test", "www"),
        ("www.shop.test.", "www"),
        ("shop.test.", "@"),
        ("_sip._tcp", "_sip._tcp"),
        ("*", "*"),
        ("*.a", "*.a"),
        ("bücher", "xn--bcher-kva"),
        ("www.other.test", "www.other.test"),
    ],
)
def test_owner_is_stored_relative_to_the_zone(given_name: str, stored: str) -> None:
    assert names.owner_name(given_name, "shop.test") == stored


@pytest.mark.parametrize("outside", ["www.other.test.", "test.", "xshop.test.", "shop.test.com."])
def test_owner_outside_the_zone_is_refused(outside: str) -> None:
    with pytest.raises(CommandError) as caught:
        names.owner_name(outside, "shop.test")
    assert caught.value.id == "record.name.out-of-zone"


@pytest.mark.parametrize(
    "hostile",
    ["bad name", "a..b", "-a", "a-", "a.*", "a*", "a\nb", "a;b", 'a"b', "a\\046b", "$TTL", "@.a"],
)
def test_bad_owner_is_refused(hostile: str) -> None:
    with pytest.raises(CommandError) as caught:
        names.owner_name(hostile, "shop.test")
    assert caught.value.id == "record.name.invalid"


def test_owner_and_zone_together_stay_within_253_bytes() -> None:
    zone = ".".join(["a" * 60] * 3) + ".test"
    assert names.owner_name("b" * 63 + ".c", zone) == "b" * 63 + ".c"
    with pytest.raises(CommandError):
        names.owner_name("b" * 63 + ".cc", zone)


@given(st.text(max_size=300))
def test_what_is_accepted_is_safe_and_stays_as_it_is(text: str) -> None:
    try:
        stored = names.domain_name(text)
    except CommandError:
        return
    assert set(stored) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert len(stored) <= 253
    assert names.domain_name(stored) == stored


def test_reversed_names_put_children_in_one_range() -> None:
    parent = names.reversed_name("shop.test")
    inside = [names.reversed_name(n) for n in ("a.shop.test", "z.z.shop.test", "0.shop.test")]
    outside = [names.reversed_name(n) for n in ("shop.test", "shop-a.test", "shopa.test")]
    assert all(f"{parent}." < name < f"{parent}/" for name in inside)
    assert not any(f"{parent}." < name < f"{parent}/" for name in outside)


def test_ancestors_leave_the_top_level_domain_out() -> None:
    assert names.ancestors("a.b.shop.test") == ["test.shop", "test.shop.b"]
    assert names.ancestors("shop.test") == []
