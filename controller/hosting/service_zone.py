"""The cluster's own zone: the service domain with the names of its servers (R17 to R20).

It comes with the first name server that has its service address and goes with the last. Its records
are all generated: NS of its servers, and an address for each logical server named under it.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address

import attrs

from controller.cluster.placement.placement import SECONDARIES
from controller.commands import Work
from controller.hosting.zones import (
    ZoneHead,
    amend_zone,
    create_zone,
    load_zone,
    lock_zone,
    remove_zone,
    rewrite_zone,
)
from controller.projection.zones import (
    NameServer,
    RecordRow,
    ZoneRow,
    address_records,
    in_order,
    name_server_records,
    second_endpoint,
)
from controller.serials import next_serial
from controller.storage.database import Transaction
from templates.service_type import Endpoint

TTL = 3600
"""Seconds that answers about the cluster's own names may be kept."""


def service_records(
    domain: str,
    servers: Sequence[NameServer],
    named: Sequence[tuple[str, str]],
    panel: str,
) -> tuple[RecordRow, ...]:
    """Give the records of the service zone. Pure.

    ``named`` pairs names of logical servers with their addresses; those outside the domain are left
    out. ``panel`` is the address of the control panel (R18), empty where it is not known.
    """
    records = set(name_server_records(servers, TTL))
    for name, address in named:
        if name.endswith(f".{domain}"):
            records.update(address_records([name[: -len(domain) - 1]], [address], TTL))
    if panel and not any(record.name == "cp" for record in records):
        records.update(address_records(["cp"], [panel], TTL))
    return in_order(records)


def assign_roles(
    present: Sequence[NameServer], able: Sequence[NameServer]
) -> tuple[NameServer, ...]:
    """Give the servers of the zone: the present ones that are still able first. Pure.

    The first is the master; who is master stays it while it can.
    """
    ids = {server.logical_server for server in able}
    by_role = sorted(present, key=lambda server: (server.role != "master", server.name))
    order = [server.logical_server for server in by_role if server.logical_server in ids]
    order += [s.logical_server for s in able if s.logical_server not in order]
    current = {server.logical_server: server for server in able}
    return tuple(
        attrs.evolve(current[server], role="secondary" if place else "master")
        for place, server in enumerate(order[: 1 + SECONDARIES])
    )


_NAMED = """
SELECT s.name, host(i.address) FROM logical_server s
JOIN ip_address i ON i.logical_server_id = s.id AND i.type IN ('shared', 'service')
WHERE s.id::text <> %s
"""

_DIFFERENCE = """
WITH named AS (
    SELECT left(s.name, - length(%s::text) - 1) AS name,
           CASE family(i.address) WHEN 4 THEN 'A' ELSE 'AAAA' END AS type,
           host(i.address) AS data, %s::int AS ttl, true AS generated
    FROM logical_server s
    JOIN ip_address i ON i.logical_server_id = s.id AND i.type IN ('shared', 'service')
    WHERE s.id::text <> %s AND right(s.name, length(%s::text) + 1) = '.' || %s::text
      AND s.name = ANY(%s::text[])
), wanted AS (
    SELECT * FROM named
    UNION
    SELECT o.name, o.type, o.data, %s::int, true
    FROM unnest(%s::text[], %s::text[], %s::text[]) AS o(name, type, data)
    WHERE o.name <> 'cp' OR NOT EXISTS (SELECT FROM named WHERE name = 'cp')
)
SELECT r.id, name, type, data, ttl, generated FROM wanted
FULL JOIN (SELECT * FROM record WHERE zone_id = %s AND name = ANY(%s::text[])) r
    USING (name, type, data, ttl, generated)
WHERE r.id IS NULL OR wanted.name IS NULL
ORDER BY name, type, data
"""


def _places(servers: Iterable[NameServer]) -> set[tuple[str, str]]:
    return {(server.logical_server, server.role) for server in servers}


@attrs.frozen
class ServiceZone:
    """Keeps the service zone as the servers and their addresses are."""

    clock: Callable[[], float]
    panel_host: str
    """Where the control panel answers; used where it is an address."""

    async def sync(self, work: Work, *about: str, leaving: str = "") -> None:
        """Bring the service zone up to the rows; ``leaving`` is a name server about to go.

        ``about`` are the names of the logical server that changed, as it was and is: other names
        are not looked at. Of a zone that is there, only what differs is read, and written.
        """
        (domain,) = await work.tx.row("SELECT service_domain FROM cluster")
        # Two first name servers at once: one makes the zone, the other waits and finds it.
        await work.tx.run("SELECT pg_advisory_xact_lock(hashtext('service zone'))")
        zone = await lock_zone(work.tx, domain)
        servers = assign_roles(zone.servers if zone else (), await self._able(work.tx, leaving))
        if zone is None:
            if servers:
                await self._create(work, domain, servers, leaving)
            return
        if _places(servers) != _places(zone.servers):
            await self._rewrite(work, domain, servers, leaving)
            return
        gone, new = await self._difference(work.tx, zone, servers, about, leaving)
        if not gone and not new:
            return
        placed = attrs.evolve(zone, servers=servers)
        if not await amend_zone(work, placed, gone, new, now=int(self.clock())):
            await self._rewrite(work, domain, servers, leaving)

    async def _create(
        self, work: Work, domain: str, servers: Sequence[NameServer], leaving: str
    ) -> None:
        now = int(self.clock())
        row = ZoneRow(0, domain, next_serial(0, now), TTL, f"hostmaster.{domain}.", None)
        records = await self._records(work.tx, domain, servers, leaving)
        await create_zone(work, row, domain=None, servers=servers, records=records)

    async def _rewrite(
        self, work: Work, domain: str, servers: Sequence[NameServer], leaving: str
    ) -> None:
        """Write the zone from all of its rows; without a server it goes."""
        zone = await load_zone(work.tx, domain, lock=True)
        assert zone is not None
        if not servers:
            await remove_zone(work, zone)
            return
        records = await self._records(work.tx, domain, servers, leaving)
        await rewrite_zone(work, zone, records, now=int(self.clock()), servers=servers)

    async def _records(
        self, tx: Transaction, domain: str, servers: Sequence[NameServer], leaving: str
    ) -> tuple[RecordRow, ...]:
        named = await tx.rows(_NAMED, (leaving,))
        return service_records(domain, servers, named, self._panel())

    async def _difference(
        self,
        tx: Transaction,
        zone: ZoneHead,
        servers: Sequence[NameServer],
        about: Sequence[str],
        leaving: str,
    ) -> tuple[list[RecordRow], list[RecordRow]]:
        """Give the records that the zone has and should not have, and those that it lacks.

        Of the names ``about``, the zone itself and the panel it is what `service_records` gives,
        compared where the rows are.
        """
        domain = zone.row.name
        panel = [self._panel()] if self._panel() else []
        own = [*name_server_records(servers, TTL), *address_records(["cp"], panel, TTL)]
        found = await tx.rows(
            _DIFFERENCE,
            (
                *(domain, TTL, leaving, domain, domain, [*about, f"cp.{domain}"], TTL),
                *([row.name for row in own], [row.type for row in own], [row.data for row in own]),
                *(zone.row.id, ["@", "cp", *(name.removesuffix(f".{domain}") for name in about)]),
            ),
        )
        rows = [
            RecordRow(name, type_, data, ttl, generated, id_ or 0)
            for id_, name, type_, data, ttl, generated in found
        ]
        return [row for row in rows if row.id], [row for row in rows if not row.id]

    async def _able(self, tx: Transaction, leaving: str) -> tuple[NameServer, ...]:
        found = await tx.rows(
            """SELECT s.id::text, s.name, host(i.address), i.port, host(m.address), m.port
               FROM logical_server s
               JOIN ip_address i ON i.logical_server_id = s.id AND i.type = 'service'
               LEFT JOIN ip_address m ON m.logical_server_id = s.id AND m.type = 'moving'
               WHERE s.group_name = 'dns' AND s.id::text <> %s ORDER BY s.name""",
            (leaving,),
        )
        return tuple(
            NameServer(
                server,
                name,
                Endpoint(address=address, port=port),
                "secondary",
                second_endpoint(beside, beside_port),
            )
            for server, name, address, port, beside, beside_port in found
        )

    def _panel(self) -> str:
        try:
            return str(ip_address(self.panel_host))
        except ValueError:
            return ""
