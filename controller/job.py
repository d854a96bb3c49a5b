"""A job that goes on part after part, each part one ordinary change, until nothing is left to do.

All that such a job knows is in the database, written by the transaction of the part itself: a
controller that is killed at any moment, or another one beside it, goes on where the last part
ended.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from controller.crash_points import CrashSite, pass_by
from controller.principal import Principal
from controller.progress import LaneProgress
from controller.storage.database import Database, StorageError, Transaction

IDLE_SECONDS = 20.0

Outcome = Literal["moved", "waiting", "idle"]
"""A part was written; something is on its way and not yet live; there is nothing to do at all."""

PAUSES: dict[Outcome, float] = {"moved": 0.05, "waiting": 0.25, "idle": IDLE_SECONDS}
"""Seconds until the next look; between two parts what people ask for goes first."""

_log = Logger()


@attrs.frozen
class Verdict:
    """How far the boxes are with a part."""

    live: bool
    failed: bool = False
    message: str = ""


def judge(lanes: Iterable[LaneProgress], gone: frozenset[str]) -> Verdict:
    """Say how far the boxes are with these lanes of a change. Pure.

    Boxes that are ``gone`` for good were retired: nothing waits for them.
    """
    waiting = [lane for lane in lanes if lane.state != "live" and lane.box not in gone]
    words = dict.fromkeys(f"{lane.box}: {lane.message or lane.state}" for lane in waiting)
    return Verdict(
        live=not waiting,
        failed=any(lane.state in ("failed", "quarantined") for lane in waiting),
        message="; ".join(words)[:1000],
    )


async def gone_boxes(tx: Transaction) -> frozenset[str]:
    """Name the boxes that were said to be gone for good."""
    found = await tx.rows("SELECT name FROM box WHERE retired_at IS NOT NULL")
    return frozenset(name for (name,) in found)


class Job:
    """Runs ``step`` in a transaction of its own, again and again, for as long as it moves anything.

    ``channel`` is notified when there is something new to do.
    """

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        principal: Principal,
        channel: str,
        step: Callable[[Transaction], Awaitable[Outcome]],
        *,
        at: CrashSite = pass_by,
    ) -> None:
        self._database = database
        self._clock = clock
        self._principal = principal
        self._channel = channel
        self._step = step
        self._at = at
        self._next: IDelayedCall | None = None
        self._working: Deferred[Any] | None = None
        self._again = False
        self._stopped = False

    async def start(self) -> None:
        """Listen for what is new, and go on with what is under way."""
        await self._database.listen(self._channel, lambda _: self._wake())
        self._schedule(0)

    async def stop(self) -> None:
        """Stop; returns when the part under way has ended."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._working is not None:
            await self._working

    def _wake(self) -> None:
        self._again = True
        if self._working is None:
            self._schedule(0)

    def _schedule(self, seconds: float) -> None:
        if self._stopped:
            return
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._work)

    def _work(self) -> None:
        self._again = False
        self._working = Deferred()
        Deferred.fromCoroutine(self._advance()).addCallback(self._worked)

    def _worked(self, seconds: float) -> None:
        ended, self._working = self._working, None
        self._schedule(0 if self._again else seconds)
        if ended is not None:
            ended.callback(None)

    async def _advance(self) -> float:
        """Write a part; give the seconds until the next look. Failures are for the next round."""
        name = self._principal.actor
        try:
            outcome = await self._database.transaction(self._principal, self._step, name=name)
        except StorageError as error:
            _log.warn("{job} waits for the database: {error}", job=name, error=str(error))
        except Exception:  # a border: the next round tries again, whatever this one met
            _log.failure("{job} failed", job=name)
        else:
            if outcome == "moved":
                self._at("moved")
            return PAUSES[outcome]
        return IDLE_SECONDS
