"""Physical servers: the commands ``pserver.*`` (R229 to R257)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import attrs

from controller import names
from controller.cluster.addresses import addresses
from controller.cluster.boxes.invitations import Invitations
from controller.cluster.free_text import text_line
from controller.cluster.ports import FleetPort
from controller.cluster.rules import dns as rules_dns
from controller.cluster.rules.guard import watch
from controller.cluster.servers import groups
from controller.commands import Command, Work
from controller.fleet.certificates import revoke_of_box
from controller.fleet.conditions import BoxFacts, LaneFacts, conditions
from controller.moments import time_text
from controller.pages import after_text, contains, limit, page
from controller.refusal import CommandError
from controller.runner import OneTime
from controller.storage.database import Transaction

OS_FAMILIES = ("linux", "freebsd", "windows")
FRESH_SECONDS = 10
"""A system report younger than this is not asked for again: its coming is an event that pages
answer by reading it."""


@attrs.frozen
class AddBox:
    """A box to add: its name, primary address with its mask (R238), and groups (R243)."""

    name: str
    ip: str
    mask: str
    groups: tuple[str, ...]
    os_family: str = "linux"
    description: str = ""


@attrs.frozen
class NamedBox:
    """A box by its name."""

    name: str


@attrs.frozen
class ListBoxes:
    """A page of boxes whose name contains ``filter``, with a server ``group`` where given."""

    filter: str = ""
    group: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class BoxRow:
    """A box as commands need it."""

    id: str
    name: str
    groups: tuple[str, ...]
    intent: str


async def find_box(tx: Transaction, name: str, *, field: str = "name") -> BoxRow:
    """Give the box; raises `CommandError` ``pserver.unknown``."""
    row = await tx.maybe(
        "SELECT id::text, name, groups, intent FROM box WHERE name = %s",
        (name.lower(),),
    )
    if row is None:
        raise CommandError(
            "pserver.unknown",
            "no box has this name",
            field=field,
            value=name,
            allowed="hsctl pserver list shows the boxes",
            status=404,
        )
    return BoxRow(row[0], row[1], tuple(row[2]), row[3])


async def find_open_box(tx: Transaction, name: str, *, field: str) -> BoxRow:
    """Give a box that a logical server is to be put on; raises `CommandError`.

    Nothing new is placed on a box that is drained, as one that was retired is too.
    """
    box = await find_box(tx, name, field=field)
    if box.intent == "draining":
        raise CommandError(
            "pserver.draining",
            f"the box {box.name} is drained: nothing new is placed on it",
            field=field,
            value=name,
            allowed=f"another box, or first hsctl pserver intent {box.name} open",
            status=409,
        )
    return box


_REFUSALS: Mapping[str, Literal["", "protocol", "duplicate-identity"]] = {
    "protocol": "protocol",
    "duplicate-identity": "duplicate-identity",
}

_LIST = """
SELECT b.id::text, b.name, host(b.address), masklen(b.address), b.os_family, b.groups, b.intent,
       b.connected, b.first_seen_at, b.last_seen_at, b.agent_version, b.version,
       coalesce((SELECT jsonb_agg(jsonb_build_array(s.name, l.condition, l.settled_revision,
                                                    s.revision, l.drifted) ORDER BY s.name)
                 FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
                 WHERE l.box_id = b.id), '[]'),
       (SELECT max(c.not_after) FROM certificate c
        WHERE c.box_id = b.id AND c.revoked_at IS NULL),
       b.description, b.monitoring, b.retired_at
FROM box b
"""


def _shown(row: tuple[Any, ...], fleet: FleetPort, now: datetime) -> dict[str, Any]:
    refused = fleet.refused(row[0])
    words = conditions(
        BoxFacts(
            first_seen=row[8],
            connected=row[7],
            certificate_ends=row[13],
            lanes=[LaneFacts(*lane[1:]) for lane in row[12]],
            refused=_REFUSALS.get(refused, ""),
        ),
        now,
    )
    return {
        "id": row[0],
        "name": row[1],
        "ip": row[2],
        "prefix": row[3],
        "os_family": row[4],
        "groups": list(row[5]),
        "intent": row[6],
        "condition": words[0] if words else "lost",
        "conditions": list(words),
        "never_connected": row[8] is None,
        "connected": row[7],
        "first_seen_at": time_text(row[8]),
        "last_seen_at": time_text(row[9]),
        "agent_version": row[10],
        "version": row[11],
        "certificate_ends": time_text(row[13]),
        "description": row[14],
        "monitoring": row[15],
        "retired_at": time_text(row[16]),
        "muted": row[6] == "maintenance" or row[16] is not None,
        "logical_servers": [lane[0] for lane in row[12]],
    }


def operating_system(name: str) -> str:
    """Read the operating system of a box (R229); raises `CommandError`."""
    if name not in OS_FAMILIES:
        raise CommandError(
            "pserver.os.invalid",
            "not an operating system of a box",
            field="os_family",
            value=name,
            allowed=", ".join(OS_FAMILIES),
        )
    return name


@attrs.frozen
class Boxes:
    """The commands on physical servers; ``clock`` gives seconds since the epoch."""

    invitations: Invitations
    fleet: FleetPort
    clock: Callable[[], float]

    async def add(self, work: Work, request: AddBox) -> OneTime:
        """Add a box and give the one line that enrols it (M4: no root password is asked for)."""
        name = names.box_name(request.name)
        address = addresses.address(request.ip)
        prefix = addresses.prefix_length(request.mask, address)
        wanted = groups.groups(request.groups)
        os_family = operating_system(request.os_family)
        description = text_line(request.description, field="description", most=500)
        guard = await watch(work.tx, rules=rules_dns.RULES)
        (box_id,) = await work.tx.row(
            """INSERT INTO box (name, address, os_family, groups, description)
               VALUES (%s, %s::inet, %s, %s, %s) RETURNING id::text""",
            (name, f"{address}/{prefix}", os_family, wanted, description),
        )
        box = {"id": box_id, "name": name, "ip": str(address), "prefix": prefix, "groups": wanted}
        work.change.row("box", name, None, box)
        # A second box is never in the way (A3): the name servers on the first are told of (R261).
        warnings = await guard.check(
            work.tx, boxes=[box_id], warn_only=("lserver.dns.one-per-box",)
        )
        return await self.invitations.invite(work, box_id, os_family, {**box, "warnings": warnings})

    async def list(self, work: Work, request: ListBoxes) -> dict[str, Any]:
        """List boxes by name (R245)."""
        size = limit(request.limit)
        found = await work.tx.rows(
            f"""{_LIST} WHERE b.name > %s AND b.name LIKE %s AND (%s = '' OR %s = ANY(b.groups))
                ORDER BY b.name LIMIT %s""",
            (
                after_text(request.cursor),
                contains(request.filter),
                request.group,
                request.group,
                size + 1,
            ),
        )
        shown = [_shown(row, self.fleet, self._now()) for row in found]
        return page(shown, size, lambda item: str(item["name"]))

    async def these(self, tx: Transaction, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """Show boxes by their ids, in this order."""
        found = await tx.rows(
            f"{_LIST} WHERE b.id = ANY(%s::uuid[]) ORDER BY array_position(%s::uuid[], b.id)",
            ([*ids], [*ids]),
        )
        return [_shown(row, self.fleet, self._now()) for row in found]

    async def show(self, work: Work, request: NamedBox) -> dict[str, Any]:
        """Show one box."""
        box = await find_box(work.tx, request.name)
        row = await work.tx.lock(f"{_LIST} WHERE b.id = %s", (box.id,))
        return _shown(row, self.fleet, self._now())

    async def system_information(self, work: Work, request: NamedBox) -> dict[str, Any]:
        """Show the last system report (R249), and ask the box for a fresh one if it is old."""
        box = await find_box(work.tx, request.name)
        facts, at, connected = await work.tx.lock(
            "SELECT facts, facts_at, connected FROM box WHERE id = %s", (box.id,)
        )
        if at is None or self._now() - at > timedelta(seconds=FRESH_SECONDS):
            work.tx.after_commit(lambda: self._ask_for_facts(box.id))
        return {
            "name": box.name,
            "connected": connected,
            "facts": facts,
            "facts_at": time_text(at),
        }

    async def delete(self, work: Work, request: NamedBox) -> dict[str, Any]:
        """Delete a box without logical servers (R255); its certificates are revoked."""
        box = await find_box(work.tx, request.name)
        await work.tx.lock("SELECT id FROM box WHERE id = %s FOR UPDATE", (box.id,))
        used = await work.tx.rows(
            """SELECT s.name FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
               WHERE l.box_id = %s ORDER BY s.name""",
            (box.id,),
        )
        if used:
            raise CommandError(
                "pserver.in-use",
                "the box is used by logical servers",
                field="name",
                value=box.name,
                allowed=f"delete {', '.join(name for (name,) in used)} first",
                status=409,
            )
        revoked = await revoke_of_box(work.tx, box.id, "box deleted")
        await work.tx.run("DELETE FROM box WHERE id = %s", (box.id,))
        work.change.row("box", box.name, {"id": box.id, "name": box.name}, None)
        work.tx.after_commit(lambda: self.fleet.revoke(revoked))
        return {"name": box.name, "revoked_certificates": len(revoked)}

    def _ask_for_facts(self, box_id: str) -> None:
        self.fleet.request_facts(box_id)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "pserver.add",
                "POST",
                "/pservers",
                AddBox,
                "provider.write",
                "Add a physical server",
                self.add,
                "Answers the one line to run on the box. Its token works once, for this box.",
            ),
            Command(
                "pserver.list",
                "GET",
                "/pservers",
                ListBoxes,
                "provider.read",
                "List physical servers",
                self.list,
            ),
            Command(
                "pserver.show",
                "GET",
                "/pservers/{name}",
                NamedBox,
                "provider.read",
                "Show a physical server",
                self.show,
            ),
            Command(
                "pserver.sysinfo",
                "GET",
                "/pservers/{name}/sysinfo",
                NamedBox,
                "provider.read",
                "Show the system information of a physical server",
                self.system_information,
            ),
            Command(
                "pserver.delete",
                "DELETE",
                "/pservers/{name}",
                NamedBox,
                "provider.write",
                "Delete a physical server that has no logical servers",
                self.delete,
            ),
        )
