"""How far the boxes are with a change, lane by lane: done, failed or unknown, never guessed."""

from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from controller.serials import at_least
from controller.storage.database import Transaction

LaneWord = Literal[
    "live", "sending", "stored", "waiting", "quarantined", "failed", "held", "unknown"
]


@attrs.frozen
class LaneProgress:
    """How far one lane is with one object of a change.

    A row of kind ``zone-serial`` is a secondary that must be seen to answer the serial
    ``revision`` of the zone ``key``.
    """

    box: str
    logical_server: str
    kind: str
    key: str
    revision: int
    state: LaneWord
    message: str


@attrs.frozen
class ChangeState:
    """A change as a whole: ``done`` is live everywhere, ``failed`` a box could not apply it."""

    id: int
    state: Literal["pending", "done", "failed"]
    lanes: tuple[LaneProgress, ...]


@attrs.frozen
class LaneFacts:
    """What is known of a lane, for judging an object on it."""

    stored: int
    settled: int
    condition: str
    message: str
    connected: bool
    seen: bool


@attrs.frozen
class OutcomeFacts:
    """The exception that a lane reported of an object, if it did."""

    revision: int
    outcome: LaneWord
    message: str


_STUCK = {
    "held": "the lane is held on the box",
    "ahead": "the box knows more than the controller: hsctl recover",
    "blocked": "something on the box keeps changes out",
    "daemon-down": "the daemon is down",
    "disk-full": "the disk of the box is full",
    "maintenance": "the box is in maintenance: changes wait",
    "retired": "the box was retired: move or delete what is on it",
}


def judge(
    revision: int, lane: LaneFacts, outcome: OutcomeFacts | None, early: int | None = None
) -> tuple[LaneWord, str]:
    """Say how far a lane is with an object at ``revision``. Unknown is never shown as done.

    ``early`` is the revision of the object that the lane applied before its turn, if it did.
    What a lane that is ahead has settled was counted under another history: it tells nothing here.
    """
    if lane.condition == "ahead":
        return _not_settled(revision, lane)
    if outcome is not None and (lane.settled >= revision or outcome.revision >= revision):
        return outcome.outcome, outcome.message
    if lane.settled >= revision or (early is not None and early >= revision):
        return "live", ""
    return _not_settled(revision, lane)


def judge_serial(serial: int, seen: int | None, lane: LaneFacts) -> tuple[LaneWord, str]:
    """Say whether a secondary was seen to answer ``serial`` or a later one (RFC 1982)."""
    if seen is not None and at_least(seen, serial):
        return "live", ""
    if lane.connected and lane.condition not in _STUCK:
        return "waiting", f"not yet seen to answer serial {serial}"
    return _not_settled(lane.stored + 1, lane)


def _not_settled(revision: int, lane: LaneFacts) -> tuple[LaneWord, str]:
    if lane.condition == "retired":
        return "held", _STUCK["retired"]
    if not lane.connected:
        return "unknown", "the box is not connected" if lane.seen else "the box never connected"
    if lane.condition in _STUCK:
        return "held", lane.message or _STUCK[lane.condition]
    return ("stored", lane.message) if lane.stored >= revision else ("sending", "")


def overall(lanes: Iterable[LaneProgress]) -> Literal["pending", "done", "failed"]:
    """Sum the lanes up: one that could not apply it makes the change failed."""
    states = {lane.state for lane in lanes}
    if states & {"quarantined", "failed"}:
        return "failed"
    return "done" if states <= {"live"} else "pending"


# What people want of a box goes before what its lanes say; but one that is ahead is ahead.
_CONDITION = """
       CASE WHEN l.condition = 'ahead' THEN 'ahead'
            WHEN b.retired_at IS NOT NULL THEN 'retired'
            WHEN b.intent = 'maintenance' THEN 'maintenance' ELSE l.condition END,
       CASE WHEN l.condition <> 'ahead' AND (b.retired_at IS NOT NULL OR b.intent = 'maintenance')
            THEN '' ELSE l.message END"""

# Not how many: see controller/storage/prepared.py.
_ASKED = "ANY(ARRAY(SELECT unnest(%s::bigint[])))"

_PROGRESS = f"""
SELECT c.change_id, b.name, s.name, c.kind, c.key, c.revision,
       l.stored_revision, l.settled_revision, {_CONDITION},
       b.connected, b.first_seen_at IS NOT NULL, e.revision, e.outcome, e.message, a.revision
FROM change_object c
JOIN lane l ON l.logical_server_id = c.logical_server_id
JOIN box b ON b.id = l.box_id
JOIN logical_server s ON s.id = c.logical_server_id
LEFT JOIN object_outcome e ON e.box_id = l.box_id AND e.logical_server_id = c.logical_server_id
                          AND e.kind = c.kind AND e.key = c.key
LEFT JOIN applied_early a ON a.box_id = l.box_id AND a.logical_server_id = c.logical_server_id
                         AND a.kind = c.kind AND a.key = c.key
WHERE c.change_id = {_ASKED}
ORDER BY c.change_id, s.name, b.name, c.kind, c.key
"""  # noqa: S608 put together of constants

_SERIALS = f"""
SELECT w.change_id, b.name, s.name, w.zone, w.serial, z.serial,
       l.stored_revision, l.settled_revision, {_CONDITION},
       b.connected, b.first_seen_at IS NOT NULL
FROM change_watch w
JOIN lane l ON l.logical_server_id = w.logical_server_id
JOIN box b ON b.id = l.box_id
JOIN logical_server s ON s.id = w.logical_server_id
JOIN desired_object o ON o.logical_server_id = w.logical_server_id AND o.kind = 'zone'
                     AND o.key = w.zone AND NOT o.deleted
LEFT JOIN zone_observation z ON z.box_id = l.box_id AND z.zone = w.zone
                            AND z.logical_server_id = w.logical_server_id
WHERE w.change_id = {_ASKED}
ORDER BY w.change_id, s.name, b.name, w.zone
"""  # noqa: S608 put together of constants


async def change_states(tx: Transaction, change_ids: Sequence[int]) -> dict[int, ChangeState]:
    """Give the state of each change. A zone removed since is not waited for."""
    lanes: dict[int, list[LaneProgress]] = {change_id: [] for change_id in change_ids}
    for row in await tx.rows(_PROGRESS, (list(change_ids),)):
        change_id, box, server, kind, key, revision, *facts = row
        outcome = OutcomeFacts(*facts[6:9]) if facts[6] is not None else None
        state, message = judge(revision, LaneFacts(*facts[:6]), outcome, facts[9])
        lanes[change_id].append(LaneProgress(box, server, kind, key, revision, state, message))
    for row in await tx.rows(_SERIALS, (list(change_ids),)):
        change_id, box, server, zone, serial, seen, *facts = row
        state, message = judge_serial(serial, seen, LaneFacts(*facts))
        lanes[change_id].append(
            LaneProgress(box, server, "zone-serial", zone, serial, state, message)
        )
    return {
        change_id: ChangeState(change_id, overall(progress), tuple(progress))
        for change_id, progress in lanes.items()
    }


async def change_state(tx: Transaction, change_id: int) -> ChangeState:
    """Give the state of one change, lane by lane; raises LookupError where there is none."""
    await tx.row("SELECT 1 FROM change WHERE id = %s", (change_id,))
    return (await change_states(tx, [change_id]))[change_id]
