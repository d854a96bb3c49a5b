"""The phases of a zone that moves to other servers, each a part of an ordinary change."""

from collections.abc import Sequence

import attrs

from controller.commands import Work
from controller.hosting.zones import Zone, rewrite_zone
from controller.projection.zones import (
    NameServer,
    RecordRow,
    address_records,
    master_zone,
    name_server_records,
    secondary_zone,
)
from controller.serials import next_serial
from templates.bind.objects import ZONE


async def promote(work: Work, zone: Zone, servers: Sequence[NameServer], *, now: int) -> None:
    """Give the new master the zone, beside the old one: both serve it, and nobody else is touched.

    ``servers`` are those of before and of after, with the roles that they come to. The serial is
    newer than the old master's, so every server will take the zone from the new one.
    """
    serial = next_serial(zone.row.serial, now)
    work.tx.run_with_next(
        """UPDATE zone SET serial = %s, version = version + 1 WHERE id = %s;
           DELETE FROM zone_server WHERE zone_id = %s;
           INSERT INTO zone_server (zone_id, logical_server_id, owner_id, role)
           SELECT %s, s.server, %s, s.role
           FROM unnest(%s::uuid[], %s::text[]) AS s(server, role)""",
        (
            serial,
            zone.row.id,
            zone.row.id,
            zone.row.id,
            zone.row.owner_id,
            [server.logical_server for server in servers],
            [server.role for server in servers],
        ),
    )
    promoted = Zone(attrs.evolve(zone.row, serial=serial), zone.records, tuple(servers))
    work.change.row("zone", zone.row.name, _placed(zone.servers), _placed(servers))
    await work.change.upsert(
        promoted.master.logical_server,
        ZONE,
        zone.row.name,
        master_zone(promoted.row, promoted.records, promoted.servers),
        owner_id=zone.row.owner_id,
    )


async def follow(work: Work, zone: Zone) -> None:
    """Have all other servers take the zone from its new master, the old master among them."""
    name, owner = zone.row.name, zone.row.owner_id
    for server in zone.servers:
        if server.role != "secondary":
            continue
        await work.change.upsert(
            server.logical_server, ZONE, name, secondary_zone(zone.servers), owner_id=owner
        )
        await work.change.watch(server.logical_server, name, zone.row.serial)


async def publish(work: Work, zone: Zone, servers: Sequence[NameServer], *, now: int) -> None:
    """Name the new servers in the NS records; those of before go on answering."""
    await rewrite_zone(work, zone, published_records(zone, servers), now=now)


async def leave(work: Work, zone: Zone, servers: Sequence[NameServer], *, now: int) -> None:
    """Have the servers that are not among ``servers`` serve the zone no more."""
    work.change.row("zone", zone.row.name, _placed(zone.servers), _placed(servers))
    await rewrite_zone(work, zone, zone.records, now=now, servers=servers)


def published_records(zone: Zone, servers: Sequence[NameServer]) -> tuple[RecordRow, ...]:
    """Give the zone's records with the generated NS of ``servers`` and no other.

    A server whose own name is in the zone gets its address there, or the zone would not load (RFC
    1034, 4.2.1). Pure.
    """
    ttl = name_server_ttl(zone)
    kept = [row for row in zone.records if not _generated_ns(row)]
    present = {(row.name, row.type, row.data) for row in kept}
    records = name_server_records(servers, ttl)
    for server in servers:
        if f".{server.name}".endswith(f".{zone.row.name}"):
            owner = server.name.removesuffix(zone.row.name).removesuffix(".") or "@"
            records += address_records([owner], [server.endpoint.address], ttl)
    return (*kept, *(row for row in records if (row.name, row.type, row.data) not in present))


def name_server_ttl(zone: Zone) -> int:
    """Give the seconds that the NS records of a zone may be kept by who asked."""
    return max((row.ttl for row in zone.records if _generated_ns(row)), default=zone.row.ttl)


def _generated_ns(row: RecordRow) -> bool:
    return row.generated and (row.name, row.type) == ("@", "NS")


def _placed(servers: Sequence[NameServer]) -> dict[str, list[list[str]]]:
    return {"servers": sorted([server.name, server.role] for server in servers)}
