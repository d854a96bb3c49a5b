"""A zone with its records and servers: read in one round trip, written as the difference.

Every write gives the zone a new serial, its master a new object, and has each secondary watched
until it answers that serial.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from controller import names
from controller.changes import ChangeWriter
from controller.commands import Work
from controller.projection.zones import (
    NameServer,
    RecordRow,
    ZoneRow,
    amended_zone,
    in_order,
    master_zone,
    second_endpoint,
    secondary_zone,
)
from controller.refusal import CommandError
from controller.serials import next_serial
from controller.storage.database import Transaction
from templates.bind.objects import ZONE, MasterZone
from templates.objects import decode_spec
from templates.service_type import Endpoint


@attrs.frozen
class Zone:
    """A zone as it is in the transaction."""

    row: ZoneRow
    records: tuple[RecordRow, ...]
    servers: tuple[NameServer, ...]

    @property
    def master(self) -> NameServer:
        """The one server that holds the records."""
        return next(server for server in self.servers if server.role == "master")


_LOCK = "SELECT 1 FROM zone WHERE name = %s FOR NO KEY UPDATE; "

_SERVERS = """(
    SELECT coalesce(jsonb_agg(jsonb_build_array(s.id, s.name, host(i.address), i.port,
                                                n.role, host(m.address), m.port)), '[]')
    FROM zone_server n JOIN logical_server s ON s.id = n.logical_server_id
    JOIN ip_address i ON i.logical_server_id = s.id AND i.type = 'service'
    LEFT JOIN ip_address m ON m.logical_server_id = s.id AND m.type = 'moving'
    WHERE n.zone_id = z.id)"""

_LOAD = f"""
SELECT z.id, z.name, z.serial, z.ttl, z.contact, z.owner_id,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(r.name, r.type, r.data, r.ttl, r.generated,
                                                    r.id)), '[]')
        FROM record r WHERE r.zone_id = z.id),
       {_SERVERS}
FROM zone z WHERE z.name = %s
"""  # noqa: S608 put together of constants

_HEAD = f"""
SELECT z.id, z.name, z.serial, z.ttl, z.contact, z.owner_id,
       (SELECT count(*) FROM record r WHERE r.zone_id = z.id),
       {_SERVERS}
FROM zone z WHERE z.name = %s
"""  # noqa: S608 put together of constants


async def load_zone(tx: Transaction, name: str, *, lock: bool = False) -> Zone | None:
    """Give the zone, or None. ``lock`` keeps other writers of this zone out until the end."""
    sql, parameters = (_LOCK + _LOAD, (name, name)) if lock else (_LOAD, (name,))
    row = await tx.maybe(sql, parameters)
    if row is None:
        return None
    return Zone(
        row=ZoneRow(*row[:6]),
        records=in_order(RecordRow(*record) for record in row[6]),
        servers=_servers(row[7]),
    )


async def records_at(tx: Transaction, zone: str, name: str) -> tuple[RecordRow, ...]:
    """Give the records of one relative name; none where the zone is not there."""
    found = await tx.rows(
        """SELECT r.name, r.type, r.data, r.ttl, r.generated, r.id
           FROM record r JOIN zone z ON z.id = r.zone_id WHERE z.name = %s AND r.name = %s""",
        (zone, name),
    )
    return in_order(RecordRow(*row) for row in found)


@attrs.frozen
class ZoneHead:
    """A zone as it is in the transaction, with its records only counted."""

    row: ZoneRow
    records: int
    servers: tuple[NameServer, ...]


async def lock_zone(tx: Transaction, name: str) -> ZoneHead | None:
    """Give the zone without its records, or None; other writers of it are kept out."""
    row = await tx.maybe(_LOCK + _HEAD, (name, name))
    if row is None:
        return None
    return ZoneHead(ZoneRow(*row[:6]), int(row[6]), _servers(row[7]))


def _servers(found: Iterable[Sequence[Any]]) -> tuple[NameServer, ...]:
    return tuple(
        NameServer(
            server,
            own,
            Endpoint(address=address, port=port),
            role,
            second_endpoint(beside, beside_port),
        )
        for server, own, address, port, role, beside, beside_port in found
    )


async def zone_of_domain(
    tx: Transaction, name: str, *, lock: bool = False, field: str = "domain"
) -> Zone:
    """Give the zone of a customer's domain; raises `CommandError` ``domain.unknown``.

    The service zone is the system's own and is not found here.
    """
    zone = await load_zone(tx, name, lock=lock)
    if zone is None or zone.row.owner_id is None:
        raise unknown_domain(name, field=field)
    return zone


def zone_name(text: str, *, field: str = "domain") -> str:
    """Read the name of a domain that should exist; one that cannot exist is unknown."""
    try:
        return names.domain_name(text, field=field)
    except CommandError as error:
        raise unknown_domain(text, field=field) from error


def unknown_domain(name: str, *, field: str = "domain") -> CommandError:
    """Give the refusal for a domain that is not hosted here."""
    return CommandError(
        "domain.unknown",
        "no domain has this name",
        field=field,
        value=name,
        allowed="hsctl domain list shows the domains",
        status=404,
    )


async def create_zone(
    work: Work,
    row: ZoneRow,
    *,
    domain: str | None,
    servers: Sequence[NameServer],
    records: Sequence[RecordRow],
) -> Zone:
    """Make the zone of ``domain``, its records and the objects of all its servers.

    It costs no round trip: ``row.id`` is neither read nor known afterwards.
    """
    work.tx.run_with_next(
        """WITH made AS (
               INSERT INTO zone (owner_id, domain_id, name, serial, ttl, contact)
               VALUES (%s, (SELECT id FROM domain WHERE name = %s), %s, %s, %s, %s)
               RETURNING id, owner_id
           ), placed AS (
               INSERT INTO zone_server (zone_id, logical_server_id, owner_id, role)
               SELECT made.id, s.server, made.owner_id, s.role
               FROM unnest(%s::uuid[], %s::text[]) AS s(server, role), made
           ) INSERT INTO record (zone_id, owner_id, name, type, ttl, data, generated)
           SELECT made.id, made.owner_id, r.name, r.type, r.ttl, r.data, r.generated
           FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[], %s::bool[])
               AS r(name, type, ttl, data, generated), made""",
        (
            row.owner_id,
            domain,
            row.name,
            row.serial,
            row.ttl,
            row.contact,
            [server.logical_server for server in servers],
            [server.role for server in servers],
            *_columns(records),
        ),
    )
    zone = Zone(row, in_order(records), tuple(servers))
    work.change.row("zone", row.name, None, _kept(zone))
    await project_zone(work.change, zone, servers)
    return zone


async def rewrite_zone(
    work: Work,
    zone: Zone,
    wanted: Iterable[RecordRow],
    *,
    now: int,
    servers: Sequence[NameServer] | None = None,
) -> Zone:
    """Make the zone hold exactly ``wanted`` (and be on ``servers``); give it as it is then.

    Nothing is written where nothing differs. The zone must have been loaded with its lock.
    """
    after = in_order(wanted)
    placed = zone.servers if servers is None else tuple(servers)
    present, kept = set(zone.records), set(after)
    gone = [row for row in zone.records if row not in kept]
    new = [row for row in after if row not in present]
    moved = {(s.logical_server, s.role) for s in placed} != {
        (s.logical_server, s.role) for s in zone.servers
    }
    if not gone and not new and not moved:
        return zone
    changed = Zone(_write_rows(work, zone.row, gone, new, now=now), after, placed)
    if moved:
        await work.tx.run(
            """DELETE FROM zone_server WHERE zone_id = %s;
               INSERT INTO zone_server (zone_id, logical_server_id, owner_id, role)
               SELECT %s, s.server, %s, s.role
               FROM unnest(%s::uuid[], %s::text[]) AS s(server, role)
            """,
            (
                zone.row.id,
                zone.row.id,
                zone.row.owner_id,
                [server.logical_server for server in placed],
                [server.role for server in placed],
            ),
        )
    await project_zone(work.change, changed, placed if moved else ())
    left = {s.logical_server for s in zone.servers} - {s.logical_server for s in placed}
    for server in sorted(left):
        await work.change.remove(server, ZONE, zone.row.name, owner_id=zone.row.owner_id)
    return changed


def _write_rows(
    work: Work, zone: ZoneRow, gone: Sequence[RecordRow], new: Sequence[RecordRow], *, now: int
) -> ZoneRow:
    """Write what differs, with the next statement; give the zone with its new serial."""
    serial = next_serial(zone.serial, now)
    work.tx.run_with_next(
        """DELETE FROM record WHERE id = ANY(ARRAY(SELECT unnest(%s::bigint[])));
           INSERT INTO record (zone_id, owner_id, name, type, ttl, data, generated)
           SELECT %s, %s, r.name, r.type, r.ttl, r.data, r.generated
           FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[], %s::bool[])
               AS r(name, type, ttl, data, generated);
           UPDATE zone SET serial = %s, version = version + 1 WHERE id = %s""",
        ([row.id for row in gone], zone.id, zone.owner_id, *_columns(new), serial, zone.id),
    )
    for row in gone:
        work.change.row("record", _record_key(zone, row), _record(row), None)
    for row in new:
        work.change.row("record", _record_key(zone, row), None, _record(row))
    return attrs.evolve(zone, serial=serial)


async def amend_zone(
    work: Work,
    zone: ZoneHead,
    gone: Sequence[RecordRow],
    new: Sequence[RecordRow],
    *,
    now: int,
) -> bool:
    """Take records from a zone and give it others, without reading those that stay.

    The master's object is made from the one that is stored: of thousands of records, those that
    stay are neither read from their rows nor put in order anew. Gives False, and has written
    nothing, where that object does not hold what the rows do: the zone is then rewritten whole.
    """
    master = next(server for server in zone.servers if server.role == "master")
    found = await work.tx.maybe(
        """SELECT spec, kind_version FROM desired_object
           WHERE logical_server_id = %s AND kind = %s AND key = %s AND NOT deleted""",
        (master.logical_server, ZONE.name, zone.row.name),
    )
    if found is None:
        return False
    present = decode_spec(ZONE, found[1], bytes(found[0]))
    if not isinstance(present, MasterZone) or len(present.records) != zone.records:
        return False
    row = attrs.evolve(zone.row, serial=next_serial(zone.row.serial, now))
    amended = amended_zone(present, row, zone.servers, gone, new)
    if amended is None:
        return False
    _write_rows(work, zone.row, gone, new, now=now)
    await work.change.upsert(master.logical_server, ZONE, row.name, amended, owner_id=row.owner_id)
    for server in zone.servers:
        if server.role == "secondary":
            await work.change.watch(server.logical_server, row.name, row.serial)
    return True


async def renew_serial(work: Work, zone: Zone, *, now: int) -> Zone:
    """Give a zone a new serial though nothing in it differs; it was loaded with its lock."""
    serial = next_serial(zone.row.serial, now)
    await work.tx.run(
        "UPDATE zone SET serial = %s, version = version + 1 WHERE id = %s", (serial, zone.row.id)
    )
    renewed = attrs.evolve(zone, row=attrs.evolve(zone.row, serial=serial))
    work.change.row("zone", zone.row.name, {"serial": zone.row.serial}, {"serial": serial})
    await project_zone(work.change, renewed, ())
    return renewed


async def project_zone(change: ChangeWriter, zone: Zone, placed: Sequence[NameServer]) -> None:
    """Give the master its object, the servers ``placed`` anew theirs, and watch the secondaries."""
    name, owner = zone.row.name, zone.row.owner_id
    for server in placed:
        change.rely(server.logical_server, server.name, server.endpoint)
    await change.upsert(
        zone.master.logical_server,
        ZONE,
        name,
        master_zone(zone.row, zone.records, zone.servers),
        owner_id=owner,
    )
    for server in zone.servers:
        if server.role != "secondary":
            continue
        if server in placed:
            await change.upsert(
                server.logical_server, ZONE, name, secondary_zone(zone.servers), owner_id=owner
            )
        await change.watch(server.logical_server, name, zone.row.serial)


async def remove_zone(work: Work, zone: Zone) -> None:
    """Take the zone from all its servers and forget it."""
    await work.tx.run("DELETE FROM zone WHERE id = %s", (zone.row.id,))
    work.change.row("zone", zone.row.name, _kept(zone), None)
    for server in zone.servers:
        await work.change.remove(
            server.logical_server, ZONE, zone.row.name, owner_id=zone.row.owner_id
        )


def record_shown(zone: str, row: RecordRow) -> dict[str, Any]:
    """Give a record of the zone of that name as commands answer it; ``fqdn`` is absolute."""
    return {
        "name": row.name,
        "fqdn": zone if row.name == "@" else f"{row.name}.{zone}",
        "type": row.type,
        "ttl": row.ttl,
        "data": row.data,
        "generated": row.generated,
    }


def _columns(rows: Sequence[RecordRow]) -> tuple[list[Any], ...]:
    return (
        [row.name for row in rows],
        [row.type for row in rows],
        [row.ttl for row in rows],
        [row.data for row in rows],
        [row.generated for row in rows],
    )


def _record_key(zone: ZoneRow, row: RecordRow) -> str:
    return f"{zone.name} {row.name} {row.type}"


def _record(row: RecordRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "type": row.type,
        "ttl": row.ttl,
        "data": row.data,
        "generated": row.generated,
    }


def _kept(zone: Zone) -> dict[str, Any]:
    return {
        "name": zone.row.name,
        "serial": zone.row.serial,
        "ttl": zone.row.ttl,
        "contact": zone.row.contact,
        "servers": sorted([server.name, server.role] for server in zone.servers),
        "records": [_record(row) for row in zone.records],
    }
