"""Specifications for the tests of BIND's planning."""

from pathlib import PurePosixPath

from templates.bind.objects import (
    BindSettings,
    MasterZone,
    Record,
    SecondaryZone,
    ServerSpec,
    StartOfAuthority,
    TsigKey,
)
from templates.bind.service import BIND
from templates.effects import UnitPlan
from templates.objects import ObjectId
from templates.service_type import SERVER_ID, Endpoint, LaneContext, Unit

ZONE = "shop.test"
SECRET = "YSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaCEhISE="
PEER = Endpoint(address="192.0.2.54", port=53)
SOA = StartOfAuthority(primary="ns1.cluster.test.", contact="hostmaster.cluster.test.")
SERVER = ServerSpec(
    name="ns1.cluster.test",
    endpoints=(Endpoint(address="192.0.2.53", port=53),),
    settings=BindSettings(),
    transfer_key=TsigKey(name="transfer.cluster", algorithm="hmac-sha256", secret=SECRET),
)
SECONDARY = SecondaryZone(masters=(Endpoint(address="192.0.2.53", port=53),))
NS = Record(owner="@", ttl=3600, type="NS", data="ns1.cluster.test.")


def context(server: ServerSpec | None = SERVER) -> LaneContext:
    return LaneContext(
        lane="l1",
        server=server,
        root=PurePosixPath("/srv/lane"),
        daemon_user=None,
        control_secret=SECRET,
    )


def record(type_: str, data: str, owner: str = "@", ttl: int = 3600) -> Record:
    return Record(owner=owner, ttl=ttl, type=type_, data=data)


def master(*records: Record, serial: int = 1, peers: tuple[Endpoint, ...] = (PEER,)) -> MasterZone:
    return MasterZone(serial=serial, soa=SOA, records=(NS, *records), secondaries=peers)


def zone_unit(spec: object, zone: str = ZONE) -> Unit:
    return Unit(f"zone:{zone}", {} if spec is None else {ObjectId("zone", zone): spec})


def plan_zone(before: object, after: object, zone: str = ZONE) -> UnitPlan:
    return BIND.plan(context(), zone_unit(before, zone), zone_unit(after, zone))


def plan_server(before: object, after: ServerSpec) -> UnitPlan:
    return BIND.plan(
        context(after),
        Unit("server", {} if before is None else {SERVER_ID: before}),
        Unit("server", {SERVER_ID: after}),
    )
