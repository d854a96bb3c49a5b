"""One lane: a logical server on this box, with its own order and its own failures.

A lane stores what it is sent, works it round by round, says what became of it, and looks after its
daemon. What goes wrong here never holds back another lane.
"""

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from node_agent.box.interface import LaneBox
from node_agent.concurrency import Blocking
from node_agent.drift_desk import DriftDesk
from node_agent.effects.failures import BoxUnavailableError, DiskFullError, EffectFailedError
from node_agent.engine import Engine
from node_agent.journal import Journal
from node_agent.logs import event
from node_agent.observing import ZoneWatch
from node_agent.records import LaneRecord, Received
from node_agent.round import Round
from node_agent.telling import LONGEST_WORDS, outcome, outcome_pages, verdicts_of
from node_agent.verifying import VERIFY_EVERY
from node_agent.wire.messages import (
    Batch,
    FromAgent,
    Inventory,
    LaneCondition,
    LaneReport,
    LaneState,
    Observed,
    OutcomeName,
    Outcomes,
    Stored,
)
from node_agent.wire.questions import Preview, PreviewedObject
from templates.objects import ObjectId

FIRST_RETRY, LONGEST_RETRY = 0.5, 60.0
"""Seconds until something put off is tried again: doubled each time, with jitter."""
WATCH_EVERY = 5.0
"""Seconds between two looks at the daemon."""
INVENTORY_PAGE = 5000
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
    ) -> None:
        self.id = record.id
        self.name = record.name
        self.service_type = record.service_type
        self._engine = engine
        self._journal = journal
        self._blocking = blocking
        self._clock = clock
        self._send = send
        self._watch_daemon = watch_daemon
        self._held = record.held
        self._held_why = (record.condition == "held" and record.message) or HELD
        self._ahead = record.condition == "ahead"
        self._history = record.history
        self._message = record.message
        self._condition: LaneCondition = record.condition
        self._queue: deque[Batch] = deque()
        self._busy = False
        self._woken = False
        self._stopped = False
        self._suspect = True
        self._restart = False
        self._failures = 0
        self._retry_call: IDelayedCall | None = None
        self._failed_call: IDelayedCall | None = None
        self._reload_call: IDelayedCall | None = None
        self._failed_tries = 0
        self._watchdog: IDelayedCall | None = None
        self._idle: list[Deferred[None]] = []
        self.zones = ZoneWatch(clock, engine.box, self._observed)
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
        )

    # --- life ---

    def start(self) -> None:
        """Look after the daemon and work what is pending; no controller is needed for it."""
        self._watch_later()
        self.drift.verifier.start()
        self.wake()

    async def stop(self) -> None:
        """Finish the round under way and rest. The daemon runs on."""
        self._stopped = True
        self.zones.stop()
        self.drift.verifier.stop()
        self.drift.turn_away("the agent stops working this logical server")
        for call in (self._retry_call, self._failed_call, self._reload_call, self._watchdog):
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
                self._say("behind", "")
                self.wake()
            return True
        if not self._ahead:
            self._ahead = True
            self._say("ahead", AHEAD)
        return False

    async def adopt(self, history: str, *, overwrite: bool) -> None:
        """Go on under the controller's history, as its operator chose.

        Not even a round under way is waited for: what the controller sends next belongs to the
        new history and must be stored under it.
        """
        self._queue = deque(batch for batch in self._queue if batch.history == history)
        await self._blocking(lambda: self._journal.adopt(self.id, history))
        event("adopted", lane=self.name, history=history, overwrite=overwrite)
        self._history, self._ahead = history, False
        self._say("behind", "")
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

    async def inventory(self) -> None:
        """Tell what is here, page by page."""
        after = ObjectId("", "")
        while True:
            page = await self._blocking(
                lambda after=after: self._journal.live(self.id, after, INVENTORY_PAGE)  # type: ignore[misc]
            )
            last = len(page) < INVENTORY_PAGE
            self._send(Inventory(lane=self.id, items=page, last=last))
            if last:
                return
            after = ObjectId(page[-1][0], page[-1][1])

    def report(self) -> LaneReport:
        """Describe the lane for a `Hello`. Blocks on the journal."""
        record = self._journal.lane(self.id)
        return LaneReport(
            lane=self.id,
            history=record.history,
            stored_revision=record.stored_revision,
            settled_revision=self._journal.settled_revision(self.id),
            object_hash=record.object_hash,
            renderer=record.renderer,
            condition=self._condition,
        )

    def outcomes(self) -> tuple[Outcomes, ...]:
        """Give the settled revision and all exceptions, for a new session. Blocks."""
        settled = self._journal.settled_revision(self.id)
        return outcome_pages(self.id, settled, self._journal.exceptions(self.id))

    def state(self) -> LaneState:
        """Give the condition, for a new session."""
        return LaneState(
            lane=self.id, condition=self._condition, message=self._message[:LONGEST_WORDS]
        )

    @property
    def condition(self) -> LaneCondition:
        """What was last seen."""
        return self._condition

    async def running(self) -> bool:
        """Tell whether the lane's daemon lives."""
        try:
            return self._engine.has_server and await self._engine.box.running()
        except BoxUnavailableError:
            return False

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

    @property
    def message(self) -> str:
        """The words of the condition."""
        return self._message

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
        """Stop the daemon where it runs and start it, between two rounds; then see it answer."""
        self._restart = self._suspect = True
        self._failures = 0
        self._work_now()
        await self.idle()

    async def stop_daemon(self) -> None:
        """Stop the daemon of a lane that is held: it would be started again else."""
        await self.idle()
        await self._stop_box()

    async def _stop_box(self) -> None:
        try:
            await self._engine.box.stop()
        except EffectFailedError as failed:
            raise BoxUnavailableError(f"the daemon does not stop: {failed}") from failed

    # --- what the operator on the box says ---

    def hold(self, held: bool, why: str = HELD) -> None:
        """Touch nothing from the next step on, and say ``why``; or go on."""
        if held == self._held:
            return
        self._held, self._held_why = held, why
        event("held" if held else "released", lane=self.name)
        self._suspect = True
        if held and not self._busy:
            self._say("held", why)
        self._work_now()

    # --- working ---

    def wake(self) -> None:
        """Work, unless that is put off; where it is under way, once more after it."""
        self._woken = True
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
            self._suspect = True
            self._put_off(unavailable)
        except Exception as error:
            # The border of a lane: a mistake of ours stops this lane for a while and no other.
            logging.getLogger("hs-agent").exception("lane %s", self.id)
            self._suspect = True
            self._put_off(None, f"internal error: {type(error).__name__}: {error}")
        finally:
            self._busy = False
            idle, self._idle = self._idle, []
            for wait in idle:
                wait.callback(None)
        if self._woken or (self._queue and self._retry_call is None):
            self.wake()

    async def _work_once(self) -> bool:
        """Do one round or store one batch; tell whether there may be more to do."""
        if self._suspect and self._may_touch:
            await self._make_well()
        if not self._may_apply:
            if self._held:
                self._say("held", self._held_why)
            elif self._ahead and self._may_touch:
                self._say("ahead", AHEAD)
            self.drift.turn_away(f"nothing is touched now: {self._message or self._condition}")
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
        await self._tell(work, stored=batch is not None)
        await self._engine.settle(work)
        if work.done:
            self.drift.verifier.wrote()
        if work.unavailable is not None:
            raise work.unavailable
        self._failures = 0
        if work.done or work.verdicts or batch is not None or self._queue or not self._may_apply:
            return True
        if self._engine.reloads.put_off:
            self._rest()
        else:
            self._say("ok", "")
        return False

    def _rest(self) -> None:
        """Come back to what waits for a reload once there may be one."""
        self._say("behind", RESTING)
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
            record = self._journal.lane(self.id)
            return record.stored_revision, record.object_hash

        self._stored(batch, *await self._blocking(store))
        return bool(self._queue)

    async def _make_well(self) -> None:
        """After a start or a failure: end what was begun, and see the daemon answer."""
        taken_back = await self._engine.recover()
        if taken_back:
            event("recovered", lane=self.name, taken_back=len(taken_back))
        if self._engine.has_server:
            restart, self._restart = self._restart, False
            if restart:
                event("restarting", lane=self.name)
                await self._stop_box()
            if not await self._engine.box.running():
                event("starting", lane=self.name)
                await self._engine.start()
            await self._engine.baseline()
        self._suspect = False

    def _put_off(self, why: BoxUnavailableError | None, message: str = "") -> None:
        """Rest a while; nothing is blamed."""
        condition: LaneCondition = "behind"
        if why is not None:
            condition = "disk-full" if isinstance(why, DiskFullError) else "daemon-down"
            message = str(why)
        delay = self._delay(self._failures)
        self._failures += 1
        event("put-off", level=logging.WARNING, lane=self.name, seconds=f"{delay:.1f}", why=message)
        self._say(condition, message)
        if self._retry_call is not None and self._retry_call.active():
            self._retry_call.cancel()
        if not self._stopped:
            self._retry_call = self._clock.callLater(delay, self._work_now)

    @staticmethod
    def _delay(failures: int) -> float:
        longest = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 10))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret

    def _watch_later(self) -> None:
        if self._watch_daemon and not self._stopped:
            self._watchdog = self._clock.callLater(
                WATCH_EVERY, lambda: Deferred.fromCoroutine(self._look_at_daemon())
            )

    async def _look_at_daemon(self) -> None:
        """See that the daemon lives and answers: one that hangs has a process all the same."""
        resting = self._busy or self._held or self._suspect or not self._engine.has_server
        try:
            if not resting:
                if not await self._engine.box.running():
                    raise BoxUnavailableError("it does not run")
                await self._engine.baseline()
        except BoxUnavailableError as unavailable:
            event("daemon-gone", level=logging.WARNING, lane=self.name, why=unavailable)
            self._suspect = True
            self.wake()
        finally:
            self._watch_later()

    # --- telling ---

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

    async def _tell(self, work: Round, *, stored: bool) -> None:
        """Say what the round came to; also where all of a batch was known or superseded."""
        settled = work.settles
        if work.unavailable is not None:
            settled = await self._blocking(
                lambda: self._journal.settled_revision(self.id, work.settled)
            )
        verdicts = verdicts_of(work)
        if not verdicts and not stored:
            return
        outcomes = tuple(map(outcome, verdicts))
        self._send(Outcomes(lane=self.id, settled_revision=settled, outcomes=outcomes))
        for verdict in verdicts:
            event(
                verdict.outcome,
                change=verdict.object.change,
                lane=self.name,
                object=f"{verdict.object.id.kind}/{verdict.object.id.key}",
                revision=verdict.object.revision,
                why=verdict.message,
            )
        if any(verdict.outcome == "failed" for verdict in work.verdicts):
            self._retry_failed_later()

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

    def _say(self, condition: LaneCondition, message: str) -> None:
        if (condition, message) == (self._condition, self._message):
            return
        self._condition, self._message = condition, message
        self._send(LaneState(lane=self.id, condition=condition, message=message[:LONGEST_WORDS]))
        Deferred.fromCoroutine(self._remember(condition, message))

    async def _remember(self, condition: LaneCondition, message: str) -> None:
        try:
            await self._blocking(lambda: self._journal.set_condition(self.id, condition, message))
        except DiskFullError:
            return  # it is seen again, and said again

    def _observed(self, zone: str, serial: int) -> None:
        event("observed", lane=self.name, zone=zone, serial=serial)
        self._send(Observed(lane=self.id, zone=zone, serial=serial))


def _received(batch: Batch) -> Received:
    return Received(batch.history, batch.through, batch.items)
