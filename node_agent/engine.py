"""The apply protocol of one lane: what makes a batch live, or takes it back without a trace.

plan -> journal -> stage -> check -> swap -> control, reload -> probe -> settle (design section 6,
ADR 0005). A round takes what is ready; a step that fails is undone alone, and nothing is blamed
before something known good has been probed.
"""

import time
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from node_agent.anew import Anew
from node_agent.box.interface import Box, LaneBox
from node_agent.bystanders import Bystanders
from node_agent.choosing import Chooser
from node_agent.concurrency import Blocking
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.entries import Entries, Point, objects_of, pass_by
from node_agent.heavy_steps import HeavySteps
from node_agent.journal import Journal
from node_agent.planning import Step
from node_agent.previewing import Previews
from node_agent.quick_steps import place, quick_steps
from node_agent.records import Received
from node_agent.reload_limit import ReloadLimit
from node_agent.repairing import Repairs
from node_agent.round import KEPT, Round, insist
from node_agent.standing import stand_up
from templates.objects import ObjectId
from templates.service_type import LaneContext, ServiceType


class Engine:
    """Works one lane, one round at a time. ``at`` is called after each step (see `Point`); ``now``
    tells seconds, for rests between reloads.
    """

    def __init__(
        self,
        lane: str,
        service_type: ServiceType,
        box: Box,
        journal: Journal,
        *,
        blocking: Blocking,
        at: Callable[[Point], None] = pass_by,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lane = lane
        self._type = service_type
        self._journal = journal
        self._blocking = blocking
        self._at = at
        self._host = box
        self._secret = journal.lanes.get(lane).control_secret
        self.keep = False
        """Whether a file that somebody else changed is kept from changes."""
        self.box: LaneBox = box.lane(service_type, lane)
        self._entries = Entries(lane, journal, self.box.files, at)
        refusal = partial(box.refusal, service_type)
        self._chooser = Chooser(
            lane,
            service_type,
            applied=journal.applied,
            pending=journal.pending,
            context_of=self._context_of,
            refusal=refusal,
        )
        self.reloads = ReloadLimit(now, self._rest)
        self.anew = Anew(lane, service_type, journal, self._context)
        self.repairs = Repairs(self.anew, self._begin, self.settle, refusal)
        self.previews = Previews(
            lane=lane,
            service_type=service_type,
            journal=journal,
            files=self.box.files,
            context_of=self._context_of,
            refusal=refusal,
            held_back=self._held_back,
        )

    @property
    def has_server(self) -> bool:
        """Whether the logical server's own configuration is applied: there is a daemon to run."""
        return self._chooser.server is not None

    async def recover(self) -> tuple[ObjectId, ...]:
        """End what a former life began; give the objects taken back, which are pending again.

        Files come first, so that a daemon that starts now reads a good configuration. Raises
        `BoxUnavailableError`; then it is called again.
        """
        left = await self._blocking(self._entries.leftovers)
        if left:
            await self._blocking(lambda: self._entries.put_back([one.undo for one in left]))
            self._at("files-recovered")
        await self._blocking(self.read_server)
        lost = await self._stand_up() if self.has_server else ()
        if left and self.has_server:
            alive = await self.box.running()
            if not alive:
                await self.start()
            for one in reversed(left):
                for effect in one.undo.inverse:
                    await insist(self.box.control(effect))
            if alive and any(one.undo.reload for one in left):
                await insist(self._reload())
        self._at("recovered")
        if left:
            await self._blocking(lambda: self._entries.close([one.entry for one in left]))
        return (*lost, *(id for one in left for id in objects_of(one.undo)))

    async def check(self) -> None:
        """See that the daemon's checker accepts all that stands in place, override files too.

        Somebody may have broken it by hand, and a daemon that reads it then ends. Raises
        `EffectFailedError` with the checker's words.
        """
        await self.box.check(self._type.daemon.check(self._context()))

    async def _reload(self) -> None:
        await self.check()
        await self.box.reload()

    async def _stand_up(self) -> tuple[ObjectId, ...]:
        return await stand_up(
            self._lane,
            service_type=self._type,
            journal=self._journal,
            box=self.box,
            context=self._context(),
            blocking=self._blocking,
        )

    def read_server(self) -> None:
        """Speak to the daemon as the applied configuration says. Blocks on the journal."""
        self._chooser.read_server()
        if self.has_server:
            self.box.bind(self._context_of(self._chooser.server))

    async def start(self) -> None:
        """Start the daemon; raises `BoxUnavailableError` with its words where it does not."""
        try:
            await self.box.start()
        except EffectFailedError as failed:
            raise BoxUnavailableError(f"the daemon does not start: {failed}") from failed

    async def round(self, received: Received | None, stored: Callable[[int, str], None]) -> Round:
        """Store ``received``, if any, call ``stored`` (revision, hash), and work what is ready.

        What is done is live when this returns; `settle` then writes it down. Raises `DiskFullError`
        where not even the journal could be written; then nothing was stored.
        """
        work = self._begin()

        def begin() -> None:
            work.begin(received)
            self._at("journalled")

        def tell() -> None:
            if received is not None:
                stored(work.stored_revision, work.object_hash)
                self._at("stored")

        beginning = self._blocking(begin)
        placing = self._blocking(lambda: place(work, work.opened(quick=True)))
        await beginning
        try:
            try:
                # The reactor rests: what it did would keep the interpreter from the worker, which
                # needs it anew after each of its many short system calls.
                failures = await placing
                steps = quick_steps(work, work.opened(quick=True), failures)
                speaking: Deferred[None] = Deferred.fromCoroutine(steps)
            finally:
                tell()
            await speaking
            await HeavySteps(work).run(work.opened(quick=False))
        except BoxUnavailableError as unavailable:
            await work.give_up(unavailable)
        return work

    def _begin(self) -> Round:
        return Round(
            lane=self._lane,
            service_type=self._type,
            journal=self._journal,
            entries=self._entries,
            chooser=self._chooser,
            box=self.box,
            bystanders=Bystanders(self.anew, self._blocking, self.box),
            reloads=self.reloads,
            context_of=self._context_of,
            blocking=self._blocking,
            at=self._at,
            keep=self.keep,
        )

    def _held_back(self, step: Step) -> str:
        """Say why the policy keeps a step from its files; empty where it does not. Blocks."""
        kept = self._entries.changed_by_others(step) if self.keep else ()
        return KEPT.format(paths=", ".join(kept[:5])) if kept else ""

    async def settle(self, work: Round) -> None:
        """Write down what the round came to. Raises `DiskFullError`; then `recover` comes next."""
        if work.done or work.verdicts or work.undone:
            await self._blocking(
                lambda: self._entries.settle(work.done, work.undone, work.verdicts)
            )

    async def baseline(self) -> None:
        """Probe something known good; raises `BoxUnavailableError`."""
        await self._blocking(self.box.files.room)
        for probe in self._type.daemon.baseline(self._context_of(self._chooser.server)):
            try:
                await self.box.probe(probe)
            except EffectFailedError as failed:
                raise BoxUnavailableError(f"the daemon is not well: {failed}") from failed

    def close(self) -> None:
        """Let go of the box; the daemon runs on."""
        self.box.close()

    def _rest(self) -> float:
        server = self._chooser.server
        return 0.0 if server is None else self._type.reload_rest(server)

    def _context(self) -> LaneContext:
        return self._context_of(self._chooser.server)

    def _context_of(self, server: object) -> LaneContext:
        return self._host.context(self._type, self._lane, self._secret, server)
