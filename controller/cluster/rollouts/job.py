"""The job that brings settings to servers wave after wave, and pauses on the first failure.

All that it knows is in the database: which wave it has written, and the change that must become
live before the next.
"""

from typing import Any

import attrs
import psycopg2
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from controller.changes import ChangeWriter
from controller.cluster.servers.editing import ServerEditing, SetServer
from controller.commands import Work
from controller.fleet.events import publish
from controller.job import Job, Outcome, gone_boxes, judge
from controller.principal import system
from controller.progress import change_state
from controller.refusal import CommandError
from controller.storage.database import Database, StorageError, Transaction

CHANNEL = "hs_rollout"
"""Notified when a rollout begins or goes on."""
LOCK = 0x68735F72  # 'hs_r'
_PRINCIPAL = system("rollout")

_log = Logger()


@attrs.frozen
class _Running:
    id: int
    type: str
    settings: dict[str, Any]
    waves: list[list[str]]
    wave: int
    change: int | None
    message: str


async def advance(tx: Transaction, editing: ServerEditing) -> Outcome:
    """Write the next wave of the oldest rollout that runs, if the one before is live everywhere."""
    (mine,) = await tx.row("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,))
    if not mine:
        return "idle"
    found = await tx.rows(
        """SELECT id, service_type, settings, waves, wave, change_id, message FROM rollout
           WHERE state = 'running' ORDER BY id FOR UPDATE"""
    )
    outcomes = [await _advance(tx, _Running(*row), editing) for row in found]
    return next((word for word in ("moved", "waiting") if word in outcomes), "idle")


async def _advance(tx: Transaction, rollout: _Running, editing: ServerEditing) -> Outcome:
    if rollout.change is not None:
        state = await change_state(tx, rollout.change)
        verdict = judge(state.lanes, await gone_boxes(tx))
        if verdict.failed:
            await _pause(tx, rollout, verdict.message)
            return "moved"
        if not verdict.live:
            if verdict.message != rollout.message:
                await _note(tx, rollout, "running", verdict.message)
            return "waiting"
    if rollout.wave == len(rollout.waves):
        await tx.run(
            """UPDATE rollout SET state = 'done', ended_at = now(), message = '' WHERE id = %s""",
            (rollout.id,),
        )
        return "moved"
    await tx.run("SAVEPOINT wave")
    try:
        change_id = await _write(tx, rollout, editing)
    except (StorageError, psycopg2.Error):
        raise  # of the database and not of this rollout: the next look tries again
    except Exception as error:
        # A mistake of ours about one rollout is told where it is, and stops no other.
        words = f"internal error: {type(error).__name__}: {error}"
        if isinstance(error, CommandError):
            words = error.message
        else:
            _log.failure("wave {wave} of rollout {id}", wave=rollout.wave + 1, id=rollout.id)
        await tx.run("ROLLBACK TO SAVEPOINT wave")
        # Without a change it is this wave that is told of, and not the one before: see `resume`.
        await tx.run("UPDATE rollout SET change_id = NULL WHERE id = %s", (rollout.id,))
        await _pause(tx, rollout, words)
        return "moved"
    await tx.run(
        "UPDATE rollout SET wave = wave + 1, change_id = %s, message = '' WHERE id = %s",
        (change_id, rollout.id),
    )
    return "moved"


async def _write(tx: Transaction, rollout: _Running, editing: ServerEditing) -> int | None:
    """Write a wave as one change; servers that were deleted since are left out."""
    asked = {
        "rollout": rollout.id,
        "wave": rollout.wave + 1,
        "of": len(rollout.waves),
        "type": rollout.type,
        "settings": rollout.settings,
    }
    change = ChangeWriter(
        tx, _PRINCIPAL, "rollout.wave", asked, f"wave {rollout.wave + 1} of rollout {rollout.id}"
    )
    work = Work(tx, _PRINCIPAL, change)
    names = await tx.rows(
        "SELECT name FROM logical_server WHERE id = ANY(%s::uuid[]) ORDER BY id",
        (rollout.waves[rollout.wave],),
    )
    for (name,) in names:
        await editing.set(work, SetServer(name, rollout.settings))
    return await change.close()


async def _pause(tx: Transaction, rollout: _Running, message: str) -> None:
    await _note(tx, rollout, "paused", message)
    if rollout.change is not None:
        await publish(tx, [{"change": rollout.change}])


async def _note(tx: Transaction, rollout: _Running, state: str, message: str) -> None:
    await tx.run(
        "UPDATE rollout SET state = %s, message = %s WHERE id = %s",
        (state, message[:1000], rollout.id),
    )


class RolloutJob(Job):
    """Brings waves on their way for as long as rollouts run."""

    def __init__(self, database: Database, clock: IReactorTime, editing: ServerEditing) -> None:
        async def step(tx: Transaction) -> Outcome:
            return await advance(tx, editing)

        super().__init__(database, clock, _PRINCIPAL, CHANNEL, step)
