"""The phases in which a server is renumbered, and what each of them writes.

Make before break: the server answers on the new address before anybody is told of it, the other
name servers know both before it asks from the new one, and the old one is answered until nobody
keeps an answer with it any more.
"""

from collections.abc import Sequence
from typing import Literal

import attrs

from controller.cluster.ports import ServiceZonePort
from controller.commands import Work
from controller.hosting.names_below import follow as follow_below
from controller.hosting.site_addresses import with_site_address
from controller.hosting.sites import Site, load_site, project_site
from controller.hosting.zones import Zone, rewrite_zone
from controller.projection.servers import BESIDE, HELD, MOVING, ServerRow
from controller.projection.stored import ServerProjection
from controller.projection.zones import RecordRow, master_zone, secondary_zone
from templates.apache.objects import DEDICATED, AddressSpec
from templates.bind.objects import ZONE

Phase = Literal[
    "begun",
    "listening",
    "announced",
    "switched",
    "following",
    "outlasting",
    "retiring",
    "ended",
]
"""What was last written of a move.

``begun``: the new address is kept for it. ``listening``: the server answers on both. ``announced``:
the other name servers know both. ``switched``: the new one is the server's own, in the service zone
too. ``following``: the zones of customers name the new one, and the other name servers know no
other. ``outlasting``: the old one answers until nobody keeps it any more. ``retiring``: the server
answers on it no more.
"""

BEFORE_SWITCH: tuple[Phase, ...] = ("begun", "listening", "announced")
"""Phases in which nobody was told of the new address yet: a move may still be given up."""


PASSING: tuple[Phase, ...] = ("announced", "following")
"""Phases that the zones of the server, or of its sites, go through too, part after part."""


@attrs.frozen
class Move:
    """A server that is being renumbered. ``address_id`` is the row that people know the address by:
    it holds the old one before the switch and the new one after it."""

    id: int
    state: str
    phase: Phase
    server_id: str
    server: str
    address_id: int
    type: str
    port: int
    old: str
    new: str
    old_prefix: int
    new_prefix: int
    keep_seconds: int
    zone_after: int
    passed_all: bool

    @property
    def announces(self) -> bool:
        """Whether other name servers take zones from the address, or give them to it."""
        return self.type == "service"

    @property
    def second_type(self) -> str:
        """What the second address is while both are known."""
        return {"service": MOVING, "shared": BESIDE}.get(self.type, HELD)

    @property
    def next(self) -> Phase:
        """What follows once the phase is live everywhere."""
        return next_phase(self.phase, stopped=self.state == "stopped", announces=self.announces)


def next_phase(phase: Phase, *, stopped: bool, announces: bool) -> Phase:
    """Give the phase after this one. Pure.

    A move that was ``stopped`` had not switched: the new address goes the way that the old one
    would have gone, only that nobody keeps it.
    """
    if stopped:
        if phase in ("listening", "announced") and announces:
            return "following"
        return "ended" if phase == "retiring" else "retiring"
    order: tuple[Phase, ...] = (
        "begun",
        "listening",
        *(("announced",) if announces else ()),
        "switched",
        "following",
        "outlasting",
        "retiring",
        "ended",
    )
    return order[order.index(phase) + 1]


def with_server_address(
    zone: str, records: Sequence[RecordRow], server: str, before: str, after: str
) -> tuple[RecordRow, ...]:
    """Give a zone's records with the generated address of a name server in it changed. Pure."""
    owner = server.removesuffix(zone).removesuffix(".") or "@"
    return tuple(
        attrs.evolve(row, data=after, id=0)
        if row.generated and (row.name, row.data) == (owner, before)
        else row
        for row in records
    )


async def introduce(work: Work, zone: Zone, server: str) -> None:
    """Have the other servers of a zone know a server (its id) by its endpoints of now."""
    name, owner = zone.row.name, zone.row.owner_id
    if zone.master.logical_server != server:
        spec = master_zone(zone.row, zone.records, zone.servers)
        await work.change.upsert(zone.master.logical_server, ZONE, name, spec, owner_id=owner)
        return
    for other in zone.servers:
        if other.role == "secondary":
            await work.change.upsert(
                other.logical_server, ZONE, name, secondary_zone(zone.servers), owner_id=owner
            )


async def follow_name_server(work: Work, zone: Zone, move: Move, *, now: int) -> int:
    """Have a zone of the server follow: its address in the zone, and who transfers from whom.

    Gives the seconds that an answer with the old address may be kept.
    """
    records = zone.records
    if f".{move.server}".endswith(f".{zone.row.name}"):
        records = with_server_address(zone.row.name, records, move.server, move.old, move.new)
    gone = set(zone.records) - set(records)
    after = await rewrite_zone(work, zone, records, now=now)
    await introduce(work, after, move.server_id)
    return max((row.ttl for row in gone), default=0)


async def follow_site(work: Work, zone: Zone, move: Move, *, now: int) -> int:
    """Have the records of a site follow to the address that it has now; gives seconds as above."""
    site = await load_site(work.tx, zone.row.name)
    if site is None:
        return 0
    records = with_site_address(zone.records, move.old, site.address)
    gone = set(zone.records) - set(records)
    await rewrite_zone(work, zone, records, now=now)
    await follow_below(work, [zone.row.name], now=now)
    return max((row.ttl for row in gone), default=0)


@attrs.frozen
class Renumbering:
    """What the phases write of the server itself."""

    servers: ServerProjection
    service_zone: ServiceZonePort

    async def enter(self, work: Work, move: Move, phase: Phase) -> None:
        """Write of the server itself what the ``phase`` after the present one is."""
        if phase == "listening":
            await self._listen(work, move)
        elif phase == "switched":
            await self._switch(work, move)
        elif phase == "following":
            await self._forget(work, move)
        elif phase == "retiring":
            await self._retire(work, move)

    async def _listen(self, work: Work, move: Move) -> None:
        """Have the server answer on the new address too."""
        await _set_second(work, move, move.second_type)
        await self._project(work, move)
        if move.type == "dedicated":
            await self._bring_up(work, move)

    async def _switch(self, work: Work, move: Move) -> None:
        """Make the new address the server's own, and the old one its second."""
        before, after = (
            {"ip": ip, "prefix": prefix, "port": move.port, "type": move.type}
            for ip, prefix in ((move.old, move.old_prefix), (move.new, move.new_prefix))
        )
        await work.tx.run(
            """DELETE FROM ip_address WHERE address = %s::inet AND port = %s;
               UPDATE ip_address SET address = %s::inet, prefix = %s WHERE id = %s;
               INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
               VALUES (%s, %s::inet, %s, %s, %s)""",
            (
                move.new,
                move.port,
                move.new,
                move.new_prefix,
                move.address_id,
                move.server_id,
                move.old,
                move.old_prefix,
                move.port,
                move.second_type,
            ),
        )
        work.change.row("ip_address", f"{move.old} {move.port}", before, after)
        await self._project(work, move)
        if move.type == "dedicated":
            site = await self._bring_up(work, move)
            if site is not None:
                await project_site(work, site)
        await self.service_zone.sync(work, move.server)

    async def _forget(self, work: Work, move: Move) -> None:
        """Let no other name server know the second address any more; it still answers."""
        if move.announces:
            await _set_second(work, move, BESIDE)

    async def _retire(self, work: Work, move: Move) -> None:
        """Have the server answer on the second address no more."""
        second = move.new if move.state == "stopped" else move.old
        await work.tx.run(
            "DELETE FROM ip_address WHERE address = %s::inet AND port = %s", (second, move.port)
        )
        row = {"logical_server": move.server, "type": "second", "move": move.id}
        work.change.row("ip_address", f"{second} {move.port}", row, None)
        if move.type == "dedicated":
            await work.change.remove(move.server_id, DEDICATED, second)
        await self._project(work, move)

    async def _project(self, work: Work, move: Move) -> None:
        row = await work.tx.maybe(
            """SELECT id::text, name, group_name, service_type, settings FROM logical_server
               WHERE id = %s""",
            (move.server_id,),
        )
        if row is not None:
            await self.servers.project(work, ServerRow(*row))

    async def _bring_up(self, work: Work, move: Move) -> Site | None:
        """Have the box answer on the new dedicated address while a site has it (R355)."""
        row = await work.tx.maybe(
            """SELECT d.name FROM ip_address i JOIN site s ON s.id = i.site_id
               JOIN domain d ON d.id = s.domain_id WHERE i.id = %s""",
            (move.address_id,),
        )
        site = None if row is None else await load_site(work.tx, row[0])
        if site is None:
            await work.change.remove(move.server_id, DEDICATED, move.new)
        else:
            spec = AddressSpec(prefix=move.new_prefix, port=move.port)
            owner = site.row.account
            await work.change.upsert(move.server_id, DEDICATED, move.new, spec, owner_id=owner)
        return site


async def _set_second(work: Work, move: Move, type_: str) -> None:
    second = move.new if move.phase in BEFORE_SWITCH else move.old
    await work.tx.run(
        "UPDATE ip_address SET type = %s WHERE address = %s::inet AND port = %s",
        (type_, second, move.port),
    )
