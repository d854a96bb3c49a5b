"""The transaction that begins a session: one epoch on, and all the lanes as they stand."""

from typing import Literal

import attrs

from controller.fleet.committed import Watch
from controller.fleet.events import publish
from controller.fleet.lane_store import LaneKey, lanes_of_boxes, open_watches
from controller.fleet.lanes import LaneRow, Verdict, judge
from controller.storage.database import Transaction
from node_agent.wire.messages import Hello


@attrs.frozen
class SessionRefusedError(Exception):
    """No session for this peer: a reason of the wire's closed set, and words for a person."""

    reason: Literal["protocol", "revoked", "duplicate-identity", "unknown-box", "busy"]
    detail: str
    retry_after: float = 60.0

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@attrs.frozen
class Beginning:
    """What a session begins with."""

    box_name: str
    epoch: int
    history: str
    lanes: tuple[tuple[LaneRow, Verdict], ...]
    watches: tuple[tuple[Watch, bool], ...]
    monitoring: bool = True


async def begin_session(tx: Transaction, box: str, serial: int, hello: Hello) -> Beginning:
    """Take the box for this session: whatever an older one still writes is refused from now on.

    Raises `SessionRefusedError` for a box that is not in the model or a revoked certificate.
    """
    revoked = await tx.maybe(
        "SELECT reason FROM certificate WHERE serial = %s AND revoked_at IS NOT NULL", (serial,)
    )
    if revoked is not None:
        raise SessionRefusedError("revoked", "this certificate was revoked; enrol the box again")
    await _forget_early(tx, box, hello.boot_id)
    taken = await tx.maybe(
        """UPDATE box SET session_epoch = session_epoch + 1, machine_id = %s, boot_id = %s,
                  agent_version = %s, connected = true, last_seen_at = now(),
                  first_seen_at = coalesce(first_seen_at, now())
           WHERE id = %s RETURNING name, session_epoch, monitoring""",
        (hello.machine_id, hello.boot_id, hello.agent_version, box),
    )
    if taken is None:
        raise SessionRefusedError("unknown-box", "this box is not in the cluster any more")
    name, epoch, monitoring = taken
    (history,) = await tx.row("SELECT history::text FROM cluster")
    reports = {report.lane: report for report in hello.lanes}
    lanes = []
    for found in await lanes_of_boxes(tx, [box]):
        report = reports.get(found.server)
        verdict = judge(found, report, history)
        row = found
        if verdict.step == "restart":
            await _restart(tx, (box, found.server))
            row = attrs.evolve(found, stored=0, settled=0, expected_hash=0)
        if verdict.step != "resume":
            # The box may hold something else than it once told.
            await tx.run(
                "DELETE FROM applied_early WHERE box_id = %s AND logical_server_id = %s",
                (box, found.server),
            )
        condition = "ahead" if verdict.step == "ahead" else report.condition if report else "new"
        await tx.run(
            """UPDATE lane SET condition = %s, message = %s, renderer = %s
               WHERE box_id = %s AND logical_server_id = %s
                 AND (condition, message, renderer) IS DISTINCT FROM (%s, %s, %s)""",
            (
                *(words := (condition, verdict.message, report.renderer if report else "")),
                box,
                found.server,
                *words,
            ),
        )
        lanes.append((row, verdict))
    watches = await open_watches(tx, box)
    await publish(tx, [{"box": name}])
    return Beginning(name, epoch, history, tuple(lanes), tuple(watches), monitoring)


async def _forget_early(tx: Transaction, box: str, boot_id: str) -> None:
    """Forget what lanes applied early, where it is settled by now or the machine began anew.

    A box tells what is live before it is on the disk: only its own crash can take that back. The
    lock keeps out what an older session still has to say.
    """
    await tx.run(
        """SELECT 1 FROM box WHERE id = %s FOR UPDATE;
           DELETE FROM applied_early a USING box b, lane l
           WHERE b.id = %s AND a.box_id = b.id AND l.box_id = b.id
             AND l.logical_server_id = a.logical_server_id
             AND (b.boot_id IS DISTINCT FROM %s OR a.revision <= l.settled_revision)""",
        (box, box, boot_id),
    )


async def _restart(tx: Transaction, lane: LaneKey) -> None:
    """Fill a lane from the start: the box has nothing of it."""
    await tx.run("DELETE FROM lane_object WHERE box_id = %s AND logical_server_id = %s", lane)
    await tx.run(
        """UPDATE lane SET stored_revision = 0, settled_revision = 0, expected_hash = 0,
                  repairing = false
           WHERE box_id = %s AND logical_server_id = %s""",
        lane,
    )
