"""Drift: files that somebody else changed on a box, as boxes tell it, and what is done about them.

What is found stands in the database; how a file differs is asked of its box and kept nowhere. A
path goes to the box as a name to look up among the files that its agent wrote: no other is read.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from controller.cluster.boxes.asking import ask_box, box_away, shown
from controller.cluster.boxes.boxes import find_box
from controller.cluster.ports import FleetPort
from controller.cluster.servers.logical_servers import find_server
from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_text, limit, page
from controller.projection.servers import ServerRow
from controller.refusal import CommandError
from controller.runner import Afterwards, Note
from controller.storage.database import Transaction
from node_agent.wire.questions import (
    MOST_DIFFERENCES,
    MOST_REPAIRED,
    AskDifference,
    AskRepair,
    AskVerify,
    Difference,
    Repaired,
    Verified,
)
from templates.registry import drift_policy

VERIFY_SECONDS, REPAIR_SECONDS = 60.0, 120.0
"""How long a box may take: for thousands of files it says that it goes on."""
LONGEST_PATH, LONGEST_LINE, LONGEST_WORDS = 1000, 600, 1000
SEPARATOR = "\x1f"


@attrs.frozen
class ListDrift:
    """A page of findings, of one logical server or one box where given."""

    lserver: str = ""
    pserver: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class ShowLanes:
    """How the files of a logical server are, box by box."""

    name: str


@attrs.frozen
class ShowDifference:
    """One file of a logical server, and the box where there are several."""

    name: str
    path: str
    pserver: str = ""


@attrs.frozen
class VerifyFiles:
    """Have the files of a logical server looked at now."""

    name: str
    pserver: str = ""


@attrs.frozen
class PreviewRepair:
    """What a repair would bring back: one file, or all that is found (an empty ``path``)."""

    name: str
    path: str = ""
    pserver: str = ""


@attrs.frozen
class RepairFiles:
    """Bring back one file of a logical server, or all that is found (an empty ``path``)."""

    name: str
    path: str = ""
    pserver: str = ""


@attrs.frozen
class _Lane:
    box_id: str
    box: str
    connected: bool
    ever: bool


_LIST = """
SELECT s.name, b.name, f.path, f.what, f.words, f.since
FROM drift_finding f JOIN box b ON b.id = f.box_id
JOIN logical_server s ON s.id = f.logical_server_id
WHERE %s IN ('', s.name) AND %s IN ('', b.name)
  AND concat_ws(E'\\x1f', s.name, b.name, f.path) COLLATE "C" > %s
ORDER BY concat_ws(E'\\x1f', s.name, b.name, f.path) COLLATE "C" LIMIT %s
"""
_WAYS = {
    "unknown": "hsctl drift list shows the files that were changed",
    "failed": "the words are the box's own: mend it there, then try again",
    "unavailable": "nothing is touched there now: hsctl pserver show {name} tells how the box is",
}


@attrs.frozen
class DriftCommands:
    """The commands; ``fleet`` asks the boxes."""

    fleet: FleetPort

    async def list(self, work: Work, request: ListDrift) -> dict[str, Any]:
        """List files that are not as they were written."""
        size = limit(request.limit)
        server = box = ""
        if request.lserver:
            server = (await find_server(work.tx, request.lserver, field="lserver")).name
        if request.pserver:
            box = (await find_box(work.tx, request.pserver, field="pserver")).name
        rows = await work.tx.rows(_LIST, (server, box, after_text(request.cursor), size + 1))
        return page(
            [_finding(row) for row in rows],
            size,
            lambda item: SEPARATOR.join((item["logical_server"], item["box"], item["path"])),
        )

    async def lanes(self, work: Work, request: ShowLanes) -> dict[str, Any]:
        """Show the policy of a logical server and how its files are, box by box."""
        server = await find_server(work.tx, request.name)
        rows = await work.tx.rows(
            """SELECT b.name, l.files, l.drifted, l.verified_at, b.connected
               FROM lane l JOIN box b ON b.id = l.box_id
               WHERE l.logical_server_id = %s ORDER BY b.name""",
            (server.id,),
        )
        return {
            "name": server.name,
            "policy": drift_policy(server.service_type, str(server.settings.get("drift", ""))),
            "boxes": [
                {
                    "box": name,
                    "files": files,
                    "drifted": drifted,
                    "verified_at": time_text(verified),
                    "connected": connected,
                }
                for name, files, drifted, verified, connected in rows
            ],
        }

    async def show(self, work: Work, request: ShowDifference) -> Afterwards:
        """Show how a file differs from what would be written."""
        server = await find_server(work.tx, request.name)
        path = _path(request.path)
        found = await work.tx.rows(
            """SELECT b.name FROM drift_finding f JOIN box b ON b.id = f.box_id
               WHERE f.logical_server_id = %s AND f.path = %s ORDER BY b.name LIMIT 1""",
            (server.id, path),
        )
        box = request.pserver or (found[0][0] if found else "")
        lane = (await self._lanes(work.tx, server, box))[0]
        ask = AskDifference(lane=server.id, path=path)

        async def fetch() -> dict[str, Any]:
            answer = await ask_box(self.fleet, lane.box_id, lane.box, ask, Difference, ways=_WAYS)
            return {
                "name": server.name,
                "box": lane.box,
                "path": path,
                "words": shown(answer.words, LONGEST_WORDS),
                "lines": [shown(each, LONGEST_LINE) for each in answer.lines[:MOST_DIFFERENCES]],
                "cut": answer.cut,
            }

        return Afterwards(fetch)

    async def verify(self, work: Work, request: VerifyFiles) -> Afterwards:
        """Have boxes look at all files of a logical server now."""
        server = await find_server(work.tx, request.name)
        lanes = await self._lanes(work.tx, server, request.pserver)
        ask = AskVerify(lane=server.id)

        async def fetch() -> dict[str, Any]:
            boxes = []
            for lane in lanes:
                found = await ask_box(
                    self.fleet,
                    lane.box_id,
                    lane.box,
                    ask,
                    Verified,
                    seconds=VERIFY_SECONDS,
                    ways=_WAYS,
                )
                numbers = {"files": max(found.files, 0), "drifted": max(found.drifted, 0)}
                boxes.append({"box": lane.box, **numbers, "ended": found.ended})
            return {"name": server.name, "boxes": boxes}

        kept = {"name": server.name, "boxes": []}
        return Afterwards(fetch, kept)

    async def preview(self, work: Work, request: PreviewRepair) -> Afterwards:
        """Show what a repair would bring back, and whether a daemon would reload for it."""
        server = await find_server(work.tx, request.name)
        lanes = await self._lanes(work.tx, server, request.pserver)
        ask = AskRepair(lane=server.id, path=_path(request.path, empty=True), preview=True)

        async def fetch() -> dict[str, Any]:
            boxes = [await self._repair(lane, ask) for lane in lanes]
            return {"name": server.name, "path": ask.path, "boxes": boxes}

        return Afterwards(fetch)

    async def repair(self, work: Work, request: RepairFiles) -> Afterwards:
        """Bring files back on the boxes of a logical server; what came of it is recorded."""
        server = await find_server(work.tx, request.name)
        lanes = await self._lanes(work.tx, server, request.pserver)
        path = _path(request.path, empty=True)
        ask = AskRepair(lane=server.id, path=path)
        asked = {"name": server.name, "path": path, "boxes": [lane.box for lane in lanes]}
        work.change.row("drift", server.name, None, {"asked": "repair", **asked})

        async def fetch() -> dict[str, Any]:
            boxes = []
            for lane in lanes:
                try:
                    boxes.append(await self._repair(lane, ask))
                except CommandError as error:
                    outcome = "refused" if error.id == "pserver.declined" else "unknown"
                    none = {"files": [], "total": 0, "reload": False}
                    boxes.append(
                        {"box": lane.box, "outcome": outcome, "message": error.message, **none}
                    )
            return {"name": server.name, "path": path, "boxes": boxes}

        def note(answer: dict[str, Any]) -> Note:
            told = {"name": server.name, "path": path, "boxes": answer["boxes"]}
            return Note("drift.repair-answer", told, "drift", server.name, asked, told)

        # A dry run answers what is known here; the box itself says more: drift.preview.
        known = await work.tx.rows(_LIST, (server.name, request.pserver, "", MOST_REPAIRED))
        would = [_finding(row) for row in known if path in ("", row[2])]
        return Afterwards(fetch, {"name": server.name, "path": path, "would": would}, note)

    async def _repair(self, lane: _Lane, ask: AskRepair) -> dict[str, Any]:
        found = await ask_box(
            self.fleet, lane.box_id, lane.box, ask, Repaired, seconds=REPAIR_SECONDS, ways=_WAYS
        )
        files = [
            {
                "path": shown(each.path, LONGEST_PATH),
                "outcome": each.outcome,
                "message": shown(each.words, LONGEST_WORDS),
            }
            for each in found.files[:MOST_REPAIRED]
        ]
        refused = any(each["outcome"] == "refused" for each in files)
        return {
            "box": lane.box,
            "outcome": "refused" if refused else "done",
            "message": "",
            "files": files,
            "total": max(found.total, len(files)),
            "reload": found.reload,
        }

    async def _lanes(self, tx: Transaction, server: ServerRow, box: str) -> Sequence[_Lane]:
        """Give the lanes that can be asked now; raises `CommandError` where one cannot."""
        named = (await find_box(tx, box, field="pserver")).name if box else ""
        rows = await tx.rows(
            """SELECT b.id::text, b.name, b.first_seen_at IS NOT NULL
               FROM lane l JOIN box b ON b.id = l.box_id
               WHERE l.logical_server_id = %s AND %s IN ('', b.name) ORDER BY b.name""",
            (server.id, named),
        )
        lanes = [_Lane(id, name, self.fleet.connected(id), ever) for id, name, ever in rows]
        if not lanes:
            raise CommandError(
                "drift.box",
                f"{server.name} does not run on this box",
                field="pserver",
                value=box,
                allowed=f"hsctl lserver show {server.name} names its boxes",
                status=409,
            )
        there = [lane for lane in lanes if lane.connected]
        if not there or (named and len(there) < len(lanes)):
            raise box_away(lanes[0].box, lanes[0].ever)
        return there

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "drift.list",
                "GET",
                "/drift",
                ListDrift,
                "provider.read",
                "List files that somebody else changed on a box",
                self.list,
                "A box tells of a hundred files of a logical server and counts the rest.",
            ),
            Command(
                "drift.lanes",
                "GET",
                "/lservers/{name}/drift",
                ShowLanes,
                "provider.read",
                "Show how the files of a logical server are, box by box",
                self.lanes,
            ),
            Command(
                "drift.show",
                "GET",
                "/lservers/{name}/drift/difference",
                ShowDifference,
                "provider.read",
                "Show how a file on a box differs from what would be written",
                self.show,
                "The box is asked; nothing is kept. Keys and passwords do not leave the box.",
            ),
            Command(
                "drift.verify",
                "POST",
                "/lservers/{name}/drift/verification",
                VerifyFiles,
                "provider.write",
                "Have all files of a logical server looked at now",
                self.verify,
                "`ended` false: there are many, and the box goes on; `drift.list` tells more.",
            ),
            Command(
                "drift.preview",
                "GET",
                "/lservers/{name}/drift/repair",
                PreviewRepair,
                "provider.read",
                "Show what a repair of changed files would do",
                self.preview,
            ),
            Command(
                "drift.repair",
                "POST",
                "/lservers/{name}/drift/repair",
                RepairFiles,
                "provider.write",
                "Bring back files that somebody else changed",
                self.repair,
                "With a `path`: this file and what else was changed in the same part of the "
                "configuration. What came of it is recorded as a change of its own.",
            ),
        )


def _finding(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "logical_server": row[0],
        "box": row[1],
        "path": row[2],
        "what": row[3],
        "words": row[4],
        "since": time_text(row[5]),
    }


def _path(path: str, *, empty: bool = False) -> str:
    """Read a path; whether the agent wrote such a file, the box says."""
    if (path or empty) and len(path) <= LONGEST_PATH and path.isprintable():
        return path
    raise CommandError(
        "drift.path",
        "not the path of a file of a logical server",
        field="path",
        value=path[:LONGEST_PATH],
        allowed="a path below the server's directory, as hsctl drift list shows it",
    )
