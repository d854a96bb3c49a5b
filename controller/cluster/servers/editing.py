"""Changing a logical server: ``lserver.set``, ``edit`` and ``move`` (R284, R289 to R322)."""

import json
from typing import Any

import attrs

from controller.cluster.addresses.rows import lock_endpoints
from controller.cluster.boxes.boxes import find_open_box
from controller.cluster.free_text import text_line
from controller.cluster.placement.dns_roles import PROVIDER, WORDS, serves
from controller.cluster.rules.guard import watch
from controller.cluster.servers.control_ports import with_control_port
from controller.cluster.servers.logical_servers import find_server, lock_server
from controller.cluster.servers.settings import (
    check_references,
    merged,
    read_settings,
    shown_settings,
)
from controller.commands import Command, Work
from controller.projection.servers import ServerRow
from controller.projection.stored import ServerProjection
from controller.refusal import CommandError
from templates.registry import KNOWN_TYPES, SERVICE_TYPES

NAMED = 5
"""How many zones a warning names."""


_WAYS_OUT = {
    "dns": "a server without an address: add a name server on the new box, give it the roles of "
    "this one (hsctl dns roles), move the zones (hsctl dns apply), and delete this one when it is "
    "empty; hsctl ip move renumbers one that stays on its box",
    "": "a server without an address: the files of sites are on its box and are not moved; add "
    "another server on the new box, let new sites go there (hsctl lserver signup), and delete this "
    "one when it is empty",
}
"""What to do instead of moving a server that clients ask, by its group."""


@attrs.frozen
class SetServer:
    """Settings to change, by name; an empty text takes one back to its default."""

    name: str
    settings: dict[str, Any]


@attrs.frozen
class EditServer:
    """The note that tells a logical server from the others (R268)."""

    name: str
    description: str


@attrs.frozen
class MoveServer:
    """A logical server, and the box that it shall stand on."""

    name: str
    to: str


@attrs.frozen
class ServerEditing:
    """The commands that change a logical server."""

    servers: ServerProjection

    async def set(self, work: Work, request: SetServer) -> dict[str, Any]:
        """Change settings; those that are not named stay (R297)."""
        server = await lock_server(work.tx, request.name)
        guard = await watch(work.tx, servers=[server.id])
        known = KNOWN_TYPES[server.service_type]
        stored, boxes = await work.tx.row(
            """SELECT 1 FROM logical_server WHERE id = %s FOR NO KEY UPDATE;
               SELECT s.settings, array_agg(l.box_id::text) FROM logical_server s
               LEFT JOIN lane l ON l.logical_server_id = s.id WHERE s.id = %s GROUP BY s.id""",
            (server.id, server.id),
        )
        balanced = len(boxes) > 1
        read = read_settings(known, request.settings, balanced=balanced)
        await check_references(work.tx, known, read)
        after = merged(known, stored, read)
        if "tls_port" in read:
            await lock_endpoints(work.tx)
        if "control_port" in read:
            for box in boxes:
                await with_control_port(work.tx, box, known, read, besides=server.id)
        changed = after != stored
        warnings: list[str] = []
        if changed:
            await work.tx.run(
                """UPDATE logical_server SET settings = %s::jsonb, version = version + 1
                   WHERE id = %s""",
                (json.dumps(after), server.id),
            )
            warnings = await guard.check(work.tx) + await self._left_behind(work, server, after)
            work.change.row(
                "logical_server", server.name, {"settings": stored}, {"settings": after}
            )
            await self.servers.project(work, attrs.evolve(server, settings=after))
        return {
            "name": server.name,
            "settings": after,
            "options": shown_settings(known, after, balanced=balanced),
            "warnings": warnings,
        }

    async def _left_behind(
        self, work: Work, server: ServerRow, settings: dict[str, Any]
    ) -> list[str]:
        """Tell of zones that stay on a name server which is for others now (R367 to R370)."""
        before, after = server.settings.get("used_by", "all"), settings.get("used_by", "all")
        if server.group != "dns" or before == after or serves(str(after), PROVIDER):
            return []
        found = await work.tx.rows(
            """SELECT z.name FROM zone_server n JOIN zone z ON z.id = n.zone_id
               WHERE n.logical_server_id = %s AND z.owner_id IS NOT NULL LIMIT %s""",
            (server.id, NAMED + 1),
        )
        names = ", ".join(sorted(name for (name,) in found[:NAMED]))
        more = " and others" if len(found) > NAMED else ""
        return [f"zones of {WORDS[PROVIDER]} stay on it: {names}{more}"] if found else []

    async def edit(self, work: Work, request: EditServer) -> dict[str, Any]:
        """Change the description (R268, R284)."""
        server = await lock_server(work.tx, request.name)
        description = text_line(request.description, field="description", most=500)
        (former,) = await work.tx.row(
            "SELECT description FROM logical_server WHERE id = %s FOR NO KEY UPDATE", (server.id,)
        )
        if former != description:
            await work.tx.run(
                "UPDATE logical_server SET description = %s, version = version + 1 WHERE id = %s",
                (description, server.id),
            )
            work.change.row(
                "logical_server",
                server.name,
                {"description": former},
                {"description": description},
            )
        return {"name": server.name, "description": description}

    async def move(self, work: Work, request: MoveServer) -> dict[str, Any]:
        """Put a logical server that no box serves clients with yet onto another box (R261)."""
        await find_server(work.tx, request.name)
        box = await find_open_box(work.tx, request.to, field="to")
        server = await lock_server(work.tx, request.name, boxes=[box.id])
        guard = await watch(work.tx, boxes=[box.id], servers=[server.id])
        present = await work.tx.rows(
            """SELECT b.id::text, b.name FROM lane l JOIN box b ON b.id = l.box_id
               WHERE l.logical_server_id = %s ORDER BY b.name""",
            (server.id,),
        )
        if [id_ for id_, _ in present] == [box.id]:
            return {"name": server.name, "pserver": box.name, "warnings": []}
        if len(present) > 1:
            raise CommandError(
                "lserver.move.balanced",
                f"{server.name} runs on {len(present)} boxes",
                field="name",
                value=server.name,
                allowed="a logical server of one box",
                status=409,
            )
        await self._check_idle(work, server)
        # Nobody else can have stored what nothing serves: the new lane begins from the start.
        await work.tx.run(
            """DELETE FROM object_outcome WHERE logical_server_id = %s;
               DELETE FROM zone_observation WHERE logical_server_id = %s;
               DELETE FROM lane_object WHERE logical_server_id = %s;
               DELETE FROM lane WHERE logical_server_id = %s;
               INSERT INTO lane (box_id, logical_server_id) VALUES (%s, %s)""",
            (server.id, server.id, server.id, server.id, box.id, server.id),
        )
        known = KNOWN_TYPES[server.service_type]
        settings = await with_control_port(
            work.tx, box.id, known, dict(server.settings), besides=server.id, renew=True
        )
        if settings != server.settings:
            await work.tx.run(
                "UPDATE logical_server SET settings = %s::jsonb WHERE id = %s",
                (json.dumps(settings), server.id),
            )
        warnings = await guard.check(work.tx)
        work.change.row(
            "logical_server",
            server.name,
            {"pserver": [name for _, name in present], "settings": dict(server.settings)},
            {"pserver": [box.name], "settings": settings},
        )
        return {"name": server.name, "pserver": box.name, "warnings": warnings}

    async def _check_idle(self, work: Work, server: ServerRow) -> None:
        """Refuse to move what clients ask: that needs the new place to serve before the old ends.

        A server that is only modelled moves with its addresses: nobody but people bring these up.
        The row lock keeps an address from being added meanwhile (it takes a key share of the row).
        """
        (addresses,) = await work.tx.row(
            """SELECT 1 FROM logical_server WHERE id = %s FOR UPDATE;
               SELECT count(*) FROM ip_address WHERE logical_server_id = %s""",
            (server.id, server.id),
        )
        if addresses and server.service_type in SERVICE_TYPES:
            raise CommandError(
                "lserver.move.serving",
                f"{server.name} answers on {addresses} address{'' if addresses == 1 else 'es'}"
                " of its box",
                field="name",
                value=server.name,
                allowed=_WAYS_OUT.get(server.group, _WAYS_OUT[""]),
                status=409,
            )

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "lserver.set",
                "PATCH",
                "/lservers/{name}/settings",
                SetServer,
                "provider.write",
                "Change settings of a logical server",
                self.set,
                "What can be set, with its help, is in the field options of lserver.show.",
            ),
            Command(
                "lserver.edit",
                "PATCH",
                "/lservers/{name}",
                EditServer,
                "provider.write",
                "Change the description of a logical server",
                self.edit,
            ),
            Command(
                "lserver.move",
                "PUT",
                "/lservers/{name}/pserver",
                MoveServer,
                "provider.write",
                "Put a logical server that no box serves clients with yet onto another box",
                self.move,
            ),
        )
