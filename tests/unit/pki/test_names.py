from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.names import BOX, CLUSTER, OPERATOR, Name, NameRefusedError
from tests.unit.pki.forge import BOX as UUID

names = st.one_of(
    st.builds(Name, st.from_regex(CLUSTER, fullmatch=True), st.just("controller")),
    st.builds(
        Name,
        st.from_regex(CLUSTER, fullmatch=True),
        st.just("box"),
        st.from_regex(BOX, fullmatch=True),
    ),
    st.builds(
        Name,
        st.from_regex(CLUSTER, fullmatch=True),
        st.just("operator"),
        st.from_regex(OPERATOR, fullmatch=True),
    ),
)


@given(names)
def test_a_name_survives_its_uri(name: Name) -> None:
    assert Name.parse(name.uri) == name


@given(names, st.data())
def test_a_changed_uri_is_another_name_or_none(name: Name, data: st.DataObject) -> None:
    uri = name.uri
    at = data.draw(st.integers(0, len(uri)))
    changed = uri[:at] + data.draw(st.text(max_size=3)) + uri[at + data.draw(st.integers(0, 1)) :]
    try:
        parsed = Name.parse(changed)
    except NameRefusedError:
        return
    assert parsed.uri == changed
    assert (parsed == name) == (changed == uri)


@given(st.text())
def test_text_is_refused_or_has_one_spelling(text: str) -> None:
    with suppress(NameRefusedError):
        assert Name.parse(text).uri == text


GOOD_BOX = f"urn:heliosphere:c1:box:{UUID}"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "urn:heliosphere:c1",
        "urn:heliosphere::controller",
        "urn:heliosphere:c1:controller:",
        "urn:heliosphere:c1:controller:x",
        "urn:heliosphere:c1:box",
        "urn:heliosphere:c1:box:",
        "urn:heliosphere:c1:operator:",
        "urn:heliosphere:c1:root:ann",
        "urn:heliosphere:C1:controller",
        "urn:heliosphere:c1.:controller",
        "URN:heliosphere:c1:controller",
        GOOD_BOX.upper(),
        GOOD_BOX + ".",
        GOOD_BOX + "\n",
        GOOD_BOX + "\0",
        " " + GOOD_BOX,
        GOOD_BOX.replace("-", ""),
        GOOD_BOX.replace(UUID, "../../etc"),
        GOOD_BOX.replace(UUID, "{" + UUID + "}"),
        "urn:heliosphere:c1:operator:ann.",
        "urn:heliosphere:c1:operator:-ann",
        "urn:heliosphere:c1:operator:Ann",
        "urn:heliosphere:c1:operator:аnn",  # a Cyrillic letter
        "urn:heliosphere:c1:operator:ann\u202e",
        "urn:heliosphere:c1:operator:an%6e",
        "urn:heliosphere:c1:operator:" + "a" * 33,
        "urn:heliosphere:c1:operator:" + "a" * 65536,
        "https://c1/controller",
    ],
)
def test_other_spellings_are_refused(uri: str) -> None:
    with pytest.raises(NameRefusedError) as refused:
        Name.parse(uri)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 700


def test_a_name_with_a_foreign_role_is_refused() -> None:
    with pytest.raises(NameRefusedError, match="role 'root'"):
        Name("c1", "root", "x")  # type: ignore[arg-type]
