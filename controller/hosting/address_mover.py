"""The job that renumbers servers, phase by phase, zones part after part.

All that it knows is in the database: the phase of each move, the zone that it has come to, and the
changes that are not live everywhere yet. A phase begins only when all of the one before is live.
"""

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.interfaces import IReactorTime

from controller.changes import ChangeWriter
from controller.commands import Work
from controller.crash_points import CrashSite, pass_by
from controller.fleet.events import publish as publish_events
from controller.hosting.address_phases import (
    PASSING,
    Move,
    Renumbering,
    follow_name_server,
    follow_site,
    introduce,
)
from controller.hosting.address_zones import count_zones, next_zones
from controller.hosting.moves import GRACE_SECONDS, REHEARSED
from controller.hosting.service_zone import TTL
from controller.hosting.zones import load_zone
from controller.job import Job, Outcome, gone_boxes, judge
from controller.principal import system
from controller.progress import change_states
from controller.storage.database import Database, Transaction

PART = 60
"""Zones that one change touches; each has six servers at most, so no part is wider than 360
objects."""
OPEN_PARTS = 2
"""Parts on their way at a time: what people ask for meanwhile does not queue behind more."""
MOST_FAILED = 3
"""Parts that a box could not apply: with more, a phase takes no others."""
MOST_MOVES = 100
"""Moves that are looked at in one round, the oldest first."""
CHANNEL = "hs_address_move"
"""Notified when a move begins or is stopped."""
LOCK = 0x68735F61  # 'hs_a'
_PRINCIPAL = system("address-mover")

_MOVE = """
SELECT id, state, phase, server_id::text, server, address_id, type, port, host(old), host(new),
       old_prefix, new_prefix, keep_seconds, zone_after, passed_all
FROM address_move
"""
_MOVES = f"{_MOVE} WHERE ended_at IS NULL ORDER BY id LIMIT %s FOR NO KEY UPDATE"


@attrs.frozen
class Waiting:
    """What a move waits for: parts on their way, those that a box could not apply among them."""

    parts: int
    failed: int


async def advance(tx: Transaction, renumbering: Renumbering, *, now: float) -> Outcome:
    """Write the next part of the first move whose boxes are through with what it builds upon."""
    (mine,) = await tx.row("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,))
    if not mine:
        return "idle"
    moves = [Move(*row) for row in await tx.rows(_MOVES, (MOST_MOVES,))]
    for move in moves:
        waiting = await _waiting(tx, move, now)
        if not move.passed_all:
            if waiting.parts - waiting.failed < OPEN_PARTS and waiting.failed < MOST_FAILED:
                if not await _others_ended(tx, move):
                    continue
                await _pass_on(tx, move, now)
                return "moved"
        elif not waiting.parts and await _enter(tx, move, renumbering, now):
            return "moved"
    # What only lasts until answers have run out is looked at now and then: that takes hours.
    return "waiting" if any(move.phase != "outlasting" for move in moves) else "idle"


async def _waiting(tx: Transaction, move: Move, now: float) -> Waiting:
    """Drop the parts that are live everywhere, and note of the others what they wait for.

    From when a part is live, nobody is given an answer of before any more.
    """
    parts = await tx.rows(
        "SELECT change_id, ttl, failed, message FROM address_move_part WHERE move_id = %s",
        (move.id,),
    )
    if not parts:
        return Waiting(0, 0)
    gone = await gone_boxes(tx)
    states = await change_states(tx, [part[0] for part in parts])
    left = failed = 0
    for change_id, ttl, was_failed, said in parts:
        verdict = judge(states[change_id].lanes, gone)
        if verdict.live:
            await tx.run(
                """DELETE FROM address_move_part WHERE change_id = %s;
                   UPDATE address_move SET answers_until = greatest(answers_until,
                                                                    to_timestamp(%s))
                   WHERE id = %s""",
                (change_id, now + ttl, move.id),
            )
            await publish_events(tx, [{"change": change_id}])
            continue
        left += 1
        failed += verdict.failed
        if (verdict.failed, verdict.message) != (was_failed, said):
            await tx.run(
                "UPDATE address_move_part SET failed = %s, message = %s WHERE change_id = %s",
                (verdict.failed, verdict.message, change_id),
            )
    return Waiting(left, failed)


async def _others_ended(tx: Transaction, move: Move) -> bool:
    """Tell whether all transactions ended that may have read the rows of before the phase.

    What one of them writes of a zone would name the addresses as they were.
    """
    (ended,) = await tx.row(
        """SELECT pg_snapshot_xmin(pg_current_snapshot()) > begun_in FROM address_move
           WHERE id = %s""",
        (move.id,),
    )
    return bool(ended)


async def _pass_on(tx: Transaction, move: Move, now: float) -> None:
    """Write the phase of the next zones as one change; without any, all are passed."""
    found = await next_zones(tx, move, PART)
    if not found:
        await tx.run("UPDATE address_move SET passed_all = true WHERE id = %s", (move.id,))
        return
    change = _change(tx, move, move.phase, len(found))
    names = [name for _, name in found]
    ttl = await _pass_zones(Work(tx, _PRINCIPAL, change), move, names, int(now))
    await _close(tx, move, change, ttl)
    await tx.run(
        "UPDATE address_move SET zone_after = %s, passed = passed + %s WHERE id = %s",
        (found[-1][0], len(found), move.id),
    )


async def _pass_zones(work: Work, move: Move, names: Sequence[str], now: int) -> int:
    """Write the phase of zones; gives the seconds that an answer of before may be kept."""
    ttl = 0
    for name in names:
        zone = await load_zone(work.tx, name, lock=True)
        if zone is None:
            continue  # deleted a moment ago
        if not move.announces:
            ttl = max(ttl, await follow_site(work, zone, move, now=now))
        elif move.phase == "announced" or move.state == "stopped":
            await introduce(work, zone, move.server_id)
        else:
            ttl = max(ttl, await follow_name_server(work, zone, move, now=now))
    return ttl


async def rehearse(work: Work, number: int, renumbering: Renumbering, *, now: int) -> None:
    """Take the server and its first `REHEARSED` zones through all phases of a move at once."""
    move = Move(*await work.tx.row(f"{_MOVE} WHERE id = %s", (number,)))
    names = [name for _, name in await next_zones(work.tx, move, REHEARSED)]
    while move.next != "ended":
        phase = move.next
        await renumbering.enter(work, move, phase)
        move = attrs.evolve(move, phase=phase)
        if phase in PASSING:
            await _pass_zones(work, move, names, now)


async def _enter(tx: Transaction, move: Move, renumbering: Renumbering, now: float) -> bool:
    """Begin with the next phase, if its time has come; all of the present one is live."""
    if move.phase == "outlasting":
        (over,) = await tx.row(
            "SELECT answers_until <= to_timestamp(%s) FROM address_move WHERE id = %s",
            (now, move.id),
        )
        if not over:
            return False
    phase, ttl = move.next, 0
    change = _change(tx, move, phase, 0)
    await renumbering.enter(Work(tx, _PRINCIPAL, change), move, phase)
    if phase == "switched":
        ttl = TTL if move.type in ("service", "shared") else 0
    elif phase == "outlasting":
        await tx.run(
            """UPDATE address_move SET answers_until = greatest(
                   answers_until + %s * interval '1 second', to_timestamp(%s)) WHERE id = %s""",
            (GRACE_SECONDS, now + max(move.keep_seconds, GRACE_SECONDS), move.id),
        )
    await _close(tx, move, change, ttl)
    passes = phase in PASSING
    total = await count_zones(tx, move.announces, move.server_id, move.old) if passes else 0
    await tx.run(
        """UPDATE address_move SET phase = %s, total = %s, passed = 0, zone_after = 0,
                  passed_all = NOT %s, begun_in = pg_current_xact_id() WHERE id = %s""",
        (phase, total, passes, move.id),
    )
    if phase == "ended":
        await tx.run(
            """UPDATE address_move SET ended_at = now(),
                      state = CASE state WHEN 'running' THEN 'done' ELSE state END
               WHERE id = %s""",
            (move.id,),
        )
    await publish_events(tx, [{"address_move": move.id}])
    return True


async def _close(tx: Transaction, move: Move, change: ChangeWriter, ttl: int) -> None:
    change_id = await change.close()
    if change_id is not None:
        await tx.run(
            "INSERT INTO address_move_part (change_id, move_id, ttl) VALUES (%s, %s, %s)",
            (change_id, move.id, ttl),
        )


def _change(tx: Transaction, move: Move, phase: str, zones: int) -> ChangeWriter:
    request = {"move": move.id, "phase": phase, "zones": zones, "old": move.old, "new": move.new}
    words = f"move {move.id} of an address"
    return ChangeWriter(tx, _PRINCIPAL, "ip.moving", request, words)


class AddressMover(Job):
    """Renumbers servers for as long as there are moves; ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        now: Callable[[], float],
        renumbering: Renumbering,
        at: CrashSite = pass_by,
    ) -> None:
        async def step(tx: Transaction) -> Outcome:
            return await advance(tx, renumbering, now=now())

        super().__init__(database, clock, _PRINCIPAL, CHANNEL, step, at=at)
