"""Records: what named would refuse is refused first, with words a person can use."""

import subprocess
from pathlib import Path

import attrs
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates.bind import zone_file
from templates.bind.zone_data import zone_data
from templates.bind.zone_file import master_file_text
from templates.effects import WriteFile
from templates.service_type import PlanRefusedError
from tests.unit.templates.bind.specs import SOA, ZONE, MasterZone, Record, master, plan_zone, record

REFUSED = {
    "no name server": (),
    "address missing": (record("NS", f"ns.{ZONE}."),),
    "address is an alias": (
        record("NS", f"ns.{ZONE}."),
        record("CNAME", "ns1.cluster.test.", "ns"),
    ),
    "alias at the apex": (record("NS", "ns1.cluster.test."), record("CNAME", "a.test.")),
    "alias beside data": (
        record("NS", "ns1.cluster.test."),
        record("CNAME", "a.test.", "www"),
        record("A", "192.0.2.1", "www"),
    ),
    "two aliases": (
        record("NS", "ns1.cluster.test."),
        record("CNAME", "a.test.", "www"),
        record("CNAME", "b.test.", "www"),
    ),
    "outside": (record("NS", "ns1.cluster.test."), record("A", "192.0.2.1", "www.other.test.")),
    "bad address": (record("NS", "ns1.cluster.test."), record("A", "192.0.2.256")),
    "no number": (record("NS", "ns1.cluster.test."), record("MX", "x mail.test.")),
}
"""Zones that named-checkzone refuses as well, so that this list cannot drift from named."""


def text_of(records: tuple[Record, ...]) -> str:
    lines = [f"@ 3600 IN SOA {SOA.primary} {SOA.contact} 1 1 1 1 1"]
    lines += [f"{each.owner} {each.ttl} IN {each.type} {each.data}" for each in records]
    return "\n".join([*lines, ""])


def checkzone(text: str, directory: Path) -> int:
    path = directory / "zone"
    path.write_text(text)
    arguments = ["named-checkzone", "-i", "none", "-k", "ignore", "-n", "fail", ZONE, str(path)]
    return subprocess.run(arguments, check=False, capture_output=True).returncode


@pytest.mark.parametrize("case", REFUSED)
def test_what_named_refuses_is_refused_first(case: str) -> None:
    zone = MasterZone(serial=1, soa=SOA, records=REFUSED[case], secondaries=())
    with pytest.raises(PlanRefusedError, match=f"^{ZONE}"):
        plan_zone(None, zone)


@pytest.mark.parametrize(
    "case", sorted(set(REFUSED) - {"outside", "address missing", "address is an alias"})
)
def test_named_refuses_it_too(case: str, tmp_path: Path) -> None:
    assert checkzone(text_of(REFUSED[case]), tmp_path) != 0


@pytest.mark.parametrize(
    "bad",
    [
        record("SOA", "a. b. 1 1 1 1 1"),
        record("NSEC", "a.test. A"),
        record("AXFR", "x"),
        record("TYPE65534", "\\# 1 00"),
        record("a", "192.0.2.1"),
        record("A", "192.0.2.1 ; comment"),
        record("A", "192.0.2.1 192.0.2.2"),
        record("A", "192.0.2.1\n@ IN A 192.0.2.2"),
        record("A", ""),
        record("A", "192.0.2.1", "www", 2**31),
        record("A", "192.0.2.1", "www", -1),
        record("A", "192.0.2.1", ""),
        record("A", "192.0.2.1", "a..b"),
        record("A", "192.0.2.1", "a" * 64),
        record("A", "192.0.2.1", "a b"),
        record("A", "192.0.2.1", "shöp"),
        record("MX", "10 mail"),
        record("CNAME", "other", "www"),
        record("SRV", "1 1 1 host", "_a._tcp"),
        record("TXT", '"' + "a" * 256 + '"'),
        record("TXT", '"not closed'),
        record("TXT", " ".join(['"' + "a" * 255 + '"'] * 257)),
        record("NS", "ns2.cluster.test.", ttl=60),
        record("NS", "ns1.cluster.test."),
    ],
    ids=lambda bad: f"{bad.owner[:20]!a} {bad.type} {bad.data[:20]!a}",
)
def test_a_record_that_is_not_plain_data_is_refused(bad: Record) -> None:
    with pytest.raises(PlanRefusedError, match=f"^{ZONE}"):
        plan_zone(None, master(bad))


GOOD = (
    record("A", "192.0.2.1", "ns"),
    record("NS", f"ns.{ZONE}."),
    record("AAAA", "2001:db8::1", "*"),
    record("MX", "10 mail.other.test."),
    record("TXT", '"v=spf1; \\"quoted\\" \\\\ \\010 $INCLUDE" "second"', "_dmarc"),
    record("TXT", "unquoted", "txt"),
    record("SRV", "1 2 5060 sip.other.test.", "_sip._tcp"),
    record("CAA", '0 issue "ca.test; policy=ev"'),
    record("TLSA", "3 1 1 " + "ab" * 32, "_443._tcp"),
    record("SSHFP", "1 1 " + "ab" * 20, "host"),
    record("HTTPS", "1 . alpn=h2", "www"),
    record("NAPTR", '100 10 "U" "E2U+sip" "!^.*$!sip:info@a.test!" .', "enum"),
    record("PTR", "host.other.test.", "1.2"),
    record("LOC", "51 30 12.748 N 0 7 39.612 W 0.00m", "loc"),
    record("URI", '10 1 "https://a.test/"', "_http._tcp"),
    record("DS", "1 8 2 " + "ab" * 32, "child"),
    record("NS", f"ns.child.{ZONE}.", "child"),
    record("A", "192.0.2.9", "ns.child"),
    record("CNAME", f"ns.{ZONE}.", "a\\.b\\;c"),
)


def test_every_type_is_written_so_that_named_reads_it(tmp_path: Path) -> None:
    plan = plan_zone(None, master(*GOOD))
    (text,) = (item.content.decode() for item in plan.files if isinstance(item, WriteFile))
    assert checkzone(text, tmp_path) == 0
    assert len(text.splitlines()) == len(GOOD) + 3


LINE = f"ns.{ZONE}. 3600 IN A 192.0.2.1\n"


@pytest.mark.parametrize(
    "changed",
    [
        LINE.replace("192.0.2.1", "192.0.2.2"),
        LINE.replace("3600", "3601"),
        LINE.replace("ns.", "ns.other."),
        LINE.replace(f"{ZONE}.", ZONE),
        LINE.replace(" IN ", " CH "),
        LINE.replace("192.0.2.1", "( 192.0.2.1"),
        LINE + f"extra.{ZONE}. 1 IN A 192.0.2.1\n",
        "$ORIGIN other.test.\n" + LINE,
        LINE + "$INCLUDE /etc/passwd\n",
        "$INCLUDE /etc/passwd\n",
        "not a line\n",
        LINE.rstrip("\n"),
        " " + LINE,
        "; " + LINE,
        "\n" + LINE,
        LINE + "\n" + LINE,
        f'"ns.{ZONE}." 3600 IN A 192.0.2.1\n',
        f"ns.{ZONE}. 3600 IN AAAA ::1\n",
        f"ns.{ZONE}. 3600 IN TYPE1 \\# 4 C0000202\n",
        "\n",
        "",
    ],
)
def test_a_line_that_reads_back_as_something_else_is_refused(
    changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zone_data(ZONE, master(*GOOD))
    master_file_text(ZONE, data)
    (known,) = (each for each in data.records if each.rdata.to_text() == "192.0.2.1")
    record = attrs.evolve(known)  # not one that was written before
    assert changed != LINE
    monkeypatch.setattr(zone_file, "render", lambda *_, **__: changed)
    with pytest.raises(PlanRefusedError, match=r"read back|reads back"):
        master_file_text(ZONE, attrs.evolve(data, records=(record,)))


@pytest.mark.parametrize("words", ["CH TXT", "IN SPF"])
def test_the_same_data_of_another_class_or_type_is_refused(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zone_data(ZONE, master(record("TXT", '"x"', "say")))
    assert master_file_text(ZONE, data).splitlines()[-1] == f'say.{ZONE}. 3600 IN TXT "x"'
    anew = attrs.evolve(data, records=(attrs.evolve(data.records[-1]),))
    changed = f'say.{ZONE}. 3600 {words} "x"\n'
    monkeypatch.setattr(zone_file, "render", lambda *_, **__: changed)
    with pytest.raises(PlanRefusedError, match="reads back"):
        master_file_text(ZONE, anew)


def test_names_are_written_as_they_were_given() -> None:
    """Two records that DNS holds equal are not one to the writer's memory."""
    for owner in ("ns", "NS"):
        text = master_file_text(ZONE, zone_data(ZONE, master(record("A", "192.0.2.1", owner))))
        assert f"{owner}.{ZONE}. " in text


@pytest.mark.parametrize(
    "change",
    [
        {"primary": "ns1"},
        {"primary": "ns1.test. evil."},
        {"contact": ""},
        {"contact": "a\n.b."},
        {"refresh": -1},
        {"expire": 2**31},
        {"ttl": True},
    ],
    ids=str,
)
def test_a_start_of_authority_that_is_not_plain_data_is_refused(change: dict[str, object]) -> None:
    fields = {name: getattr(SOA, name) for name in SOA.__struct_fields__}
    zone = MasterZone(
        serial=1, soa=type(SOA)(**{**fields, **change}), records=master().records, secondaries=()
    )
    with pytest.raises(PlanRefusedError):
        plan_zone(None, zone)


@pytest.mark.parametrize("serial", [-1, 2**32, True])
def test_a_serial_out_of_range_is_refused(serial: int) -> None:
    with pytest.raises(PlanRefusedError):
        plan_zone(None, master(serial=serial))


@given(serial=st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**32 - 1])))
def test_the_start_of_authority_reads_back_with_every_serial(serial: int) -> None:
    text = master_file_text(ZONE, zone_data(ZONE, master(serial=serial)))
    (read,) = dns.zone.from_text(text, ZONE, relativize=False).iterate_rdatas("SOA")
    owner, ttl, rdata = read
    assert (owner.to_text(), ttl, rdata.serial) == (f"{ZONE}.", SOA.ttl, serial)
    assert (rdata.mname.to_text(), rdata.rname.to_text()) == (SOA.primary, SOA.contact)
    times = (rdata.refresh, rdata.retry, rdata.expire, rdata.minimum)
    assert times == (SOA.refresh, SOA.retry, SOA.expire, SOA.minimum)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" 4294967295 ", " 4294967295\t"),
        (" 4294967295 ", " ( 4294967295 ) "),
        ("\n", " ; 4294967295 \n"),
        (" IN SOA ", " IN SOA ( ; a. b. 4294967295 1 1 1 1\n"),
    ],
)
def test_a_start_of_authority_without_a_place_for_its_serial_is_refused(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it reads back as it should, another serial could still not be put in its place."""
    data = zone_data(ZONE, master())
    anew = attrs.evolve(data, apex=attrs.evolve(data.apex))
    written = zone_file.render
    monkeypatch.setattr(zone_file, "render", lambda *a, **k: written(*a, **k).replace(old, new))
    with pytest.raises(PlanRefusedError, match=r"place of its own|read back"):
        master_file_text(ZONE, anew)
