"""Record values: read by rules, rebuilt, never passed on raw."""

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.hosting import records
from controller.hosting.records import Rrset
from controller.refusal import CommandError

ZONE = "shop.test"


def data(kind: str, *values: str) -> tuple[str, ...]:
    return records.record_data(kind, values, ZONE)


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("A", "192.0.2.7", "192.0.2.7"),
        ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("CNAME", "www", "www.shop.test."),
        ("CNAME", "@", "shop.test."),
        ("CNAME", "Host.Example", "host.example."),
        ("CNAME", "_x._domainkey.example.", "_x._domainkey.example."),
        ("CNAME", "bücher.example", "xn--bcher-kva.example."),
        ("MX", "10 mail", "10 mail.shop.test."),
        ("MX", "0 .", "0 ."),
        ("MX", "10 5", "10 5.shop.test."),
        ("NS", "ns.example", "ns.example."),
        ("PTR", "host.example.", "host.example."),
        ("SRV", "1 2 5060 sip", "1 2 5060 sip.shop.test."),
        ("SRV", "0 0 0 .", "0 0 0 ."),
        ("CAA", "0 issue ca.example", '0 issue "ca.example"'),
        ("CAA", '0 issue "ca.example; policy=ev"', '0 issue "ca.example; policy=ev"'),
        ("CAA", "0 issue ;", '0 issue ";"'),
        ("TXT", "v=spf1 -all", '"v=spf1 -all"'),
        ("TXT", "v=DKIM1; k=rsa; p=abc", '"v=DKIM1; k=rsa; p=abc"'),
        ("TXT", '"one" "two; three"', '"one" "two; three"'),
        ("TXT", "say \\ it", '"say \\\\ it"'),
        ("TXT", "$INCLUDE /etc/passwd", '"$INCLUDE /etc/passwd"'),
        ("TXT", "ü", '"\\195\\188"'),
    ],
)
def test_value_is_stored_as_rdata_text_with_absolute_names(
    kind: str, value: str, stored: str
) -> None:
    assert data(kind, value) == (stored,)


def test_words_of_one_record_may_come_apart() -> None:
    assert data("MX", "10", "mail") == ("10 mail.shop.test.",)
    assert data("MX", "10", "mail", "20", "mail2") == ("10 mail.shop.test.", "20 mail2.shop.test.")
    assert data("MX", "10 mail", "20 mail2") == ("10 mail.shop.test.", "20 mail2.shop.test.")


def test_text_over_255_bytes_is_split() -> None:
    (stored,) = data("TXT", "a" * 600)
    assert stored == f'"{"a" * 255}" "{"a" * 255}" "{"a" * 90}"'


def test_quoted_string_over_255_bytes_is_split() -> None:
    (stored,) = data("TXT", f'"{"a" * 300}"')
    assert stored == f'"{"a" * 255}" "{"a" * 45}"'


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "nonsense"),
        ("A", "192.0.2.256"),
        ("A", "192.0.2.1 ; comment"),
        ("A", "192.0.2.1\n@ IN A 192.0.2.2"),
        ("A", "2001:db8::1"),
        ("A", "010.0.0.1"),
        ("AAAA", "192.0.2.1"),
        ("AAAA", "fe80::1%eth0"),
        ("CNAME", "a b"),
        ("CNAME", "a..b"),
        ("CNAME", ""),
        ("CNAME", "a;b"),
        ("CNAME", "a\\010b"),
        ("MX", "mail"),
        ("MX", "10"),
        ("MX", "65536 mail"),
        ("MX", "-1 mail"),
        ("MX", "10 a_b"),
        ("MX", "10 ."),
        ("MX", "10 192.0.2.1"),
        ("MX", "10 192.0.2.1."),
        ("MX", "10 5."),
        ("CNAME", "192.0.2.1"),
        ("NS", "192.0.2.1"),
        ("PTR", "192.0.2.1"),
        ("SRV", "1 2 3 192.0.2.1"),
        ("NS", "a_b.example"),
        ("SRV", "1 2 70000 sip"),
        ("SRV", "1 2 sip"),
        ("CAA", "256 issue a"),
        ("CAA", "0 is-sue a"),
        ("CAA", '0 issue "a" "b"'),
        ("CAA", '0 issue "a'),
        ("TXT", '"open'),
        ("TXT", '"a" b'),
        ("TXT", '"a" ; gone'),
        ("TXT", "line\nbreak"),
        ("TXT", "carriage\rreturn"),
        ("TXT", "nul\0"),
        ("TXT", "x" * 16385),
    ],
)
def test_bad_value_is_refused(kind: str, value: str) -> None:
    with pytest.raises(CommandError) as caught:
        data(kind, value)
    assert caught.value.id == "record.value.invalid"
    assert caught.value.field == "values"
    assert caught.value.allowed


def test_value_given_twice_is_refused() -> None:
    with pytest.raises(CommandError):
        data("A", "192.0.2.1", "192.0.2.1")


@pytest.mark.parametrize("kind", ["SOA", "ANY", "AXFR", "DNSKEY", "TYPE65", "a;b", ""])
def test_type_that_cannot_be_set_is_refused(kind: str) -> None:
    with pytest.raises(CommandError) as caught:
        records.record_type(kind)
    assert caught.value.id == "record.type.invalid"


@pytest.mark.parametrize("seconds", [-1, 2**31, 2**63])
def test_ttl_out_of_range_is_refused(seconds: int) -> None:
    with pytest.raises(CommandError):
        records.ttl(seconds)


def test_ttl_at_its_ends_is_taken() -> None:
    assert [records.ttl(n) for n in (0, 2**31 - 1)] == [0, 2**31 - 1]


@given(st.sampled_from(records.TYPES), st.text(max_size=400))
def test_what_is_accepted_is_one_line_that_parses_to_itself(kind: str, text: str) -> None:
    try:
        (stored,) = data(kind, text)
    except CommandError:
        return
    assert stored.isprintable()
    assert stored.isascii()
    parsed = dns.rdata.from_text(
        dns.rdataclass.IN, dns.rdatatype.from_text(kind), stored, relativize=False
    )
    assert parsed.to_text() == stored


@given(st.text(alphabet=st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=900))
def test_any_plain_text_comes_back_byte_by_byte(text: str) -> None:
    if text.strip().startswith('"') or not text.strip():
        return
    (stored,) = data("TXT", text)
    parsed = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, stored)
    assert b"".join(parsed.strings).decode() == text.strip()


def test_cname_at_the_apex_is_refused() -> None:
    with pytest.raises(CommandError) as caught:
        records.check_owner(Rrset("@", "CNAME"))
    assert caught.value.id == "record.cname.apex"


@pytest.mark.parametrize("kind", ["NS", "SOA"])
def test_generated_records_of_the_apex_are_protected(kind: str) -> None:
    with pytest.raises(CommandError) as caught:
        records.check_owner(Rrset("@", kind))
    assert caught.value.id == "record.generated"


def test_underscore_is_legal_only_where_a_name_is_no_host() -> None:
    for kind in ("TXT", "SRV", "CNAME"):
        records.check_owner(Rrset("_x", kind))
    for kind in ("A", "AAAA", "MX"):
        with pytest.raises(CommandError):
            records.check_owner(Rrset("_x", kind))


def test_cname_beside_other_data_is_refused_both_ways() -> None:
    with pytest.raises(CommandError) as caught:
        records.check_beside(Rrset("www", "CNAME"), 1, [Rrset("www", "A")])
    assert caught.value.id == "record.cname.beside"
    with pytest.raises(CommandError):
        records.check_beside(Rrset("www", "A"), 1, [Rrset("www", "CNAME")])
    with pytest.raises(CommandError):
        records.check_beside(Rrset("www", "CNAME"), 2, [])
    records.check_beside(Rrset("www", "CNAME"), 1, [Rrset("ftp", "A")])


def test_more_records_of_one_name_and_type_than_a_name_server_loads_are_refused() -> None:
    records.check_beside(Rrset("www", "TXT"), 100, [])
    with pytest.raises(CommandError) as caught:
        records.check_beside(Rrset("www", "TXT"), 101, [])
    assert (caught.value.id, caught.value.value) == ("record.too-many", "101")
