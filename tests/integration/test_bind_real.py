"""Two real name servers: zones come, change and go over the control channel."""

from collections.abc import Iterator
from contextlib import suppress

import attrs
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.xfr
import dns.zone
import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.effects.rndc import ControlChannel, ZoneControl
from node_agent.effects.zone_probe import probe_zone, zone_serial
from templates.bind.objects import (
    MOST_OF_A_TYPE,
    MasterZone,
    Record,
    SecondaryZone,
    StartOfAuthority,
)
from templates.bind.service import BIND
from templates.effects import AddZone, ProbeZone, ReloadZone, RemoveZone
from templates.service_type import ControlEndpoint, Endpoint, PlanRefusedError
from tests.free_ports import free_port
from tests.integration.named_lane import TRANSFER_KEY, NamedLane

ZONE = "shop.test"
PATIENT = 20.0
"""Seconds that a busy machine may take; no test waits for them to pass."""


@pytest.fixture
def master() -> Iterator[NamedLane]:
    lane = NamedLane("ns1")
    try:
        lane.set_up()
        yield lane
    finally:
        lane.tear_down()


@pytest.fixture
def secondary() -> Iterator[NamedLane]:
    lane = NamedLane("ns2")
    try:
        lane.set_up()
        yield lane
    finally:
        lane.tear_down()


def zone(serial: int, *secondaries: Endpoint, **addresses: str) -> MasterZone:
    return MasterZone(
        serial=serial,
        soa=StartOfAuthority(primary="ns1.cluster.test.", contact="hostmaster.cluster.test."),
        records=(
            Record(owner="@", ttl=3600, type="NS", data="ns1.cluster.test."),
            Record(owner="@", ttl=3600, type="NS", data="ns2.cluster.test."),
            *(Record(owner=name, ttl=60, type="A", data=data) for name, data in addresses.items()),
        ),
        secondaries=secondaries,
    )


async def addresses(lane: NamedLane, name: str) -> list[str]:
    query = dns.message.make_query(name, "A")
    reply = await deferToThread(
        dns.query.udp, query, lane.endpoint.address, PATIENT, lane.endpoint.port
    )
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


async def transfer(lane: NamedLane, name: str, *, key: bool) -> set[str]:
    """Transfer a zone as a stranger or as a peer, by dnspython."""

    def run() -> set[str]:
        keyring = dns.tsigkeyring.from_text({TRANSFER_KEY.name: TRANSFER_KEY.secret})
        found = dns.zone.Zone(name)
        query, _ = dns.xfr.make_query(
            found,
            keyring=keyring if key else None,
            keyalgorithm="hmac-sha256",
        )
        dns.query.inbound_xfr(
            lane.endpoint.address, found, query, lane.endpoint.port, lifetime=PATIENT
        )
        return {owner.to_text() for owner in found.nodes}

    return await deferToThread(run)


async def served(lane: NamedLane, name: str, serial: int) -> None:
    """Wait for the serial; where a NOTIFY was lost, ask for the transfer as the agent does."""
    with suppress(EffectFailedError):
        await probe_zone(reactor, lane.endpoint, ProbeZone(name, serial), deadline=PATIENT / 4)
        return
    with suppress(EffectFailedError):
        await lane.channel.command(f"retransfer {name}")
    await probe_zone(reactor, lane.endpoint, ProbeZone(name, serial), deadline=PATIENT)


@pytest_twisted.ensureDeferred
async def test_a_zone_is_added_changed_and_removed_on_both_servers(
    master: NamedLane, secondary: NamedLane
) -> None:
    assert await master.apply(ZONE, zone(1, secondary.endpoint, www="192.0.2.1")) == [
        RemoveZone(ZONE)
    ]
    assert await secondary.apply(ZONE, SecondaryZone(masters=(master.endpoint,))) == [
        RemoveZone(ZONE)
    ]
    await served(secondary, ZONE, 1)
    assert await addresses(secondary, f"www.{ZONE}") == ["192.0.2.1"]

    changed = await master.apply(ZONE, zone(2, secondary.endpoint, www="192.0.2.2"))
    assert [type(inverse) for inverse in changed] == [ReloadZone]
    await served(secondary, ZONE, 2)
    assert await addresses(secondary, f"www.{ZONE}") == ["192.0.2.2"]

    gone = await secondary.apply(ZONE, None)
    assert [type(inverse) for inverse in gone] == [AddZone]
    await master.apply(ZONE, None)
    assert await zone_serial(reactor, master.endpoint, ZONE, timeout=PATIENT) is None
    assert await zone_serial(reactor, secondary.endpoint, ZONE, timeout=PATIENT) is None
    assert not [path for path in master.root.glob("zones/*/*") if path.is_file()]


@pytest_twisted.ensureDeferred
async def test_a_changed_configuration_and_file_of_a_zone_are_both_taken(
    master: NamedLane, secondary: NamedLane
) -> None:
    await master.apply(ZONE, zone(1, www="192.0.2.1"))
    await secondary.apply(ZONE, SecondaryZone(masters=(master.endpoint,)))
    assert await zone_serial(reactor, secondary.endpoint, ZONE, timeout=PATIENT) is None
    inverses = await master.apply(ZONE, zone(2, secondary.endpoint, www="192.0.2.2"))
    assert [type(inverse) for inverse in inverses] == [AddZone]
    await secondary.channel.command(f"retransfer {ZONE}")
    await served(secondary, ZONE, 2)


@pytest_twisted.ensureDeferred
async def test_a_zone_added_twice_is_as_if_added_once(master: NamedLane) -> None:
    spec = zone(5, www="192.0.2.1")
    await master.apply(ZONE, spec)
    shown = await master.control.configuration(ZONE)
    (inverse,) = await master.apply(ZONE, spec)
    assert inverse == AddZone(ZONE, shown)
    assert await master.control.configuration(ZONE) == shown


@pytest_twisted.ensureDeferred
async def test_removing_a_zone_that_is_not_there_is_no_error(master: NamedLane) -> None:
    assert await master.control.apply(RemoveZone("nowhere.test")) is None


@pytest_twisted.ensureDeferred
async def test_the_inverse_of_each_step_restores_what_was(master: NamedLane) -> None:
    await master.apply(ZONE, zone(1, www="192.0.2.1"))
    shown = await master.control.configuration(ZONE)
    removal = await master.control.apply(RemoveZone(ZONE))
    assert removal is not None
    assert await master.control.configuration(ZONE) is None
    await master.control.apply(removal)
    assert await master.control.configuration(ZONE) == shown
    peers = zone(1, Endpoint(address="127.0.0.9", port=53), www="192.0.2.1")
    for inverse in await master.apply(ZONE, peers):
        await master.control.apply(inverse)
    assert await master.control.configuration(ZONE) == shown


@pytest_twisted.ensureDeferred
async def test_a_zone_that_named_lost_is_added_by_its_next_change(master: NamedLane) -> None:
    await master.apply(ZONE, zone(1, www="192.0.2.1"))
    await master.channel.command(f"delzone {ZONE}")
    await master.apply(ZONE, zone(2, www="192.0.2.2"))
    assert await addresses(master, f"www.{ZONE}") == ["192.0.2.2"]


@pytest_twisted.ensureDeferred
async def test_a_zone_changes_its_role_and_back(master: NamedLane, secondary: NamedLane) -> None:
    await master.apply(ZONE, zone(1, secondary.endpoint, www="192.0.2.1"))
    await secondary.apply(ZONE, SecondaryZone(masters=(master.endpoint,)))
    await served(secondary, ZONE, 1)
    await secondary.apply(ZONE, zone(2, master.endpoint, www="192.0.2.2"))
    await master.apply(ZONE, SecondaryZone(masters=(secondary.endpoint,)))
    await served(master, ZONE, 2)
    assert await addresses(master, f"www.{ZONE}") == ["192.0.2.2"]
    await master.apply(ZONE, zone(3, secondary.endpoint, www="192.0.2.3"))
    await secondary.apply(ZONE, SecondaryZone(masters=(master.endpoint,)))
    await served(secondary, ZONE, 3)


@pytest_twisted.ensureDeferred
async def test_a_zone_is_transferred_with_the_key_and_to_nobody_without(
    master: NamedLane, secondary: NamedLane
) -> None:
    await master.apply(ZONE, zone(1, secondary.endpoint, www="192.0.2.1"))
    assert "www" in await transfer(master, ZONE, key=True)
    with pytest.raises(dns.xfr.TransferError) as refused:
        await transfer(master, ZONE, key=False)
    assert refused.value.rcode == dns.rcode.REFUSED


@pytest_twisted.ensureDeferred
async def test_the_key_alone_transfers_nothing_to_an_address_that_is_no_peer(
    master: NamedLane,
) -> None:
    await master.apply(ZONE, zone(1, Endpoint(address="127.0.0.9", port=53), www="192.0.2.1"))
    with pytest.raises(dns.xfr.TransferError):
        await transfer(master, ZONE, key=True)


@pytest_twisted.ensureDeferred
async def test_a_cold_restart_and_a_kill_serve_every_zone_again(
    master: NamedLane, secondary: NamedLane
) -> None:
    names = [f"zone{number}.test" for number in range(40)]
    for number, name in enumerate(names):
        await master.apply(name, zone(number + 1, secondary.endpoint, www="192.0.2.1"))
        await secondary.apply(name, SecondaryZone(masters=(master.endpoint,)))
    await master.apply(names.pop(), None)
    for number, name in enumerate(names):
        await served(secondary, name, number + 1)
    master.kill()
    secondary.kill()
    master.start()
    secondary.start()
    for number, name in enumerate(names):
        await served(master, name, number + 1)
        await served(secondary, name, number + 1)
    assert await zone_serial(reactor, master.endpoint, "zone39.test", timeout=PATIENT) is None
    await master.apply(names[0], zone(100, secondary.endpoint, www="192.0.2.100"))
    await served(secondary, names[0], 100)


@pytest_twisted.ensureDeferred
async def test_a_zone_that_named_would_not_load_is_refused_before_anything_is_written(
    master: NamedLane,
) -> None:
    await master.apply(ZONE, zone(1, www="192.0.2.1"))
    bad = msgspec.structs.replace(
        zone(2), records=(Record(owner="@", ttl=60, type="NS", data=f"ns.{ZONE}."),)
    )
    with pytest.raises(PlanRefusedError, match="no address"):
        await master.apply(ZONE, bad)
    await served(master, ZONE, 1)


@pytest_twisted.ensureDeferred
async def test_as_many_records_of_one_name_and_type_load_as_are_allowed(master: NamedLane) -> None:
    """named's max-records-per-type is 100 where it is not set; a zone with more does not load."""

    def texts(serial: int, count: int) -> MasterZone:
        plain = zone(serial, www="192.0.2.1")
        many = (Record(owner="a", ttl=60, type="TXT", data=f'"{n}"') for n in range(count))
        return msgspec.structs.replace(plain, records=(*plain.records, *many))

    await master.apply(ZONE, texts(1, MOST_OF_A_TYPE))
    await served(master, ZONE, 1)
    with pytest.raises(PlanRefusedError, match="101 TXT records"):
        await master.apply(ZONE, texts(2, MOST_OF_A_TYPE + 1))
    await served(master, ZONE, 1)


@pytest_twisted.ensureDeferred
async def test_named_s_own_words_are_told_when_it_refuses_a_zone(master: NamedLane) -> None:
    missing = AddZone(ZONE, f'type master; file "{master.root}/zones/nothing.zone";')
    with pytest.raises(EffectFailedError, match="file not found"):
        await master.control.apply(missing)
    with pytest.raises(EffectFailedError):
        await master.control.apply(AddZone(ZONE, "type master; no-such-option yes;"))
    assert await zone_serial(reactor, master.endpoint, ZONE, timeout=PATIENT) is None


@pytest_twisted.ensureDeferred
async def test_commands_go_on_after_the_connection_was_closed(master: NamedLane) -> None:
    await master.apply(ZONE, zone(1, www="192.0.2.1"))
    master.kill()
    master.start()
    await master.apply(ZONE, zone(2, www="192.0.2.2"))
    assert await addresses(master, f"www.{ZONE}") == ["192.0.2.2"]


@pytest_twisted.ensureDeferred
async def test_a_dead_named_is_unavailable_and_blames_no_zone(master: NamedLane) -> None:
    await master.channel.command("status")
    master.kill()
    with pytest.raises(BoxUnavailableError):
        await master.channel.command("status")
    with pytest.raises(BoxUnavailableError):
        await probe_zone(reactor, master.endpoint, ProbeZone(ZONE, 1))


@pytest_twisted.ensureDeferred
async def test_another_key_gets_no_command_through(master: NamedLane) -> None:
    right = BIND.daemon.control(master.context)
    stranger = ControlChannel(reactor, attrs.evolve(right, secret="c3RyYW5nZXI" + "A" * 33))
    try:
        with pytest.raises(BoxUnavailableError):
            await stranger.command("status")
    finally:
        stranger.close()


@pytest_twisted.ensureDeferred
async def test_a_port_where_nobody_listens_is_unavailable() -> None:
    nowhere = ControlEndpoint("127.0.0.1", free_port(), "k", "hmac-sha256", "AAAA")
    with pytest.raises(BoxUnavailableError):
        await ZoneControl(ControlChannel(reactor, nowhere)).apply(RemoveZone(ZONE))


@pytest_twisted.ensureDeferred
async def test_the_baseline_zone_is_always_served(master: NamedLane) -> None:
    for probe in BIND.daemon.baseline(master.context):
        await probe_zone(reactor, master.endpoint, probe)


@pytest_twisted.ensureDeferred
async def test_a_reconfiguration_keeps_all_zones(master: NamedLane) -> None:
    await master.apply(ZONE, zone(1, www="192.0.2.1"))
    await master.control.reconfigure()
    await served(master, ZONE, 1)


@pytest_twisted.ensureDeferred
async def test_the_version_and_recursion_are_not_offered(master: NamedLane) -> None:
    query = dns.message.make_query("version.bind", "TXT", "CH")
    reply = await deferToThread(
        dns.query.udp, query, master.endpoint.address, PATIENT, master.endpoint.port
    )
    assert not reply.answer
    assert await addresses(master, "example.org") == []
