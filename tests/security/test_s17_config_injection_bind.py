"""S17: no field of a zone or server becomes a statement or record of its own in what named reads.

Hostile values go through every field. Planning refuses one, or what it writes reads back, by
readers that know nothing of our templates (one of our own for named.conf, named's own for zones),
to the same statements and records with just that value in its place.
"""

import subprocess
from collections.abc import Callable
from pathlib import PurePosixPath

import attrs
import msgspec
import pytest

from templates.bind.objects import MasterZone, SecondaryZone
from templates.bind.service import BIND
from templates.effects import AddZone, ReloadZone, UnitPlan, WriteFile
from templates.objects import ObjectId
from templates.service_type import (
    SERVER_ID,
    Endpoint,
    LaneContext,
    PlanRefusedError,
    Unit,
)
from tests.security.named_conf import parse, replaced
from tests.unit.templates.bind.specs import NS, SERVER, SOA, ZONE, context, record

replace = msgspec.structs.replace

_PARTS = (
    "\n", "\r", "\r\n", "\0", "\x0b", "\x0c", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029",
    "\u202e", "\ufeff", "\t", " ", "  ", '"', '""', "'", "`", "\\", "\\\\", "\\\n", '\\"', "\\010",
    "\\", ";", "};", "}", "{", "{ any; }", "#", "//", "/*", "*/", "$", "$INCLUDE", "$ORIGIN .",
    "$GENERATE 1-9 a", "%", "%s", "${PATH}", "{{ 7 * 7 }}", "(", ")", "( \n )", "<", ">", "|", "&",
    "*", "?", "!", "@", "/", "/../", "..", ".", "-", "--", "=", ",", "\u00e4", "\u0131", "\uff0e",
    "a" * 64, "a" * 256, "a." * 200,
)  # fmt: skip
HOSTILE = tuple(
    dict.fromkeys(
        [
            *_PARTS,
            *(f"a{part}b" for part in _PARTS),
            *(f"{part}a" for part in _PARTS),
            *(f"a{part}" for part in _PARTS),
            "",
            'a"; }; zone "evil.test" { type master; file "/etc/passwd',
            'a"; allow-transfer { any; }; also-notify { 192.0.2.66; }; //',
            "any; }; allow-transfer { any",
            "192.0.2.1; any",
            "192.0.2.1 port 53 key none",
            "192.0.2.1\n@ IN A 192.0.2.66",
            "192.0.2.1 ; comment",
            "192.0.2.1\n$INCLUDE /etc/passwd",
            '"a" "b"\nevil IN A 192.0.2.66',
            '"open',
            'closed"',
            "\\# 4 c0000201",
            "\\# 4 c000",
            "evil.other.test.",
            "..",
            "::1",
            "127.0.0.1",
            "0.0.0.0/0",
            "any",
            "none",
            "localhost",
            "MASTER",
        ]
    )
)


def test_there_are_at_least_two_hundred_hostile_values() -> None:
    assert len(HOSTILE) >= 200


# --- named.conf ---


def key(**change: str) -> Callable[[str], LaneContext]:
    (field,) = change

    def make(value: str) -> LaneContext:
        return context(replace(SERVER, transfer_key=replace(SERVER.transfer_key, **{field: value})))

    return make


def address(value: str) -> LaneContext:
    return context(replace(SERVER, endpoints=(Endpoint(address=value, port=53),)))


def root(value: str) -> LaneContext:
    return attrs.evolve(context(), root=PurePosixPath(f"/srv/{value}"))


def control_secret(value: str) -> LaneContext:
    return attrs.evolve(context(), control_secret=value)


SERVER_FIELDS: dict[str, tuple[Callable[[str], LaneContext], str]] = {
    "endpoint": (address, "192.0.2.77"),
    "key name": (key(name=""), "mark.test"),
    "key algorithm": (key(algorithm=""), "hmac-sha512"),
    "key secret": (key(secret=""), "bWFya21hcmttYXJrbWFya21hcmttYXJrbWFya21hcms="),
    "root": (root, "mark"),
    "control secret": (control_secret, "bWFya21hcmttYXJrbWFya21hcmttYXJrbWFya21hcmt="),
}
"""Field -> (context with a value in it, a good value that occurs nowhere else)."""


def server_conf(made: LaneContext) -> str:
    plan = BIND.plan(made, Unit("server", {}), Unit("server", {SERVER_ID: made.server}))
    (text,) = (
        item.content.decode()
        for item in plan.files
        if isinstance(item, WriteFile) and item.path == "named.conf"
    )
    return text


@pytest.mark.parametrize("field", SERVER_FIELDS)
def test_no_field_of_a_server_becomes_a_statement(field: str) -> None:
    make, good = SERVER_FIELDS[field]
    model = parse(server_conf(make(good)))
    accepted = 0
    for value in HOSTILE:
        try:
            text = server_conf(make(value))
        except PlanRefusedError:
            continue
        accepted += 1
        if field == "root":
            expected = replaced(model, "/srv/mark", str(PurePosixPath(f"/srv/{value}")))
        elif field == "endpoint":
            expected = replaced(model, good, value) if ":" not in value else parse(text)
        else:
            expected = replaced(model, good, value)
        assert parse(text) == expected, (field, value)
    assert accepted < len(HOSTILE) / 2 or field in ("root", "control secret")


def test_the_reader_sees_an_injected_statement() -> None:
    good = server_conf(context())
    evil = good.replace("transfer.cluster", 'a" { }; zone "evil')
    assert parse(evil) != parse(good)
    with pytest.raises(ValueError, match="brace"):
        parse(good + "};")


# --- the configuration of a zone ---


def zone_plan(spec: object, zone: str = ZONE, made: LaneContext | None = None) -> UnitPlan:
    name = f"zone:{zone}"
    return BIND.plan(made or context(), Unit(name, {}), Unit(name, {ObjectId("zone", zone): spec}))


def configuration(plan: UnitPlan) -> str:
    (effect,) = plan.control
    assert isinstance(effect, AddZone | ReloadZone)
    return effect.config


def with_peer(value: str) -> UnitPlan:
    peers = (Endpoint(address=value, port=53),)
    return zone_plan(MasterZone(serial=1, soa=SOA, records=(NS,), secondaries=peers))


def with_master(value: str) -> UnitPlan:
    return zone_plan(SecondaryZone(masters=(Endpoint(address=value, port=53),)))


@pytest.mark.parametrize("make", [with_peer, with_master], ids=["secondary", "master"])
def test_no_address_of_a_peer_becomes_a_statement(make: Callable[[str], UnitPlan]) -> None:
    model = parse(configuration(make("192.0.2.77")))
    accepted = []
    for value in HOSTILE:
        try:
            text = configuration(make(value))
        except PlanRefusedError:
            continue
        accepted.append(value)
        assert parse(text) == replaced(model, "192.0.2.77", value), value
    assert accepted == ["::1", "127.0.0.1"]


def test_no_key_of_a_zone_becomes_a_path_or_a_command() -> None:
    for value in HOSTILE:
        for zone in (value, f"{value}.test", f"a.{value}"):
            try:
                plan = zone_plan(SecondaryZone(masters=SERVER.endpoints), zone)
            except PlanRefusedError:
                continue
            (effect,) = plan.control
            assert effect.zone == zone
            assert set(zone) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
            assert ".." not in zone


# --- zone files ---


def record_with(owner: str = "mark", type_: str = "TXT", data: str = '"x"') -> MasterZone:
    return MasterZone(
        serial=1, soa=SOA, records=(NS, record(type_, data, owner, 60)), secondaries=()
    )


def start_with(**change: str) -> MasterZone:
    return MasterZone(serial=1, soa=replace(SOA, **change), records=(NS,), secondaries=())


ZONE_FIELDS: dict[str, Callable[[str], MasterZone]] = {
    "owner": lambda value: record_with(owner=value),
    "type": lambda value: record_with(type_=value),
    "text": lambda value: record_with(data=value),
    "quoted text": lambda value: record_with(data=f'"{value}"'),
    "address": lambda value: record_with(type_="A", data=value),
    "mail exchanger": lambda value: record_with(type_="MX", data=f"10 {value}"),
    "alias": lambda value: record_with(type_="CNAME", data=value),
    "service": lambda value: record_with(type_="SRV", data=f"1 1 1 {value}"),
    "authority": lambda value: record_with(type_="CAA", data=f'0 issue "{value}"'),
    "uri": lambda value: record_with(type_="URI", data=f'1 1 "{value}"'),
    "primary": lambda value: start_with(primary=value),
    "contact": lambda value: start_with(contact=value),
}


def zone_text(plan: UnitPlan) -> str:
    (text,) = (item.content.decode() for item in plan.files if isinstance(item, WriteFile))
    return text


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[list[str]]]:
    """Read a zone file with named's own parser and give its records as words."""
    directory = tmp_path_factory.mktemp("zones")

    def run(text: str) -> list[list[str]]:
        source, target = directory / "source", directory / "target"
        source.write_text(text)
        finished = subprocess.run(
            [
                *("named-compilezone", "-i", "none", "-k", "ignore", "-s", "full", "-o"),
                *(str(target), ZONE, str(source)),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, (text, finished.stdout)
        return [line.split(None, 4) for line in target.read_text().splitlines()]

    return run


@pytest.mark.parametrize("field", ZONE_FIELDS)
def test_no_field_of_a_zone_becomes_a_record_or_directive(
    field: str, compiled: Callable[[str], list[list[str]]]
) -> None:
    make = ZONE_FIELDS[field]
    accepted: list[tuple[str, str]] = []
    for value in HOSTILE:
        try:
            text = zone_text(zone_plan(make(value)))
        except PlanRefusedError:
            continue
        spec = make(value)
        lines = text.splitlines()
        assert len(lines) == 2 + len(spec.records), (field, value)
        assert all(not line.startswith(("$", " ", "\t", "(")) for line in lines), (field, value)
        accepted.append((value, lines[-1] if field not in ("primary", "contact") else lines[1]))
    if field in ("primary", "contact"):
        for _, line in accepted:
            assert len(compiled("\n".join([line, _ns_line(), ""]))) == 2, line
        return
    if field == "owner":
        found = compiled("\n".join([_soa_line(), _ns_line(), *(line for _, line in accepted), ""]))
        assert len(found) == 2 + len({line for _, line in accepted})
        return
    numbered = [
        f"n{number}.{ZONE}. {line.split(None, 1)[1]}" for number, (_, line) in enumerate(accepted)
    ]
    found = compiled("\n".join([_soa_line(), _ns_line(), *numbered, ""]))
    names = [words[0] for words in found if words[3] not in ("SOA", "NS")]
    assert sorted(names) == sorted(f"n{number}.{ZONE}." for number in range(len(accepted)))


def test_plain_text_comes_out_as_it_went_in(
    compiled: Callable[[str], list[list[str]]],
) -> None:
    plain = [
        value
        for value in HOSTILE
        if value.isascii() and value.isprintable() and not set(value) & set('"\\')
    ]
    records = []
    for number, value in enumerate(plain):
        if len(value) > 255:
            with pytest.raises(PlanRefusedError):
                zone_plan(record_with(data=f'"{value}"'))
        else:
            records.append(record("TXT", f'"{value}"', f"n{number}", 60))
    spec = MasterZone(serial=1, soa=SOA, records=(NS, *records), secondaries=())
    found = {
        words[0]: words[4] for words in compiled(zone_text(zone_plan(spec))) if words[3] == "TXT"
    }
    assert found == {f"{each.owner}.{ZONE}.": each.data for each in records}


def _soa_line() -> str:
    return f"{ZONE}. 60 IN SOA a. b. 1 1 1 1 1"


def _ns_line() -> str:
    return f"{ZONE}. 3600 IN NS ns1.cluster.test."
