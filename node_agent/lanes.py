"""One lane: a logical server on this box, with its own order and its own failures.

A lane stores what it is sent, works it round by round, says what became of it, and looks after its
daemon. What goes wrong here never holds back another lane.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from node_agent.box.interface import LaneBox
from node_agent.concurrency import Blocking
from node_agent.daemon_watch import DaemonWatch
from node_agent.drift_desk import DriftDesk
from node_agent.effects.failures import (
    BlockedError,
    BoxUnavailableError,
    DiskFullError,
    KeyRefusedError,
)
from node_agent.engine import Engine
from node_agent.journal import Journal
from node_agent.lane_reports import LaneReports
from node_agent.logs import event
from node_agent.observing import ZoneWatch
from node_agent.records import LaneRecord, Received
from node_agent.round import Round
from node_agent.verifying import VERIFY_EVERY
from node_agent.wire.messages import Batch, FromAgent, LaneCondition, OutcomeName, Stored
from node_agent.wire.questions import Preview, PreviewedObject
from templates.objects import ObjectId

FIRST_RETRY, LONGEST_RETRY = 0.5, 60.0
"""Seconds until something put off is tried again: doubled each time, with jitter."""
SETTLE_AFTER = 0.02
"""Seconds from telling what is live until it is settled: names are synced then, and the journal's
entry closed. Meanwhile a zone is transferred, and who waits for that waits for the same disk."""
HELD = "held on the box by hs-agent"
AHEAD = "the controller's history is another one; adopt or overwrite"
RESTING = "some changes wait for the next reload of the daemon, which rests between them"
RETRIED: tuple[OutcomeName, ...] = ("quarantined", "failed", "held", "waiting")


class Lane:
    """Works one logical server. ``send`` takes a message to the controller, or drops it when there
    is no session: on the next one everything is reported again.
    """

    def __init__(
        self,
        record: LaneRecord,
        *,
        engine: Engine,
        journal: Journal,
        blocking: Blocking,
        clock: IReactorTime,
        send: Callable[[FromAgent], None],
        watch_daemon: bool = True,
        verify_every: float = VERIFY_EVERY,
        settle_after: float = SETTLE_AFTER,
    ) -> None:
        self.id = record.id
        self.name = record.name
        self.service_type = record.service_type
        self._engine = engine
        self._journal = journal
        self._blocking = blocking
        self._clock = clock
        self._send = send
        self._held = record.held
        self._held_why = (record.condition == "held" and record.message) or HELD
        self._ahead = record.condition == "ahead"
        self._history = record.history
        self._queue: deque[Batch] = deque()
        self._settle_after = settle_after
        self._busy = False
        self._woken = False
        self._stopped = False
        self._room: Deferred[None] | None = None
        self._failures = 0
        self._retry_call: IDelayedCall | None = None
        self._failed_call: IDelayedCall | None = None
        self._reload_call: IDelayedCall | None = None
        self._failed_tries = 0
        self._idle: list[Deferred[None]] = []
        self.reports = LaneReports(record, journal=journal, blocking=blocking, send=send)
        self.daemon = DaemonWatch(
            record.name,
            engine,
            clock,
            looking=watch_daemon,
            resting=lambda: self._busy or self._held,
            wake=self._work_now,
        )
        self.zones = ZoneWatch(clock, engine.box, self.reports.observed)
        self._repaired = False
        """Whether the last turn was a repair: then a batch that waits goes first."""
        self.drift = DriftDesk(
            record.name,
            record.drift,
            engine=engine,
            journal=journal,
            blocking=blocking,
            clock=clock,
            every=verify_every,
            resting=lambda: self._busy,
            tell=send,
            wake=self.wake,
            at_once=self._work_now,
        )

    # --- life ---

    def start(self) -> None:
        """Look after the daemon and work what is pending; no controller is needed for it."""
        self.daemon.start()
        self.drift.verifier.start()
        self.wake()

    async def stop(self) -> None:
        """Finish the round under way and rest. The daemon runs on."""
        self._stopped = True
        self.zones.stop()
        self.daemon.stop()
        self.drift.verifier.stop()
        self.drift.turn_away("the agent stops working this logical server")
        for call in (self._retry_call, self._failed_call, self._reload_call):
            if call is not None and call.active():
                call.cancel()
        await self.idle()
        self._engine.close()

    async def idle(self) -> None:
        """Wait until no round is under way."""
        if self._busy:
            wait: Deferred[None] = Deferred()
            self._idle.append(wait)
            await wait

    # --- what the controller says ---

    def take(self, batch: Batch) -> None:
        """Take a batch: stored as soon as may be, worked after it."""
        if not self.meet_history(batch.history):
            return
        self._queue.append(batch)
        self.wake()

    def session_over(self) -> None:
        """Drop what belongs to the session: a batch that is not stored yet is sent again."""
        self._queue.clear()
        self.zones.stop()

    def meet_history(self, history: str) -> bool:
        """Compare the controller's history with the lane's; another one stops all work here.

        A controller that is back at the lane's own history ends that by itself.
        """
        if self._history in ("", history):
            if self._ahead:
                self._ahead = False
                self.reports.say("behind", "")
                self.wake()
            return True
        if not self._ahead:
            self._ahead = True
            self.reports.say("ahead", AHEAD)
        return False

    async def adopt(self, history: str, *, overwrite: bool) -> None:
        """Go on under the controller's history, as its operator chose.

        Not even a round under way is waited for: what the controller sends next belongs to the
        new history and must be stored under it.
        """
        self._queue = deque(batch for batch in self._queue if batch.history == history)
        await self._blocking(lambda: self._journal.lanes.adopt(self.id, history))
        event("adopted", lane=self.name, history=history, overwrite=overwrite)
        self._history, self._ahead = history, False
        self.reports.say("behind", "")
        self.wake()

    async def forget(self, items: tuple[tuple[str, str], ...]) -> None:
        """Remove objects that the controller does not know."""
        ids = [ObjectId(kind, key) for kind, key in items]
        await self._blocking(lambda: self._journal.forget(self.id, ids))
        event("forgotten", lane=self.name, objects=len(ids))
        self.wake()

    async def retry(self, kind: str, key: str) -> None:
        """Try objects again that have an outcome other than applied."""
        id = ObjectId(kind, key) if kind else None
        count = await self._blocking(lambda: self._journal.retry(self.id, id, RETRIED))
        event("retried", lane=self.name, objects=count)
        self._failures = self._failed_tries = 0
        self._work_now()

    # --- what is asked of its daemon ---

    @property
    def box(self) -> LaneBox:
        """The lane's share of the box."""
        return self._engine.box

    @property
    def has_server(self) -> bool:
        """Whether there is a configuration to run the daemon with."""
        return self._engine.has_server

    @property
    def held(self) -> bool:
        """Whether nothing is to be touched here."""
        return self._held

    async def preview(self, objects: Sequence[PreviewedObject], seconds: float) -> Preview:
        """Tell what these objects would come to, between two rounds; nothing is touched.

        Raises `BoxUnavailableError` where nothing would be applied now, or a round takes longer
        than ``seconds``.
        """
        if self._held or self._ahead:
            raise BoxUnavailableError(self._held_why if self._held else AHEAD)
        if self._busy:
            ready: Deferred[None] = Deferred.fromCoroutine(self.idle())
            try:
                await ready.addTimeout(seconds, self._clock)
            except TimeoutError:
                raise BoxUnavailableError("it is at work: ask again in a moment") from None
        return await self._blocking(lambda: self._engine.previews.preview(objects))

    async def restart_daemon(self) -> None:
        """Stop the daemon where it runs and start it, between two rounds; then see it answer.

        Raises `EffectFailedError` where it runs and would not start again: nothing is stopped then.
        """
        await self.idle()
        if await self.daemon.running():
            await self._engine.check()
        self.daemon.restart()
        self._failures = 0
        self._work_now()
        await self.idle()

    async def stop_daemon(self) -> None:
        """Stop the daemon of a lane that is held: it would be started again else."""
        await self.idle()
        await self.daemon.stop_daemon()

    # --- what the operator on the box says ---

    def hold(self, held: bool, why: str = HELD) -> None:
        """Touch nothing from the next step on, and say ``why``; or go on."""
        if held == self._held:
            return
        self._held, self._held_why = held, why
        event("held" if held else "released", lane=self.name)
        self.daemon.suspect = True
        if held and not self._busy:
            self.reports.say("held", why)
        self._work_now()

    # --- working ---

    def wake(self) -> None:
        """Work, unless that is put off; where it is under way, once more after it."""
        self._woken = True
        if self._room is not None:
            self._room.cancel()
        if not self._busy and not self._stopped:
            self._busy = True
            Deferred.fromCoroutine(self._work())

    def _work_now(self) -> None:
        if self._retry_call is not None and self._retry_call.active():
            self._retry_call.cancel()
        self._retry_call = None
        self.wake()

    @property
    def _may_touch(self) -> bool:
        return not (self._held or self._stopped or self._retry_call is not None)

    @property
    def _may_apply(self) -> bool:
        return self._may_touch and not self._ahead

    async def _work(self) -> None:
        try:
            more = True
            while more or self._woken:
                self._woken = False
                more = await self._work_once()
        except BoxUnavailableError as unavailable:
            # Whatever could not be written down stands open in the journal: it is ended before
            # anything new is begun on top of it.
            self.daemon.suspect = True
            self.drift.turn_away(str(unavailable))
            self._put_off(unavailable)
        except Exception as error:
            # The border of a lane: a mistake of ours stops this lane for a while and no other.
            logging.getLogger("hs-agent").exception("lane %s", self.id)
            self.daemon.suspect = True
            self._put_off(None, f"internal error: {type(error).__name__}: {error}")
        finally:
            self._busy = False
            idle, self._idle = self._idle, []
            for wait in idle:
                wait.callback(None)
        if self._woken or (self._queue and self._retry_call is None):
            self.wake()

    async def _make_well(self) -> None:
        try:
            await self.daemon.make_well()
            await self.reports.tell_settled()
        except KeyRefusedError:
            # It runs with another configuration than ours: a repair is the one way back.
            if not (self.drift.waiting and self._may_apply):
                await self._engine.baseline()  # one that serves nobody is down
                raise

    async def _work_once(self) -> bool:
        """Do one round or store one batch; tell whether there may be more to do."""
        if self.daemon.suspect and self._may_touch:
            await self._make_well()
        if not self._may_apply:
            if self._held:
                self.reports.say("held", self._held_why)
            elif self._ahead and self._may_touch:
                self.reports.say("ahead", AHEAD)
            self.drift.turn_away(
                f"nothing is touched now: {self.reports.message or self.reports.condition}"
            )
            return await self._store_only()
        self._repaired = self.drift.waiting and not (self._repaired and self._queue)
        if self._repaired:
            await self.drift.work()
            return True
        batch = self._queue[0] if self._queue else None
        work = await self._engine.round(
            None if batch is None else _received(batch),
            lambda revision, object_hash: self._stored(batch, revision, object_hash),
        )
        await work.remember()
        await self.reports.tell(work, stored=batch is not None)
        if any(verdict.outcome == "failed" for verdict in work.verdicts):
            self._retry_failed_later()
        await self._settle(work)
        if work.unavailable is not None:
            raise work.unavailable
        self._failures = 0
        if work.done or work.verdicts or batch is not None or self._queue or not self._may_apply:
            return True
        if self._engine.reloads.put_off:
            self._rest()
        else:
            self.reports.say("ok", "")
        return False

    async def _settle(self, work: Round) -> None:
        if work.done:
            await self._leave_room()
        await self._engine.settle(work)
        self.reports.settled()
        if work.done:
            self.drift.verifier.wrote()

    async def _leave_room(self) -> None:
        """Let the daemon have disk and processors for a moment, unless there is more to do."""
        if self._settle_after and not (self._woken or self._stopped):
            self._room = deferLater(self._clock, self._settle_after)
            with suppress(CancelledError):
                await self._room
            self._room = None

    def _rest(self) -> None:
        """Come back to what waits for a reload once there may be one."""
        self.reports.say("behind", RESTING)
        if self._reload_call is None or not self._reload_call.active():
            self._reload_call = self._clock.callLater(self._engine.reloads.seconds, self.wake)

    async def _store_only(self) -> bool:
        """Store one batch without working it; tell whether there are more."""
        if not self._queue or self._ahead:
            return False
        batch = self._queue[0]

        def store() -> tuple[int, str]:
            with self._journal.transaction():
                self._journal.store(self.id, _received(batch))
            record = self._journal.lanes.get(self.id)
            return record.stored_revision, record.object_hash

        self._stored(batch, *await self._blocking(store))
        return bool(self._queue)

    def _stored(self, batch: Batch | None, stored_revision: int, object_hash: str) -> None:
        if batch is None:
            return
        self._history = self._history or batch.history
        if not self._queue or self._queue[0] is not batch:
            return  # its session is over: the next one counts its batches anew
        self._queue.popleft()
        event("stored", lane=self.name, batch=batch.batch, revision=stored_revision)
        self._send(
            Stored(
                lane=self.id,
                batch=batch.batch,
                stored_revision=stored_revision,
                object_hash=object_hash,
            )
        )

    def _put_off(self, why: BoxUnavailableError | None, message: str = "") -> None:
        """Rest a while; nothing is blamed."""
        condition: LaneCondition = "behind"
        if why is not None:
            condition, message = _condition(why), str(why)
        self.daemon.serves = condition == "blocked"
        delay = self._delay(self._failures)
        self._failures += 1
        event("put-off", level=logging.WARNING, lane=self.name, seconds=f"{delay:.1f}", why=message)
        self.reports.say(condition, message)
        if self._retry_call is not None and self._retry_call.active():
            self._retry_call.cancel()
        if not self._stopped:
            self._retry_call = self._clock.callLater(delay, self._work_now)

    @staticmethod
    def _delay(failures: int) -> float:
        longest = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret

    def _retry_failed_later(self) -> None:
        if self._failed_call is None or not self._failed_call.active():
            delay = self._delay(self._failed_tries)
            self._failed_tries += 1
            self._failed_call = self._clock.callLater(
                delay, lambda: Deferred.fromCoroutine(self._retry_failed())
            )

    async def _retry_failed(self) -> None:
        try:
            found = await self._blocking(lambda: self._journal.retry(self.id, None, ("failed",)))
        except DiskFullError:
            self._retry_failed_later()
            return
        if found:
            self.wake()


def _condition(why: BoxUnavailableError) -> LaneCondition:
    """Call a lane by what puts its work off."""
    match why:
        case DiskFullError():
            return "disk-full"
        case BlockedError():
            return "blocked"
        case _:
            return "daemon-down"


def _received(batch: Batch) -> Received:
    return Received(batch.history, batch.through, batch.items)
