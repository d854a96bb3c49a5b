"""S35: zones are handed to peers that hold the key, from their own address, and to nobody else.

What goes into a zone is parsed data only: see also ``test_s17_config_injection_bind``.
"""

from collections.abc import Iterator

import dns.query
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from node_agent.effects.zone_probe import probe_zone
from templates.bind.layout import BASELINE_ZONE
from templates.bind.objects import MasterZone, Record
from templates.bind.service import BIND
from templates.effects import AddZone, ProbeZone, WriteFile
from templates.objects import ObjectId
from templates.service_type import SERVER_ID, Endpoint, PlanRefusedError, Unit
from tests.integration.named_lane import TRANSFER_KEY, NamedLane
from tests.security.named_conf import parse
from tests.unit.templates.bind.specs import NS, SERVER, SOA, ZONE, context, plan_zone

OTHER_SECRET = "c29tZWJvZHkgZWxzZSdzIGtleSBvZiBhIHRlc3QhISE="
PATIENT = 20.0


def master(*peers: Endpoint) -> MasterZone:
    return MasterZone(serial=1, soa=SOA, records=(NS,), secondaries=peers)


def transfer_rule(spec: MasterZone) -> tuple[object, ...]:
    (effect,) = plan_zone(None, spec).control
    assert isinstance(effect, AddZone)
    (rule,) = (each for each in parse(effect.config) if each[0] == "allow-transfer")
    return rule


@given(st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=8))
def test_a_transfer_needs_the_address_of_a_peer_and_the_key(addresses: list[str]) -> None:
    """``!{ !peer; any; }`` refuses all but the peers and lets these go on to the key."""
    rule = transfer_rule(master(*(Endpoint(address=each, port=53) for each in addresses)))
    expected = (
        ("!", (*((f"!{each}",) for each in sorted(set(addresses))), ("any",))),
        ("key", '"transfer.cluster"'),
    )
    assert rule == ("allow-transfer", expected)


def test_a_zone_without_secondaries_is_transferred_to_nobody() -> None:
    assert transfer_rule(master()) == ("allow-transfer", (("none",),))


def test_what_no_zone_says_is_transferred_to_nobody() -> None:
    plan = BIND.plan(context(), Unit("server", {}), Unit("server", {SERVER_ID: SERVER}))
    (text,) = (
        item.content.decode()
        for item in plan.files
        if isinstance(item, WriteFile) and item.path == "named.conf"
    )
    (options,) = (each for each in parse(text) if each[0] == "options")
    for closed in ("allow-transfer", "allow-update", "allow-notify", "allow-recursion"):
        assert (closed, (("none",),)) in options[1], closed
    assert ("recursion", "no") in options[1]


@pytest.mark.parametrize(
    "owner",
    ["www.other.test.", "test.", ".", f"x{ZONE}.", "other.test.", f"{ZONE}.other.test."],
)
def test_a_record_outside_of_its_zone_is_refused(owner: str) -> None:
    spec = MasterZone(
        serial=1,
        soa=SOA,
        records=(NS, Record(owner=owner, ttl=60, type="A", data="192.0.2.1")),
        secondaries=(),
    )
    name = f"zone:{ZONE}"
    with pytest.raises(PlanRefusedError, match="outside"):
        BIND.plan(context(), Unit(name, {}), Unit(name, {ObjectId("zone", ZONE): spec}))


# --- with a real named ---


@pytest.fixture
def lane() -> Iterator[NamedLane]:
    made = NamedLane("ns1")
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()


async def may_transfer(lane: NamedLane, zone: str, secret: str | None) -> bool:
    def run() -> bool:
        ring = None if secret is None else dns.tsigkeyring.from_text({TRANSFER_KEY.name: secret})
        found = dns.zone.Zone(zone)
        query, _ = dns.xfr.make_query(found, keyring=ring, keyalgorithm="hmac-sha256")
        try:
            dns.query.inbound_xfr(
                lane.endpoint.address, found, query, lane.endpoint.port, lifetime=PATIENT
            )
        except (dns.xfr.TransferError, dns.tsig.PeerError):
            return False
        return True

    return bool(await deferToThread(run))


@pytest_twisted.ensureDeferred
async def test_only_a_peer_with_the_key_gets_a_zone(lane: NamedLane) -> None:
    await lane.apply("own.test", master(Endpoint(address="127.0.0.1", port=53)))
    await lane.apply("far.test", master(Endpoint(address="127.0.0.99", port=53)))
    await lane.apply("lone.test", master())
    right = TRANSFER_KEY.secret
    assert await may_transfer(lane, "own.test", right)
    assert not await may_transfer(lane, "own.test", None)
    assert not await may_transfer(lane, "own.test", OTHER_SECRET)
    assert not await may_transfer(lane, "far.test", right)
    assert not await may_transfer(lane, "far.test", None)
    assert not await may_transfer(lane, "lone.test", right)
    assert not await may_transfer(lane, BASELINE_ZONE, right)
    await probe_zone(reactor, lane.endpoint, ProbeZone("own.test", 1), deadline=PATIENT)
