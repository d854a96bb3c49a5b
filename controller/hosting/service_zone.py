"""The cluster's own zone: the service domain with the names of its servers (R17 to R20).

It comes with the first name server that has its service address and goes with the last. Its records
are all generated: NS of its servers, and an address for each logical server named under it.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address

import attrs

from controller.cluster.placement import SECONDARIES
from controller.commands import Work
from controller.hosting.zones import create_zone, load_zone, remove_zone, rewrite_zone
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


@attrs.frozen
class ServiceZone:
    """Keeps the service zone as the servers and their addresses are."""

    clock: Callable[[], float]
    panel_host: str
    """Where the control panel answers; used where it is an address."""

    async def sync(self, work: Work, *, leaving: str = "") -> None:
        """Bring the service zone up to the rows; ``leaving`` is a name server about to go."""
        (domain,) = await work.tx.row("SELECT service_domain FROM cluster")
        # Two first name servers at once: one makes the zone, the other waits and finds it.
        await work.tx.run("SELECT pg_advisory_xact_lock(hashtext('service zone'))")
        zone = await load_zone(work.tx, domain, lock=True)
        able = await self._able(work.tx, leaving)
        servers = assign_roles(zone.servers if zone else (), able)
        if not servers:
            if zone is not None:
                await remove_zone(work, zone)
            return
        named = await work.tx.rows(
            """SELECT s.name, host(i.address) FROM logical_server s
               JOIN ip_address i ON i.logical_server_id = s.id AND i.type IN ('shared', 'service')
               WHERE s.id::text <> %s""",
            (leaving,),
        )
        records = service_records(
            domain, servers, [(name, address) for name, address in named], self._panel()
        )
        now = int(self.clock())
        if zone is not None:
            await rewrite_zone(work, zone, records, now=now, servers=servers)
            return
        row = ZoneRow(0, domain, next_serial(0, now), TTL, f"hostmaster.{domain}.", None)
        await create_zone(work, row, domain=None, servers=servers, records=records)

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
