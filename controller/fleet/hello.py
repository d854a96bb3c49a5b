"""The transaction that begins sessions: one epoch on each, and all the lanes as they stand.

It takes many boxes at once: when a fleet comes back, a hundred Hellos cost as many round trips and
as many syncs as one.
"""

from collections.abc import Sequence
from typing import Literal

import attrs

from controller.fleet.certificates import revoked_among
from controller.fleet.committed import Watch
from controller.fleet.events import publish
from controller.fleet.lane_store import LaneKey, lanes_of_boxes, open_watches
from controller.fleet.lanes import LaneRow, Verdict, judge
from controller.storage.database import Transaction
from node_agent.wire.messages import Hello, LaneReport


@attrs.frozen
class SessionRefusedError(Exception):
    """No session for this peer: a reason of the wire's closed set, and words for a person."""

    reason: Literal["protocol", "revoked", "duplicate-identity", "unknown-box", "busy"]
    detail: str
    retry_after: float = 60.0

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@attrs.frozen
class Greeting:
    """A box that says Hello, with the serial of the certificate that it showed."""

    box: str
    serial: int
    hello: Hello


@attrs.frozen
class Beginning:
    """What a session begins with."""

    box_name: str
    epoch: int
    history: str
    lanes: tuple[tuple[LaneRow, Verdict], ...]
    watches: tuple[tuple[Watch, bool], ...]
    monitoring: bool = True


Begun = Beginning | SessionRefusedError


@attrs.frozen
class _Met:
    """A lane at the Hello of its box."""

    row: LaneRow
    report: LaneReport | None
    verdict: Verdict

    @property
    def key(self) -> LaneKey:
        return self.row.box, self.row.server

    @property
    def condition(self) -> str:
        if self.verdict.step == "ahead":
            return "ahead"
        return self.report.condition if self.report else "new"

    @property
    def renderer(self) -> str:
        return self.report.renderer if self.report else ""


async def begin_sessions(tx: Transaction, greetings: Sequence[Greeting]) -> dict[str, Begun]:
    """Take each box for its session: what an older one still writes is refused from now on.

    A box is in ``greetings`` once. Gives by box what its session begins with, or a refusal: of a
    box that is not in the model, or a revoked certificate.
    """
    begun: dict[str, Begun] = {}
    revoked = await revoked_among(tx, [greeting.serial for greeting in greetings])
    for greeting in greetings:
        if greeting.serial in revoked:
            begun[greeting.box] = SessionRefusedError(
                "revoked", "this certificate was revoked; enrol the box again"
            )
    greetings = [greeting for greeting in greetings if greeting.box not in begun]
    await _forget_early(tx, greetings)
    taken = await _take(tx, greetings)
    for greeting in greetings:
        if greeting.box not in taken:
            begun[greeting.box] = SessionRefusedError(
                "unknown-box", "this box is not in the cluster any more"
            )
    if not taken:
        return begun
    (history,) = await tx.row("SELECT history::text FROM cluster")
    reports = {
        (greeting.box, report.lane): report
        for greeting in greetings
        for report in greeting.hello.lanes
    }
    lanes: dict[str, list[tuple[LaneRow, Verdict]]] = {box: [] for box in taken}
    for met in await _meet(tx, list(taken), reports, history):
        lanes[met.row.box].append((met.row, met.verdict))
    watches: dict[str, list[tuple[Watch, bool]]] = {box: [] for box in taken}
    for box, watch, seen in await open_watches(tx, list(taken)):
        watches[box].append((watch, seen))
    await publish(tx, [{"box": name} for name, _, _ in taken.values()])
    for box, (name, epoch, monitoring) in taken.items():
        begun[box] = Beginning(
            name, epoch, history, tuple(lanes[box]), tuple(watches[box]), monitoring
        )
    return begun


async def _forget_early(tx: Transaction, greetings: Sequence[Greeting]) -> None:
    """Forget what lanes applied early, where it is settled by now or the machine began anew.

    A box tells what is live before it is on the disk: only its own crash can take that back. The
    lock keeps out what an older session still has to say.
    """
    boxes = [greeting.box for greeting in greetings]
    await tx.run(
        """SELECT 1 FROM box WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE;
           DELETE FROM applied_early a
           USING unnest(%s::uuid[], %s::text[]) AS q(id, boot_id), box b, lane l
           WHERE b.id = q.id AND a.box_id = b.id AND l.box_id = b.id
             AND l.logical_server_id = a.logical_server_id
             AND (b.boot_id IS DISTINCT FROM q.boot_id OR a.revision <= l.settled_revision)""",
        (boxes, boxes, [greeting.hello.boot for greeting in greetings]),
    )


async def _take(tx: Transaction, greetings: Sequence[Greeting]) -> dict[str, tuple[str, int, bool]]:
    """Begin an epoch of each box; give name, epoch and whether it is monitored, by box."""
    rows = await tx.rows(
        """UPDATE box SET session_epoch = session_epoch + 1, machine_id = q.machine_id,
                  boot_id = q.boot_id, agent_version = q.version, connected = true,
                  last_seen_at = now(), first_seen_at = coalesce(first_seen_at, now())
           FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[])
                AS q(id, machine_id, boot_id, version)
           WHERE box.id = q.id RETURNING box.id::text, name, session_epoch, monitoring""",
        (
            [greeting.box for greeting in greetings],
            [greeting.hello.machine_id for greeting in greetings],
            [greeting.hello.boot for greeting in greetings],
            [greeting.hello.agent_version for greeting in greetings],
        ),
    )
    return {box: (name, epoch, monitoring) for box, name, epoch, monitoring in rows}


async def _meet(
    tx: Transaction,
    boxes: Sequence[str],
    reports: dict[LaneKey, LaneReport],
    history: str,
) -> list[_Met]:
    """Judge the lanes of boxes, and write what that comes to."""
    met = []
    for found in await lanes_of_boxes(tx, boxes):
        report = reports.get((found.box, found.server))
        verdict = judge(found, report, history)
        row = found
        if verdict.step == "restart":
            row = attrs.evolve(found, stored=0, settled=0, expected_hash=0, repairing=False)
        met.append(_Met(row, report, verdict))
    await _restart(tx, [each.key for each in met if each.verdict.step == "restart"])
    # The box may hold something else than it once told.
    others = [each.key for each in met if each.verdict.step != "resume"]
    if others:
        await tx.run(
            """DELETE FROM applied_early a USING unnest(%s::uuid[], %s::uuid[]) AS q(box, server)
               WHERE a.box_id = q.box AND a.logical_server_id = q.server""",
            _columns(others),
        )
    await tx.run(
        """UPDATE lane SET condition = q.condition, message = q.message, renderer = q.renderer
           FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[])
                AS q(box, server, condition, message, renderer)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server
             AND (lane.condition, lane.message, lane.renderer)
                 IS DISTINCT FROM (q.condition, q.message, q.renderer)""",
        (
            *_columns([each.key for each in met]),
            [each.condition for each in met],
            [each.verdict.message for each in met],
            [each.renderer for each in met],
        ),
    )
    return met


async def _restart(tx: Transaction, lanes: Sequence[LaneKey]) -> None:
    """Fill lanes from the start: their boxes have nothing of them."""
    if not lanes:
        return
    await tx.run(
        """DELETE FROM lane_object o USING unnest(%s::uuid[], %s::uuid[]) AS q(box, server)
           WHERE o.box_id = q.box AND o.logical_server_id = q.server""",
        _columns(lanes),
    )
    await tx.run(
        """UPDATE lane SET stored_revision = 0, settled_revision = 0, expected_hash = 0,
                  repairing = false
           FROM unnest(%s::uuid[], %s::uuid[]) AS q(box, server)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server""",
        _columns(lanes),
    )


def _columns(lanes: Sequence[LaneKey]) -> tuple[list[str], list[str]]:
    return [box for box, _ in lanes], [server for _, server in lanes]
