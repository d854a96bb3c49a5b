"""IP addresses of logical servers: the commands ``ip.*`` (R323 to R357)."""

from collections.abc import Mapping
from typing import Any

import attrs

from controller.cluster import addresses, groups
from controller.cluster.logical_servers import find_server
from controller.cluster.ports import ServiceZonePort
from controller.commands import Command, Work
from controller.pages import after_number, limit, page
from controller.projection.servers import ServerRow
from controller.projection.stored import ServerProjection
from controller.refusal import CommandError
from templates.registry import SERVICE_TYPES


@attrs.frozen
class AddAddresses:
    """Addresses to add (R324 to R328); ``last`` ends a range, ``port`` None is the type's own."""

    lserver: str
    first: str
    mask: str
    type: str
    last: str = ""
    tag: int | None = None
    port: int | None = None


@attrs.frozen
class NamedAddress:
    """An address by its text; ``port`` tells two endpoints on one address apart."""

    ip: str
    port: int | None = None


@attrs.frozen
class ListAddresses:
    """A page of addresses, of one logical server where given."""

    lserver: str = ""
    limit: int = 100
    cursor: str = ""


_LIST = """
SELECT i.id, host(i.address), i.prefix, i.port, i.type, i.tag, s.name, s.id::text,
       EXISTS (SELECT 1 FROM site x WHERE x.ip_address_id = i.id)
FROM ip_address i JOIN logical_server s ON s.id = i.logical_server_id
"""


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "ip": row[1],
        "prefix": row[2],
        "port": row[3],
        "type": row[4],
        "tag": row[5],
        "logical_server": row[6],
        "used_by_sites": row[8],
    }


def checked_tag(type_: str, tag: int | None) -> int | None:
    """Give the tag of a shared address, 2 where none is given (R335); others have none (R351)."""
    if type_ != "shared":
        if tag is not None:
            raise CommandError(
                "ip.tag.not-shared",
                "only a shared address has a tag",
                field="tag",
                value=str(tag),
                allowed="leave the tag out",
            )
        return None
    if tag is not None and not 0 <= tag <= 2**31 - 1:
        raise CommandError(
            "ip.tag.invalid",
            "not a tag",
            field="tag",
            value=str(tag),
            allowed="0 to 2147483647",
        )
    return groups.DEFAULT_TAG if tag is None else tag


def tls_port_of(settings: Mapping[str, object]) -> int:
    """Give the port that a server with these settings answers TLS on, 0 where it does not."""
    port = settings.get("tls_port", 0)
    return port if isinstance(port, int) else 0


@attrs.frozen
class IpAddresses:
    """The commands on addresses."""

    servers: ServerProjection
    service_zone: ServiceZonePort

    async def add(self, work: Work, request: AddAddresses) -> dict[str, Any]:
        """Add an address or a range to a logical server."""
        first = addresses.address(request.first, field="first")
        last = addresses.address(request.last, field="last") if request.last else first
        wanted = addresses.address_range(first, last, field="last")
        prefix = addresses.prefix_length(request.mask, first)
        server = await find_server(work.tx, request.lserver, field="lserver")
        groups.check_address_type(server.group, request.type, len(wanted))
        tag = checked_tag(request.type, request.tag)
        port = addresses.port(
            SERVICE_TYPES[server.service_type].default_port
            if request.port is None
            else request.port
        )
        await self._check_free(work, server, request.type, [str(a) for a in wanted], port)
        await work.tx.run(
            """INSERT INTO ip_address (logical_server_id, address, prefix, port, type, tag)
               SELECT %s, a::inet, %s, %s, %s, %s FROM unnest(%s::text[]) AS a""",
            (server.id, prefix, port, request.type, tag, [str(a) for a in wanted]),
        )
        added = [
            {"ip": str(a), "prefix": prefix, "port": port, "type": request.type, "tag": tag}
            for a in wanted
        ]
        for row in added:
            work.change.row("ip_address", f"{row['ip']} {port}", None, row)
        await self.servers.project(work, server)
        await self.service_zone.sync(work)
        return {"logical_server": server.name, "added": added}

    async def _check_free(
        self, work: Work, server: ServerRow, type_: str, wanted: list[str], port: int
    ) -> None:
        """Say who has the address (R354) or the service address (R339); constraints hold both."""
        taken = await work.tx.rows(
            f"{_LIST} WHERE i.port = %s AND i.address = ANY(%s::inet[]) LIMIT 1", (port, wanted)
        )
        if taken:
            raise CommandError(
                "ip.endpoint.taken",
                f"port {port} of the address is used by {taken[0][6]}",
                field="first",
                value=taken[0][1],
                allowed="an address, or a port, that no other server of the cluster uses",
                status=409,
            )
        await self._check_tls_free(work, server, wanted, port)
        (present,) = await work.tx.row(
            "SELECT count(*) FROM ip_address WHERE logical_server_id = %s AND type = 'service'",
            (server.id,),
        )
        groups.check_one_service(type_, present)

    async def _check_tls_free(
        self, work: Work, server: ServerRow, wanted: list[str], port: int
    ) -> None:
        """Check that plain and TLS ports of all servers on these addresses are different ones.

        Additions wait for each other here, because no constraint of the database sees TLS ports.
        """
        await work.tx.run("SELECT pg_advisory_xact_lock(hashtext('ip.add'))")
        tls_port = tls_port_of(server.settings)
        if tls_port == port:
            raise CommandError(
                "ip.port.tls",
                f"port {port} is the TLS port of {server.name}",
                field="port",
                value=str(port),
                allowed="another port for plain HTTP",
            )
        taken = await work.tx.maybe(
            """SELECT s.name, host(i.address), i.port, (s.settings->>'tls_port')::int
               FROM ip_address i JOIN logical_server s ON s.id = i.logical_server_id
               WHERE i.address = ANY(%s::inet[]) AND i.logical_server_id <> %s
               AND (i.port = %s OR (s.settings->>'tls_port')::int IN (%s, nullif(%s, 0)))
               LIMIT 1""",
            (wanted, server.id, tls_port, port, tls_port),
        )
        if taken is not None:
            owner, address, plain, tls = taken
            raise CommandError(
                "ip.endpoint.taken",
                f"{owner} answers on {address} at port {plain}"
                + (f" and, for TLS, at {tls}" if tls else ""),
                field="first",
                value=address,
                allowed="an address, or ports, that no other server of the cluster uses",
                status=409,
            )

    async def list(self, work: Work, request: ListAddresses) -> dict[str, Any]:
        """List addresses in the order they were added (R356)."""
        size = limit(request.limit)
        server_id = None
        if request.lserver:
            server_id = (await find_server(work.tx, request.lserver, field="lserver")).id
        found = await work.tx.rows(
            f"{_LIST} WHERE i.id > %s"
            + (" AND i.logical_server_id = %s" if server_id else "")
            + " ORDER BY i.id LIMIT %s",
            (after_number(request.cursor, 0), *([server_id] if server_id else []), size + 1),
        )
        return page([_shown(row) for row in found], size, lambda item: int(item["id"]))

    async def show(self, work: Work, request: NamedAddress) -> dict[str, Any]:
        """Show one address."""
        return _shown(await self._find(work, request))

    async def delete(self, work: Work, request: NamedAddress) -> dict[str, Any]:
        """Delete an address that nothing uses (R357)."""
        row = await self._find(work, request)
        server = await find_server(work.tx, row[6], field="ip")
        in_use = row[8]
        if row[4] == "service":
            (in_use,) = await work.tx.row(
                """SELECT EXISTS (SELECT 1 FROM zone_server n JOIN zone z ON z.id = n.zone_id
                   WHERE n.logical_server_id = %s AND z.domain_id IS NOT NULL)""",
                (server.id,),
            )
        if in_use:
            raise CommandError(
                "ip.in-use",
                f"{'zones' if row[4] == 'service' else 'sites'} of {server.name} use the address",
                field="ip",
                value=row[1],
                allowed="delete what uses it first",
                status=409,
            )
        if row[4] == "service":
            await self.service_zone.sync(work, leaving=server.id)
        await work.tx.run("DELETE FROM ip_address WHERE id = %s", (row[0],))
        work.change.row("ip_address", f"{row[1]} {row[3]}", _shown(row), None)
        await self.servers.project(work, server)
        if row[4] != "service":
            await self.service_zone.sync(work)
        return {"ip": row[1], "port": row[3], "logical_server": server.name}

    async def _find(self, work: Work, request: NamedAddress) -> tuple[Any, ...]:
        address = addresses.address(request.ip)
        found = await work.tx.rows(
            f"{_LIST} WHERE i.address = %s::inet ORDER BY i.port", (str(address),)
        )
        fitting = [row for row in found if request.port in (None, row[3])]
        if not fitting:
            raise CommandError(
                "ip.unknown",
                "no logical server has this address",
                field="ip",
                value=request.ip,
                allowed="hsctl ip list shows the addresses",
                status=404,
            )
        if len(fitting) > 1:
            raise CommandError(
                "ip.ambiguous",
                "several servers answer on this address",
                field="port",
                value=request.ip,
                allowed="one of the ports " + ", ".join(f"{row[3]} ({row[6]})" for row in fitting),
                status=409,
            )
        return fitting[0]

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "ip.add",
                "POST",
                "/ips",
                AddAddresses,
                "provider.write",
                "Add addresses to a logical server",
                self.add,
            ),
            Command(
                "ip.list",
                "GET",
                "/ips",
                ListAddresses,
                "provider.read",
                "List addresses",
                self.list,
            ),
            Command(
                "ip.show",
                "GET",
                "/ips/{ip}",
                NamedAddress,
                "provider.read",
                "Show an address",
                self.show,
            ),
            Command(
                "ip.delete",
                "DELETE",
                "/ips/{ip}",
                NamedAddress,
                "provider.write",
                "Delete an address that nothing uses",
                self.delete,
            ),
        )
