"""Writing what boxes said, one transaction at a time.

Under load everything that arrived during one transaction goes into the next, so a thousand
acknowledgements cost a handful of commits.
"""

import math
from functools import partial

import psycopg2
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from controller.crash_points import CrashSite, pass_by
from controller.fleet.word_rows import write
from controller.fleet.words import FLEET, Said, Written
from controller.storage.database import Database
from controller.storage.errors import POISON, StorageError

log = Logger()

RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0)
"""Waits between attempts while the database is away; the last one repeats."""
GATHER_SECONDS = 0.025
"""Seconds that the first word waits for others, at most, and that writing rests: that a change was
stored and that it is live are mostly written together, when the boxes had the disk for it."""
MAX_BATCH = 2000
"""Words written in one transaction, at most."""
PARTS = 8
"""What cannot be written together is tried in so many parts: a part may wait for a lock."""
PATIENCE = 3
"""So often one word is tried that cannot be written although the database answers."""


class AcknowledgementWriter:
    """Writes what sessions say, in the order it was said, one transaction at a time."""

    def __init__(self, database: Database, reactor: IReactorTime, at: CrashSite = pass_by) -> None:
        self._database = database
        self._reactor = reactor
        self._at = at
        self._said: list[Said] = []
        self._running = False
        self._gathering: IDelayedCall | None = None
        self._rested_at = -math.inf
        """From then on the last word of a change is written at once."""
        self._closed = False
        self._failing = False
        """Whether the last attempt failed: who stops does not wait for a database that is away."""
        self._idle: list[Deferred[None]] = []

    def say(self, said: Said, *, last: bool = False) -> None:
        """Take one word; it is written soon, with those said before it.

        ``last``: nothing else is waited for by some change, so it need not wait for company.
        """
        self._said.append(said)
        if self._closed or (self._running and self._gathering is None):
            return
        wait = GATHER_SECONDS
        if last:
            wait = min(wait, max(0.0, self._rested_at - self._reactor.seconds()))
        if self._gathering is None:
            self._running = True
            self._gathering = self._reactor.callLater(wait, self._begin)
        elif self._gathering.getTime() > self._reactor.seconds() + wait:
            self._gathering.reset(wait)

    def _begin(self) -> None:
        self._gathering = None
        ensureDeferred(self._write_all())

    def _drop(self, said: Said, error: Exception) -> None:
        """Give up one word, so that no box can keep all the others from being heard."""
        log.error(
            "security: a word of {box} cannot be written and is dropped: {error}",
            box=said.box_name,
            error=error,
        )
        del self._said[0]
        said.stale()

    def _drop_session(self, first: Said, error: Exception) -> None:
        """Give up all words of a box's session: on its next one the box tells everything anew."""
        log.error(
            "what {box} says cannot be written; its session ends: {error}",
            box=first.box_name,
            error=error,
        )
        session = first.lane[0], first.epoch
        dropped = [said for said in self._said if (said.lane[0], said.epoch) == session]
        self._said = [said for said in self._said if (said.lane[0], said.epoch) != session]
        for said in dropped:
            said.stale()

    async def drained(self) -> None:
        """Wait until everything said so far is written, or cannot be written now."""
        if self._running and not self._failing:
            waiting: Deferred[None] = Deferred()
            self._idle.append(waiting)
            await waiting

    def close(self) -> None:
        """Take and write nothing more; boxes say it again on their next session."""
        self._closed = True
        self._said.clear()

    async def _write_all(self) -> None:
        attempt, most = 0, MAX_BATCH
        tries = 0
        while self._said:
            batch = self._said[:most]
            self._at("recording")
            try:
                written = await self._database.transaction(
                    FLEET, partial(write, batch=batch), name="fleet.acknowledge"
                )
            except POISON as error:
                most = max(1, len(batch) // 2)
                if len(batch) == 1:
                    self._drop(batch[0], error)
                continue
            except Exception as error:
                if self._closed:
                    break
                # A database that is away takes nothing from anybody: the words must not be lost,
                # and it is tried again until the controller stops. Anything else may persist (a
                # row that somebody has locked, a mistake of ours), and must hold up no other.
                if not _of_the_database(error):
                    if len(batch) > 1:
                        most = max(1, len(batch) // PARTS)
                        continue
                    tries += 1
                    if tries >= PATIENCE:
                        tries = attempt = 0
                        self._drop_session(batch[0], error)
                        continue
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                attempt += 1
                self._failing = True
                self._rest()
                log.error(
                    "acknowledgements cannot be written, again in {wait} s: {error}",
                    wait=wait,
                    error=error,
                )
                await _sleep(self._reactor, wait)
                continue
            self._at("recorded")
            self._failing = False
            attempt, tries, most = 0, 0, min(most * 2, MAX_BATCH)
            del self._said[: len(batch)]
            for said in batch:
                self._tell(said, written)
        self._running = False
        self._rested_at = self._reactor.seconds() + GATHER_SECONDS
        self._rest()

    @staticmethod
    def _tell(said: Said, written: Written) -> None:
        """Tell a lane's session that its word is written; what fails there stays there."""
        try:
            if said.lane[0] in written.fresh.get(said.epoch, ()):
                said.written(written)
            else:
                said.stale()
        except Exception:  # a session goes on reading here: its mistake must not end the writer
            log.failure("a word of {box} is written, its session failed", box=said.box_name)

    def _rest(self) -> None:
        waiting, self._idle = self._idle, []
        for deferred in waiting:
            deferred.callback(None)


def _of_the_database(error: Exception) -> bool:
    """Tell whether no word could be written now, whosever it is (classes 53, 58: no resources, a
    disk that fails)."""
    code = error.pgcode if isinstance(error, psycopg2.Error) else None
    return isinstance(error, StorageError) or (code or "")[:2] in ("53", "58")


def _sleep(reactor: IReactorTime, seconds: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting
