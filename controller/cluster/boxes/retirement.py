"""A box that is gone for good: shut out, with a list of what was on it and where that can go."""

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from controller.cluster.boxes.boxes import find_box
from controller.cluster.ports import FleetPort
from controller.cluster.rules.book import RULES
from controller.cluster.rules.loading import Part, load_view
from controller.cluster.rules.rules import new_breaches
from controller.cluster.rules.view import Box, ModelView, Server
from controller.commands import Command, Work
from controller.fleet.certificates import revoke_of_box
from controller.refusal import CommandError
from controller.storage.database import Transaction

MOST_CANDIDATES = 50
"""Boxes looked at for new places, those with the fewest logical servers first."""
MOST_NAMED = 5
"""Boxes named for each logical server."""


@attrs.frozen
class RetireBox:
    """A box that is gone; ``box_is_gone`` says that a person knows it for certain."""

    name: str
    box_is_gone: bool = False


def places(view: ModelView, server: Server, candidates: Iterable[Box]) -> list[str]:
    """Give the boxes that may take ``server`` in place of those it is on. Pure.

    A box may, if it has the server's group (R244) and no rule is broken that is not broken now.
    """
    found = []
    for box in candidates:
        if server.group not in box.groups or box.name in server.boxes:
            continue
        broken = new_breaches(view, _moved(view, server, box), RULES)
        if not any(breach.rule.severity == "refuse" for breach in broken):
            found.append(box.name)
        if len(found) == MOST_NAMED:
            break
    return found


def _moved(view: ModelView, server: Server, box: Box) -> ModelView:
    moved = attrs.evolve(server, boxes=(box.name,))
    return attrs.evolve(
        view,
        servers=tuple(moved if one.id == server.id else one for one in view.servers),
        name_servers=tuple(moved if one.id == server.id else one for one in view.name_servers),
    )


@attrs.frozen
class Retirement:
    """The command that retires a box."""

    fleet: FleetPort

    async def retire(self, work: Work, request: RetireBox) -> dict[str, Any]:
        """Revoke a box's certificates, end its session, list what was on it.

        Its logical servers and all they serve stay in the model until they are moved or deleted.
        """
        box = await find_box(work.tx, request.name)
        if not request.box_is_gone:
            raise CommandError(
                "pserver.retire.unconfirmed",
                "a box is retired only when it is gone for good: it is shut out at once",
                field="box_is_gone",
                value="false",
                allowed="true (hsctl: --box-is-gone); for one that comes back: maintenance",
            )
        intent, connected, retired = await work.tx.lock(
            """SELECT intent, connected, retired_at IS NOT NULL FROM box
               WHERE id = %s FOR NO KEY UPDATE""",
            (box.id,),
        )
        if retired:
            raise CommandError(
                "pserver.retired",
                "the box was retired already",
                field="name",
                value=box.name,
                allowed=f"move or delete what was on it, then hsctl pserver delete {box.name}",
                status=409,
            )
        await work.tx.run(
            """UPDATE box SET retired_at = now(), intent = 'draining', version = version + 1
               WHERE id = %s""",
            (box.id,),
        )
        revoked = await revoke_of_box(work.tx, box.id, "box retired")
        await work.tx.run(
            "DELETE FROM enrolment_token WHERE box_id = %s AND used_at IS NULL", (box.id,)
        )
        work.change.row(
            "box",
            box.name,
            {"intent": intent, "retired": False},
            {"intent": "draining", "retired": True},
        )
        work.tx.after_commit(lambda: self.fleet.revoke(revoked))
        return {
            "name": box.name,
            "was_connected": connected,
            "revoked_certificates": len(revoked),
            "logical_servers": await _left(work.tx, box.id),
        }

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "pserver.retire",
                "POST",
                "/pservers/{name}/retirement",
                RetireBox,
                "provider.write",
                "Retire a physical server that is gone for good",
                self.retire,
                "Revokes its certificates and ends its session. Answers what was on it and where "
                "each logical server could be placed anew; all of it stays in the model.",
            ),
        )


_LEFT = """
SELECT s.id::text, s.name, s.group_name, s.service_type,
       (SELECT count(*) FROM (SELECT 1 FROM zone_server z
                              WHERE z.logical_server_id = s.id LIMIT 1000) z),
       (SELECT count(*) FROM (SELECT 1 FROM site x
                              WHERE x.logical_server_id = s.id LIMIT 1000) x),
       (SELECT count(*) FROM lane o WHERE o.logical_server_id = s.id AND o.box_id <> l.box_id)
FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
WHERE l.box_id = %s ORDER BY s.name
"""

_CANDIDATES = """
SELECT b.id::text FROM box b
WHERE b.intent = 'open' AND b.retired_at IS NULL AND b.first_seen_at IS NOT NULL
  AND b.groups && %s::text[]
ORDER BY (SELECT count(*) FROM lane l WHERE l.box_id = b.id), b.name LIMIT %s
"""


async def _left(tx: Transaction, box_id: str) -> Sequence[dict[str, Any]]:
    """Say what is on a box, and where each could be placed anew."""
    rows = await tx.rows(_LEFT, (box_id,))
    groups = sorted({row[2] for row in rows})
    found = [row[0] for row in await tx.rows(_CANDIDATES, (groups, MOST_CANDIDATES))]
    view = await load_view(tx, Part.of(boxes=[box_id, *found]))
    order = {box: place for place, box in enumerate(found)}
    candidates = sorted(
        (box for box in view.boxes if box.id in order), key=lambda box: order[box.id]
    )
    servers = {server.id: server for server in view.servers}
    return [
        {
            "name": row[1],
            "group": row[2],
            "type": row[3],
            "zones": row[4],
            "sites": row[5],
            "other_boxes": row[6],
            "places": places(view, servers[row[0]], candidates),
        }
        for row in rows
    ]
