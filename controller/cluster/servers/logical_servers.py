"""Logical servers: the commands ``lserver.*`` (R258 to R289)."""

import json
from collections.abc import Iterable
from typing import Any

import attrs

from controller import names
from controller.cluster.boxes.boxes import find_open_box
from controller.cluster.free_text import text_line
from controller.cluster.ports import ServiceZonePort
from controller.cluster.rules.guard import watch
from controller.cluster.rules.health import words_about
from controller.cluster.rules.loading import Part, lock_boxes
from controller.cluster.servers import groups
from controller.cluster.servers.control_ports import with_control_port
from controller.cluster.servers.settings import (
    check_references,
    merged,
    read_settings,
    references_to,
    shown_settings,
)
from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_text, contains, limit, page
from controller.projection.servers import ServerRow
from controller.projection.stored import drop_secrets
from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.registry import KNOWN_TYPES, SERVICE_TYPES


@attrs.frozen
class AddServer:
    """A logical server to add (R264 to R268); ``settings`` as its service type describes them."""

    name: str
    group: str
    type: str
    pserver: str
    description: str = ""
    settings: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class NamedServer:
    """A logical server by its name."""

    name: str


@attrs.frozen
class ListServers:
    """A page of logical servers whose name contains ``filter``, of one group where given."""

    filter: str = ""
    group: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class SwitchSignup:
    """Whether new customers are placed on a logical server (R285)."""

    name: str
    signup: bool


async def find_server(tx: Transaction, name: str, *, field: str = "name") -> ServerRow:
    """Give the logical server; raises `CommandError` ``lserver.unknown``."""
    row = await tx.maybe(
        """SELECT id::text, name, group_name, service_type, settings FROM logical_server
           WHERE name = %s""",
        (name.lower().removesuffix("."),),
    )
    if row is None:
        raise CommandError(
            "lserver.unknown",
            "no logical server has this name",
            field=field,
            value=name,
            allowed="hsctl lserver list shows the logical servers",
            status=404,
        )
    return ServerRow(*row)


async def lock_server(
    tx: Transaction, name: str, *, boxes: Iterable[str] = (), field: str = "name"
) -> ServerRow:
    """Give the logical server as it stays until the end, but for what this transaction does.

    Its boxes (and ``boxes``) are locked: so does whoever renames, changes, moves or deletes it.
    Raises `CommandError` ``lserver.unknown``, also where that happened while the lock was awaited.
    """
    found = await find_server(tx, name, field=field)
    await lock_boxes(tx, Part.of(boxes, [found.id]))
    return await find_server(tx, name, field=field)


_LIST = """
SELECT s.id::text, s.name, s.group_name, s.service_type, s.description, s.settings, s.signup,
       s.revision, s.version, s.created_at,
       coalesce((SELECT jsonb_agg(jsonb_build_object('pserver', b.name, 'condition', l.condition,
                    'message', l.message, 'stored_revision', l.stored_revision,
                    'settled_revision', l.settled_revision, 'connected', b.connected,
                    'drifted', l.drifted, 'adopted',
                    coalesce(l.adopted_history = (SELECT history FROM cluster), false), 'faults',
                    -- Counted up to here: somebody must look long before.
                    (SELECT count(*) FROM (SELECT 1 FROM object_outcome o WHERE o.box_id = l.box_id
                                           AND o.logical_server_id = s.id LIMIT 1000) f))
                    ORDER BY b.name)
                 FROM lane l JOIN box b ON b.id = l.box_id WHERE l.logical_server_id = s.id), '[]'),
       coalesce((SELECT jsonb_agg(jsonb_build_object('ip', host(i.address), 'prefix', i.prefix,
                    'port', i.port, 'tag', i.tag, 'type',
                    CASE WHEN i.type IN ('moving', 'beside', 'held') THEN 'second' ELSE i.type END)
                    ORDER BY i.type NOT IN ('service', 'shared'), i.type, i.id)
                 FROM ip_address i WHERE i.logical_server_id = s.id AND i.type <> 'dedicated'),
                '[]')
FROM logical_server s
"""


NOT_RUN = "modelled"
"""The condition of a lane whose type is known to the model alone."""


def _lane(lane: dict[str, Any], type_: str) -> dict[str, Any]:
    """Say plainly of a lane that nothing is applied on it, where that is so."""
    if type_ in SERVICE_TYPES:
        return lane
    words = f"its rules, addresses and settings are kept; no box runs a server of the type {type_}"
    return {**lane, "condition": NOT_RUN, "message": f"{words} by Heliosphere yet"}


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "name": row[1],
        "group": row[2],
        "type": row[3],
        "description": row[4],
        "settings": row[5],
        "signup": row[6],
        "revision": row[7],
        "version": row[8],
        "created_at": time_text(row[9]),
        "modelled": row[3] not in SERVICE_TYPES,
        "lanes": [_lane(lane, row[3]) for lane in row[10]],
        "ips": row[11],
    }


async def _all_shown(tx: Transaction, found: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Give logical servers with the rules that they break."""
    warnings = await words_about(tx, (row[0] for row in found))
    return [{**_shown(row), "warnings": warnings.get(row[1], [])} for row in found]


_KEPT = """
SELECT jsonb_build_object('id', s.id, 'name', s.name, 'group', s.group_name,
           'type', s.service_type, 'description', s.description, 'settings', s.settings,
           'signup', s.signup,
           'pserver', array(SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
                            WHERE l.logical_server_id = s.id ORDER BY b.name))
FROM logical_server s WHERE s.id = %s
"""


async def _kept(tx: Transaction, server_id: str) -> dict[str, Any]:
    """Give a logical server as changes keep it."""
    (kept,) = await tx.row(_KEPT, (server_id,))
    return dict(kept)


_USED = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM zone_server
        WHERE logical_server_id = %s LIMIT 1000) z),
       (SELECT count(*) FROM (SELECT 1 FROM site WHERE logical_server_id = %s LIMIT 1000) s),
       (SELECT count(*) FROM ip_address WHERE logical_server_id = %s),
       EXISTS (SELECT 1 FROM placement_server w JOIN placement p ON p.group_name = w.group_name
               WHERE w.logical_server_id = %s AND p.policy = 'pinned')
"""


async def _used(tx: Transaction, server: ServerRow) -> dict[str, Any]:
    """Give how many zones, sites and addresses a server has, and what names it."""
    zones, sites, ips, pinned = await tx.row(_USED, (server.id,) * 4)
    named = await references_to(tx, server.name)
    return {
        "zones": zones,
        "sites": sites,
        "addresses": ips,
        "pinned": pinned,
        "settings": [{"server": each.server, "setting": each.setting} for each in named],
    }


def _in_use(server: ServerRow, used: dict[str, Any]) -> CommandError | None:
    """Give the refusal that lists what still uses a server (R286, R287), or None."""
    counted = [
        f"{used[many]} {one if used[many] == 1 else many}"
        for one, many in (("zone", "zones"), ("site", "sites"), ("address", "addresses"))
        if used[many]
    ]
    named = [f"{each['server']} ({each['setting']})" for each in used["settings"]]
    words = [f"the server has {', '.join(counted)}"] if counted else []
    if named:
        words.append(f"settings name it: {', '.join(named)}")
    if used["pinned"]:
        words.append(f"what is new in the group {server.group} is pinned to it")
    if not words:
        return None
    return CommandError(
        "lserver.in-use",
        "; ".join(words),
        field="name",
        value=server.name,
        allowed="delete the zones and sites on it, then its addresses (hsctl ip delete), and name "
        "another server where a setting (hsctl lserver set) or the placement of its group (hsctl "
        "placement set) names it",
        status=409,
    )


@attrs.frozen
class Servers:
    """The commands on logical servers."""

    service_zone: ServiceZonePort

    async def add(self, work: Work, request: AddServer) -> dict[str, Any]:
        """Add a logical server to a box; signup on it stays off (R280)."""
        name = names.domain_name(request.name, error_id="lserver.name.invalid")
        service_type = groups.service_type(request.group, request.type)
        description = text_line(request.description, field="description", most=500)
        read = read_settings(service_type, request.settings, balanced=False)
        await check_references(work.tx, service_type, read)
        box = await find_open_box(work.tx, request.pserver, field="pserver")
        guard = await watch(work.tx, boxes=[box.id])
        await self.service_zone.check_name(work, name, field="name")
        ported = await with_control_port(work.tx, box.id, service_type, read)
        settings = merged(service_type, {}, ported)
        (server_id,) = await work.tx.row(
            """INSERT INTO logical_server (name, group_name, service_type, description, settings)
               VALUES (%s, %s, %s, %s, %s::jsonb) RETURNING id::text""",
            (
                name,
                request.group,
                request.type,
                description,
                json.dumps(settings),
            ),
        )
        await work.tx.run(
            "INSERT INTO lane (box_id, logical_server_id) VALUES (%s, %s)", (box.id, server_id)
        )
        server = {
            "id": server_id,
            "name": name,
            "group": request.group,
            "type": request.type,
            "pserver": box.name,
            "settings": settings,
            "signup": False,
        }
        warnings = await guard.check(work.tx)
        work.change.row("logical_server", name, None, await _kept(work.tx, server_id))
        return {**server, "warnings": warnings}

    async def list(self, work: Work, request: ListServers) -> dict[str, Any]:
        """List logical servers by name (R283)."""
        size = limit(request.limit)
        found = await work.tx.rows(
            f"""{_LIST} WHERE s.name > %s AND s.name LIKE %s AND %s IN ('', s.group_name)
                ORDER BY s.name LIMIT %s""",
            (after_text(request.cursor), contains(request.filter), request.group, size + 1),
        )
        shown = await _all_shown(work.tx, found)
        return page(shown, size, lambda item: str(item["name"]))

    async def show(self, work: Work, request: NamedServer) -> dict[str, Any]:
        """Show one logical server: its settings with their help, and what uses it.

        Zones and sites are counted up to 1000.
        """
        server = await find_server(work.tx, request.name)
        row = await work.tx.lock(f"{_LIST} WHERE s.id = %s", (server.id,))
        (shown,) = await _all_shown(work.tx, [row])
        known = KNOWN_TYPES[server.service_type]
        balanced = len(shown["lanes"]) > 1
        return {
            **shown,
            "options": shown_settings(known, server.settings, balanced=balanced),
            "used_by": await _used(work.tx, server),
        }

    async def signup(self, work: Work, request: SwitchSignup) -> dict[str, Any]:
        """Switch signup on or off (R285)."""
        server = await lock_server(work.tx, request.name)
        touched = await work.tx.run(
            """UPDATE logical_server SET signup = %s, version = version + 1
               WHERE id = %s AND signup <> %s""",
            (request.signup, server.id, request.signup),
        )
        if touched:
            work.change.row(
                "logical_server",
                server.name,
                {"signup": not request.signup},
                {"signup": request.signup},
            )
        return {"name": server.name, "signup": request.signup}

    async def delete(self, work: Work, request: NamedServer) -> dict[str, Any]:
        """Delete a logical server that serves nothing (R286) and has no addresses (R287)."""
        server = await lock_server(work.tx, request.name)
        # A setting that is being made to name this server holds its row; see `check_references`.
        await work.tx.rows("SELECT 1 FROM logical_server WHERE id = %s FOR UPDATE", (server.id,))
        refused = _in_use(server, await _used(work.tx, server))
        if refused is not None:
            raise refused
        kept = await _kept(work.tx, server.id)
        await work.tx.run(
            """DELETE FROM object_outcome WHERE logical_server_id = %s;
               DELETE FROM zone_observation WHERE logical_server_id = %s;
               DELETE FROM lane_object WHERE logical_server_id = %s;
               DELETE FROM desired_object WHERE logical_server_id = %s;
               DELETE FROM lane WHERE logical_server_id = %s;
               DELETE FROM logical_server WHERE id = %s""",
            (server.id,) * 6,
        )
        await drop_secrets(work.tx, f"fallback:{server.id}")
        work.change.forget(server.id)
        work.change.row("logical_server", server.name, kept, None)
        await self.service_zone.sync(work, server.name)
        return {"name": server.name}

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "lserver.add",
                "POST",
                "/lservers",
                AddServer,
                "provider.write",
                "Add a logical server to a box",
                self.add,
                "It serves nothing until it has an address (ip.add) and signup is on.",
            ),
            Command(
                "lserver.list",
                "GET",
                "/lservers",
                ListServers,
                "provider.read",
                "List logical servers",
                self.list,
            ),
            Command(
                "lserver.show",
                "GET",
                "/lservers/{name}",
                NamedServer,
                "provider.read",
                "Show a logical server",
                self.show,
            ),
            Command(
                "lserver.signup",
                "PUT",
                "/lservers/{name}/signup",
                SwitchSignup,
                "provider.write",
                "Switch customer signup on a logical server on or off",
                self.signup,
            ),
            Command(
                "lserver.delete",
                "DELETE",
                "/lservers/{name}",
                NamedServer,
                "provider.write",
                "Delete a logical server that serves nothing and has no addresses",
                self.delete,
            ),
        )
