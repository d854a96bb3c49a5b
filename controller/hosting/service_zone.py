"""The cluster's own zone: the service domain with the names of its servers (R17 to R23).

It comes with the first name server that has its service address and goes with the last. Its records
are all generated: NS of its servers, an address for each logical server named under it, for the
control panel and the provider's own site, and what customers have below it (`names_below`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from itertools import chain

import attrs

from controller.cluster.placement.placement import SECONDARIES
from controller.commands import Work
from controller.hosting.names_below import records_below
from controller.hosting.third_level import LOCK, check_server_name
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
    own: Mapping[str, str],
) -> tuple[RecordRow, ...]:
    """Give the records of the service zone. Pure.

    ``named`` pairs names of logical servers with their addresses; those outside the domain are left
    out. ``own`` are the provider's own names with their addresses; see `own_names`.
    """
    of_servers: set[RecordRow] = set()
    for name, address in named:
        if name.endswith(f".{domain}"):
            of_servers.update(address_records([name[: -len(domain) - 1]], [address], TTL))
    taken = {record.name for record in of_servers}
    others = {name: address for name, address in own.items() if name not in taken}
    return in_order([*of_servers, *_own_records(servers, others)])


def _own_records(servers: Sequence[NameServer], own: Mapping[str, str]) -> list[RecordRow]:
    addresses = (address_records([name], [address], TTL) for name, address in own.items())
    return [*name_server_records(servers, TTL), *chain.from_iterable(addresses)]


def own_names(panel: str, site: str) -> dict[str, str]:
    """Give the names that are no logical server's, relative to the domain, with addresses. Pure.

    ``panel`` is the address of the control panel (R18), ``site`` that of the provider's own site
    (R23); either is empty where it is not known. A logical server of such a name goes before it.
    """
    names = {"cp": panel, "@": site, "www": site}
    return {name: address for name, address in names.items() if address}


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


_STATE = f"""
{LOCK};
SELECT c.service_domain, coalesce((
    SELECT host(i.address) FROM domain d JOIN site s ON s.domain_id = d.id
    JOIN ip_address i ON i.id = s.ip_address_id WHERE d.name = c.service_domain), '')
FROM cluster c
"""  # noqa: S608 put together of constants

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
    WHERE o.type = 'NS' OR NOT EXISTS (SELECT FROM named WHERE named.name = o.name)
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

    async def check_name(self, work: Work, name: str, *, field: str) -> None:
        """Check that a logical server may have a name; raises `CommandError`."""
        await check_server_name(work.tx, name, field=field)

    async def sync(self, work: Work, *about: str, leaving: str = "") -> None:
        """Bring the service zone up to the rows; ``leaving`` is a name server about to go.

        ``about`` are the names of the logical server that changed, as it was and is: other names
        are not looked at. Of a zone that is there, only what differs is read, and written.
        """
        # Two first name servers at once: one makes the zone, the other waits and finds it.
        domain, site = await work.tx.row(_STATE)
        own = own_names(self._panel(), site)
        zone = await lock_zone(work.tx, domain)
        servers = assign_roles(zone.servers if zone else (), await self._able(work.tx, leaving))
        if zone is None:
            if servers:
                await self._create(work, domain, servers, own, leaving)
            return
        if _places(servers) != _places(zone.servers):
            await self._rewrite(work, domain, servers, own, leaving)
            return
        gone, new = await self._difference(
            work.tx, zone, _own_records(servers, own), about, leaving
        )
        if not gone and not new:
            return
        placed = attrs.evolve(zone, servers=servers)
        if not await amend_zone(work, placed, gone, new, now=int(self.clock())):
            await self._rewrite(work, domain, servers, own, leaving)

    async def _create(
        self,
        work: Work,
        domain: str,
        servers: Sequence[NameServer],
        own: Mapping[str, str],
        leaving: str,
    ) -> None:
        now = int(self.clock())
        row = ZoneRow(0, domain, next_serial(0, now), TTL, f"hostmaster.{domain}.", None)
        records = await self._records(work.tx, domain, servers, own, leaving)
        await create_zone(work, row, domain=None, servers=servers, records=records)

    async def _rewrite(
        self,
        work: Work,
        domain: str,
        servers: Sequence[NameServer],
        own: Mapping[str, str],
        leaving: str,
    ) -> None:
        """Write the zone from all of its rows; without a server it goes."""
        zone = await load_zone(work.tx, domain, lock=True)
        assert zone is not None
        if not servers:
            await remove_zone(work, zone)
            return
        records = await self._records(work.tx, domain, servers, own, leaving)
        await rewrite_zone(work, zone, records, now=int(self.clock()), servers=servers)

    async def _records(
        self,
        tx: Transaction,
        domain: str,
        servers: Sequence[NameServer],
        own: Mapping[str, str],
        leaving: str,
    ) -> tuple[RecordRow, ...]:
        named = await tx.rows(_NAMED, (leaving,))
        records = service_records(domain, servers, named, own)
        return in_order([*records, *await records_below(tx, domain)])

    async def _difference(
        self,
        tx: Transaction,
        zone: ZoneHead,
        own: Sequence[RecordRow],
        about: Sequence[str],
        leaving: str,
    ) -> tuple[list[RecordRow], list[RecordRow]]:
        """Give the records that the zone has and should not have, and those that it lacks.

        Of the names ``about`` and the ``own`` records it is what `service_records` gives, compared
        where the rows are.
        """
        domain = zone.row.name
        asked = [*about, f"cp.{domain}", f"www.{domain}"]
        found = await tx.rows(
            _DIFFERENCE,
            (
                *(domain, TTL, leaving, domain, domain, asked, TTL),
                *([row.name for row in own], [row.type for row in own], [row.data for row in own]),
                *(zone.row.id, ["@", *(name.removesuffix(f".{domain}") for name in asked)]),
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
