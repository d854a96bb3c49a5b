"""IP addresses of logical servers: the commands ``ip.*`` (R323 to R357)."""

from typing import Any

import attrs

from controller.cluster.addresses import addresses
from controller.cluster.addresses.addresses import AddressRange
from controller.cluster.addresses.rows import (
    LIST,
    AddressRow,
    check_endpoints_free,
    check_not_moving,
    find_address,
    insert_range,
    used_by,
    web_port,
)
from controller.cluster.addresses.types import TYPES, address_type, check_range
from controller.cluster.ports import ServiceZonePort
from controller.cluster.rules.guard import watch
from controller.cluster.servers.groups import DEFAULT_TAG
from controller.cluster.servers.logical_servers import find_server, lock_server
from controller.commands import Command, Work
from controller.pages import after_number, limit, page
from controller.projection.servers import ServerRow
from controller.projection.stored import ServerProjection
from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.registry import KNOWN_TYPES

SHOWN = 100
"""Addresses of a new range that the answer names; the rest is counted."""
LARGE = 20
"""A deletion of more addresses than this must name their number."""


# What goes is told as it could be added again: by runs without a gap and of one mask.
_DELETE_RANGE = """
WITH gone AS (
    DELETE FROM ip_address WHERE logical_server_id = %s AND port = %s
    AND address BETWEEN %s::inet AND %s::inet RETURNING address, prefix
), placed AS (
    SELECT address, prefix, address - %s::inet
           - row_number() OVER (PARTITION BY prefix ORDER BY address) AS run FROM gone
)
SELECT host(min(address)), host(max(address)), prefix, count(*) FROM placed
GROUP BY prefix, run ORDER BY min(address)
"""


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
class EditAddress:
    """What to change of an address; what is left out stays. ``new_port``: while unused (R357)."""

    ip: str
    port: int | None = None
    mask: str = ""
    tag: int | None = None
    new_port: int | None = None


@attrs.frozen
class DeleteAddresses:
    """An address, or all from ``ip`` to ``last``; ``confirm`` names the number of a large range."""

    ip: str
    port: int | None = None
    last: str = ""
    confirm: int | None = None


@attrs.frozen
class ListAddresses:
    """A page of addresses: of one server, of one type, only free dedicated ones, as given."""

    lserver: str = ""
    type: str = ""
    free: bool = False
    limit: int = 100
    cursor: str = ""


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
    return DEFAULT_TAG if tag is None else tag


@attrs.frozen
class IpAddresses:
    """The commands on addresses."""

    servers: ServerProjection
    service_zone: ServiceZonePort

    async def add(self, work: Work, request: AddAddresses) -> dict[str, Any]:
        """Add an address or a range to a logical server; the answer names its first hundred."""
        first = addresses.address(request.first, field="first")
        last = addresses.address(request.last, field="last") if request.last else first
        wanted = addresses.address_range(first, last, field="last")
        prefix = addresses.prefix_length(request.mask, first)
        server = await lock_server(work.tx, request.lserver, field="lserver")
        type_ = address_type(request.type, server.group)
        check_range(type_, wanted.count)
        tag = checked_tag(request.type, request.tag)
        guard = await watch(work.tx, servers=[server.id])
        port = await self._port(work.tx, server, request)
        await check_endpoints_free(work.tx, server, wanted, port)
        await insert_range(
            work.tx, server, wanted, prefix=prefix, port=port, type_=type_.name, tag=tag
        )
        warnings = await guard.check(work.tx)
        common = {"prefix": prefix, "port": port, "type": type_.name, "tag": tag}
        added = {"logical_server": server.name, "count": wanted.count, **common}
        work.change.row("ip_address", f"{wanted} {port}", None, added)
        if type_.listens:
            await self.servers.project(work, server)
            await self.service_zone.sync(work, server.name)
        shown = [str(first + step) for step in range(min(wanted.count, SHOWN))]
        return {
            "logical_server": server.name,
            "count": wanted.count,
            "added": [{"ip": ip, **common} for ip in shown],
            "warnings": [*warnings, *await self._unbound(work.tx, server, type_.name, wanted)],
        }

    async def _port(self, tx: Transaction, server: ServerRow, request: AddAddresses) -> int:
        """Give the port: a dedicated address has that of the server's shared ones."""
        own = await web_port(tx, server) if request.type == "dedicated" else None
        default = KNOWN_TYPES[server.service_type].default_port if own is None else own
        port = addresses.port(default if request.port is None else request.port)
        if own not in (None, port):
            raise CommandError(
                "ip.dedicated.port",
                f"sites on {server.name} are answered on port {own}",
                field="port",
                value=str(port),
                allowed=str(own),
            )
        return port

    async def _unbound(
        self, tx: Transaction, server: ServerRow, type_: str, wanted: AddressRange
    ) -> list[str]:
        """Say that nobody brings the address up on the box (R341, R342)."""
        if type_ == "dedicated":
            return []
        found = await tx.rows(
            """SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
               WHERE l.logical_server_id = %s AND host(b.address) <> %s ORDER BY b.name""",
            (server.id, str(wanted.first)),
        )
        return [
            f"{wanted.first} is not brought up on {name} by itself: do it by hand, or use the "
            "primary IP of the physical server"
            for (name,) in found
        ]

    async def edit(self, work: Work, request: EditAddress) -> dict[str, Any]:
        """Change the mask, the tag, or (while nothing uses it) the port of an address."""
        row = await find_address(work.tx, request.ip, request.port)
        server = await lock_server(work.tx, row.server, field="ip")
        guard = await watch(work.tx, servers=[server.id])
        row = await self._locked(work.tx, row)
        check_not_moving(row)
        after = row
        if request.mask:
            if row.type == "dedicated":
                await self._check_unused(work.tx, row)
            prefix = addresses.prefix_length(request.mask, addresses.address(row.ip))
            after = attrs.evolve(after, prefix=prefix)
        if request.tag is not None:
            after = attrs.evolve(after, tag=checked_tag(row.type, request.tag))
        if request.new_port is not None and request.new_port != row.port:
            await self._check_unused(work.tx, row)
            await self._check_not_beside_dedicated(work.tx, row)
            port = addresses.port(request.new_port, field="new_port")
            one = addresses.address(row.ip)
            await check_endpoints_free(work.tx, server, AddressRange(one, one), port)
            after = attrs.evolve(after, port=port)
        if after == row:
            return {**row.shown(), "warnings": []}
        await work.tx.run(
            "UPDATE ip_address SET prefix = %s, tag = %s, port = %s WHERE id = %s",
            (after.prefix, after.tag, after.port, row.id),
        )
        warnings = await guard.check(work.tx)
        work.change.row("ip_address", row.key, row.shown(), after.shown())
        await self.servers.project(work, server)
        await self.service_zone.sync(work, server.name)
        return {**after.shown(), "warnings": warnings}

    async def list(self, work: Work, request: ListAddresses) -> dict[str, Any]:
        """List addresses in the order they were added (R356)."""
        size = limit(request.limit)
        where = ["i.id > %s"]
        parameters: list[object] = [after_number(request.cursor, 0)]
        if request.lserver:
            server = await find_server(work.tx, request.lserver, field="lserver")
            where.append("i.logical_server_id = %s")
            parameters.append(server.id)
        if request.type:
            if request.type not in TYPES:
                raise CommandError(
                    "ip.type.invalid",
                    "not a type of address",
                    field="type",
                    value=request.type,
                    allowed=", ".join(TYPES),
                )
            where.append("i.type = %s")
            parameters.append(request.type)
        if request.free:
            where.append("i.type = 'dedicated' AND i.site_id IS NULL")
        found = await work.tx.rows(
            f"{LIST} WHERE {' AND '.join(where)} ORDER BY i.id LIMIT %s", (*parameters, size + 1)
        )
        items = [AddressRow(*row).shown() for row in found]
        return page(items, size, lambda item: int(item["id"]))

    async def show(self, work: Work, request: NamedAddress) -> dict[str, Any]:
        """Show one address, with what uses it."""
        row = await find_address(work.tx, request.ip, request.port)
        return {**row.shown(), "uses": await used_by(work.tx, row)}

    async def delete(self, work: Work, request: DeleteAddresses) -> dict[str, Any]:
        """Delete an address, or a range of dedicated ones, that nothing uses (R357)."""
        if request.last:
            return await self._delete_range(work, request)
        row = await find_address(work.tx, request.ip, request.port)
        server = await lock_server(work.tx, row.server, field="ip")
        row = await self._locked(work.tx, row)
        check_not_moving(row)
        await self._check_unused(work.tx, row)
        await self._check_not_beside_dedicated(work.tx, row)
        if row.type == "service":
            await self.service_zone.sync(work, server.name, leaving=server.id)
        await work.tx.run("DELETE FROM ip_address WHERE id = %s", (row.id,))
        work.change.row("ip_address", row.key, row.shown(), None)
        if TYPES[row.type].listens:
            await self.servers.project(work, server)
            if row.type != "service":
                await self.service_zone.sync(work, server.name)
        return {"ip": row.ip, "port": row.port, "logical_server": server.name, "count": 1}

    async def _locked(self, tx: Transaction, row: AddressRow) -> AddressRow:
        """Give an address as it stays: nobody places a site on it, or beside it, or a zone, now."""
        if row.type == "service":
            await tx.lock("SELECT 1 FROM logical_server WHERE id = %s FOR UPDATE", (row.server_id,))
        await tx.lock("SELECT 1 FROM ip_address WHERE id = %s FOR UPDATE", (row.id,))
        return await find_address(tx, row.ip, row.port)

    async def _check_unused(self, tx: Transaction, row: AddressRow) -> None:
        if not row.used_by:
            return
        uses = await used_by(tx, row)
        named = ", ".join(uses["domains"])
        raise CommandError(
            "ip.in-use",
            f"{'zones' if row.type == 'service' else 'sites'} of {row.server} use the address"
            + (f": {named}" if named else ""),
            field="ip",
            value=row.ip,
            allowed="delete what uses it first",
            status=409,
        )

    async def _check_not_beside_dedicated(self, tx: Transaction, row: AddressRow) -> None:
        """Keep the server's last shared address of a port while sites have dedicated ones on it."""
        if row.type != "shared":
            return
        beside = await tx.maybe(
            """SELECT host(d.address) FROM ip_address d
               WHERE d.logical_server_id = %s AND d.port = %s AND d.site_id IS NOT NULL
               AND NOT EXISTS (SELECT FROM ip_address s WHERE s.logical_server_id = %s
                               AND s.type = 'shared' AND s.port = %s AND s.id <> %s)
               LIMIT 1""",
            (row.server_id, row.port, row.server_id, row.port, row.id),
        )
        if beside is not None:
            raise CommandError(
                "ip.in-use",
                f"sites of {row.server} have dedicated addresses beside it: {beside[0]}",
                field="ip",
                value=row.ip,
                allowed="give those back first: hsctl site address DOMAIN --shared",
                status=409,
            )

    async def _delete_range(self, work: Work, request: DeleteAddresses) -> dict[str, Any]:
        first = addresses.address(request.ip)
        wanted = addresses.address_range(first, addresses.address(request.last, field="last"))
        port = request.port
        found = await work.tx.rows(
            """SELECT s.id::text, s.name, i.port, count(*),
                      count(*) FILTER (WHERE i.type <> %s OR EXISTS (
                          SELECT FROM address_move m
                          WHERE m.address_id = i.id AND m.ended_at IS NULL)),
                      host(min(i.address) FILTER (WHERE i.site_id IS NOT NULL))
               FROM (SELECT * FROM ip_address WHERE address BETWEEN %s::inet AND %s::inet
                     AND (%s::int IS NULL OR port = %s) FOR UPDATE) i
               JOIN logical_server s ON s.id = i.logical_server_id
               GROUP BY s.id, i.port ORDER BY s.name, i.port""",
            ("dedicated", str(wanted.first), str(wanted.last), port, port),
        )
        if not found:
            raise CommandError(
                "ip.unknown",
                "no logical server has an address of this range",
                field="ip",
                value=str(wanted),
                allowed="hsctl ip list shows the addresses",
                status=404,
            )
        if len(found) > 1 or found[0][4]:
            raise CommandError(
                "ip.delete.mixed",
                "a range is deleted where it holds dedicated addresses of one server alone, none "
                "of which moves",
                field="last",
                value=str(wanted),
                allowed="a shorter range; other addresses are deleted one by one",
                status=409,
            )
        server_id, name, port, count, _, used = found[0]
        if used is not None:
            raise CommandError(
                "ip.in-use",
                f"a site of {name} uses {used}",
                field="ip",
                value=used,
                allowed="a range that no site uses: hsctl ip list --free",
                status=409,
            )
        if count > LARGE and request.confirm != count:
            raise CommandError(
                "ip.delete.unconfirmed",
                f"the range holds {count} addresses",
                field="confirm",
                value="" if request.confirm is None else str(request.confirm),
                allowed=f"the number of addresses that go: {count}",
                status=409,
            )
        runs = await work.tx.rows(
            _DELETE_RANGE, (server_id, port, str(wanted.first), str(wanted.last), first.compressed)
        )
        common = {"logical_server": name, "port": port, "type": "dedicated", "tag": None}
        for low, high, prefix, number in runs:
            run = AddressRange(addresses.address(low), addresses.address(high))
            gone = {**common, "prefix": prefix, "count": number}
            work.change.row("ip_address", f"{run} {port}", gone, None)
        return {"ip": str(wanted), "port": port, "logical_server": name, "count": count}

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
                "ip.edit",
                "PATCH",
                "/ips/{ip}",
                EditAddress,
                "provider.write",
                "Change the mask, the tag or the port of an address",
                self.edit,
            ),
            Command(
                "ip.delete",
                "DELETE",
                "/ips/{ip}",
                DeleteAddresses,
                "provider.write",
                "Delete addresses that nothing uses",
                self.delete,
                "A range of more than 20 addresses is deleted when `confirm` names their number.",
            ),
        )
