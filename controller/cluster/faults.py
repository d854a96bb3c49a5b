"""What the boxes could not do: the commands ``fault.list`` and ``fault.retry``."""

from typing import Any

import attrs

from controller.cluster.boxes.asking import box_away
from controller.cluster.ports import FleetPort
from controller.cluster.servers.logical_servers import find_server
from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_text, limit, page

SEPARATOR = "\x1f"


@attrs.frozen
class ListFaults:
    """A page of faults, of one logical server where given."""

    lserver: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class RetryFault:
    """What to try again; an empty ``kind`` means everything on the logical server."""

    lserver: str
    kind: str = ""
    key: str = ""


_LIST = """
SELECT server, box, kind, key, revision, state, message, since FROM (
    SELECT s.name AS server, b.name AS box, o.kind, o.key, o.revision, o.outcome AS state,
           o.message, o.since
    FROM object_outcome o JOIN box b ON b.id = o.box_id
    JOIN logical_server s ON s.id = o.logical_server_id
    UNION ALL
    SELECT s.name, b.name, '', '', l.settled_revision, l.condition, l.message, NULL
    FROM lane l JOIN box b ON b.id = l.box_id JOIN logical_server s ON s.id = l.logical_server_id
    WHERE l.condition NOT IN ('ok', 'new')
) f
WHERE %s IN ('', server) AND concat_ws(E'\\x1f', server, box, kind, key) COLLATE "C" > %s
ORDER BY concat_ws(E'\\x1f', server, box, kind, key) COLLATE "C" LIMIT %s
"""


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "logical_server": row[0],
        "box": row[1],
        "kind": row[2],
        "key": row[3],
        "revision": row[4],
        "state": row[5],
        "message": row[6],
        "since": time_text(row[7]),
    }


@attrs.frozen
class Faults:
    """The commands on faults."""

    fleet: FleetPort

    async def list(self, work: Work, request: ListFaults) -> dict[str, Any]:
        """List objects that a box could not apply, and lanes in trouble (an empty kind)."""
        size = limit(request.limit)
        server = ""
        if request.lserver:
            server = (await find_server(work.tx, request.lserver, field="lserver")).name
        found = await work.tx.rows(_LIST, (server, after_text(request.cursor), size + 1))
        return page(
            [_shown(row) for row in found],
            size,
            lambda item: SEPARATOR.join(
                (item["logical_server"], item["box"], item["kind"], item["key"])
            ),
        )

    async def retry(self, work: Work, request: RetryFault) -> dict[str, Any]:
        """Have the boxes of a logical server try again; refused where none of them is there."""
        server = await find_server(work.tx, request.lserver, field="lserver")
        boxes = await work.tx.rows(
            """SELECT b.id, b.name, b.first_seen_at IS NOT NULL FROM lane l
               JOIN box b ON b.id = l.box_id WHERE l.logical_server_id = %s ORDER BY b.name""",
            (server.id,),
        )
        away = [(name, ever) for box, name, ever in boxes if not self.fleet.connected(box)]
        if away and len(away) == len(boxes):
            raise box_away(*away[0])
        work.tx.after_commit(lambda: self._retry(server.id, request))
        return {
            "logical_server": server.name,
            "connected_boxes": len(boxes) - len(away),
            "boxes_away": [name for name, _ in away],
        }

    def _retry(self, server_id: str, request: RetryFault) -> None:
        self.fleet.retry(server_id, request.kind, request.key)

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "fault.list",
                "GET",
                "/faults",
                ListFaults,
                "provider.read",
                "List what the boxes could not do",
                self.list,
            ),
            Command(
                "fault.retry",
                "POST",
                "/faults/retry",
                RetryFault,
                "provider.write",
                "Have boxes try again what they could not do",
                self.retry,
            ),
        )
