"""One round of a lane: the steps it has open, and what they came to."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence

from node_agent.box.interface import LaneBox
from node_agent.bystanders import Bystanders
from node_agent.choosing import Chooser
from node_agent.concurrency import Blocking, all_of
from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    RefusedForNowError,
)
from node_agent.entries import Entries, Opened, Point
from node_agent.journal import Journal
from node_agent.planning import Change, Step
from node_agent.records import Received, Verdict
from node_agent.reload_limit import ReloadLimit
from node_agent.wire.messages import OutcomeName
from templates.effects import Probe
from templates.objects import ObjectId
from templates.overrides import blamed
from templates.service_type import SERVER_ID, LaneContext, ServiceType

KEPT = (
    "{paths} was changed by hand and is kept (the policy of the logical server). hsctl drift show"
    " tells what was changed, hsctl drift repair brings it back and tries this again"
)

OVERRIDE = "an operator's override file is refused, and this waits until it is mended: {words}"


class Round:
    """What is shared by everything that works on one round.

    ``done`` is live but not yet written down, ``verdicts`` are the other outcomes, ``undone`` the
    entries taken back, ``open`` the steps begun and neither; ``unavailable`` says why the rest was
    put off, if it was. ``settles`` is the revision up to which all has an outcome when nothing is
    put off.
    """

    def __init__(
        self,
        *,
        lane: str,
        service_type: ServiceType,
        journal: Journal,
        entries: Entries,
        chooser: Chooser,
        box: LaneBox,
        bystanders: Bystanders,
        reloads: ReloadLimit,
        context_of: Callable[[object], LaneContext],
        blocking: Blocking,
        at: Callable[[Point], None],
        keep: bool = False,
    ) -> None:
        self.service_type = service_type
        self.entries = entries
        self.box = box
        self.bystanders = bystanders
        self.reloads = reloads
        self.blocking = blocking
        self.at = at
        self.done: list[Opened] = []
        self.verdicts: list[Verdict] = []
        self.undone: list[int] = []
        self.open: dict[int, Opened] = {}
        self.unavailable: BoxUnavailableError | None = None
        self.settles = 0
        self.stored_revision = 0
        self.object_hash = ""
        self.refused: list[str] = []
        """Words of what was refused of a repair, which judges no object."""
        self._passing: set[str] = set()
        self._taken_up: Probe | None = None
        """What shows that the daemon has read what the last `mark` was written beside."""
        self._keep = keep
        self._lane = lane
        self._journal = journal
        self._chooser = chooser
        self.context_of = context_of

    @property
    def settled(self) -> frozenset[ObjectId]:
        """The objects that have an outcome now."""
        applied = {change.id for one in self.done for change in one.step.changes}
        return frozenset(applied | {verdict.object.id for verdict in self.verdicts})

    @property
    def has_server(self) -> bool:
        """Whether the logical server's own configuration is in effect."""
        return self._chooser.server is not None

    @property
    def context(self) -> LaneContext:
        """The lane as it runs now."""
        return self.context_of(self._chooser.server)

    # --- beginning ---

    def begin(self, received: Received | None) -> None:
        """Store what was received, plan what is ready and open its entries: one durable commit."""
        if received is None and not self._journal.pending(self._lane, 1):
            return
        with self._journal.transaction():
            if received is not None:
                self._journal.store(self._lane, received)
            steps, verdicts = self._chooser.window(self.reloads.put_off)
            opened, prevented = self._open(self.reloads.admit(steps))
            verdicts += prevented
            self._journal.judge(self._lane, verdicts)
            ids = frozenset(change.id for one in opened for change in one.step.changes)
            self.settles = self._journal.settled_revision(self._lane, ids)
            record = self._journal.lanes.get(self._lane)
            self.stored_revision, self.object_hash = record.stored_revision, record.object_hash
        self.verdicts += verdicts
        self.open.update((one.entry, one) for one in opened)

    def _open(self, steps: Sequence[Step]) -> tuple[list[Opened], list[Verdict]]:
        """Open the entries of steps; one that would overwrite what is kept waits for a person."""
        opened: list[Opened] = []
        verdicts: list[Verdict] = []
        for step in steps:
            kept = self.entries.changed_by_others(step) if self._keep else ()
            if kept:
                words = KEPT.format(paths=", ".join(kept[:5]))
                verdicts += [Verdict(change.after, "held", words) for change in step.changes]
                continue
            try:
                opened.append(self.entries.open(step))
            except EffectFailedError as failed:
                verdicts += [Verdict(c.after, "failed", str(failed)) for c in step.changes]
        return opened, verdicts

    async def open_steps(self, steps: Sequence[Step]) -> list[Opened]:
        """Open steps that were planned elsewhere; raises `EffectFailedError`."""

        def begin() -> list[Opened]:
            with self._journal.transaction():
                return [self.entries.open(step) for step in steps]

        opened = await self.blocking(begin)
        self.open.update((one.entry, one) for one in opened)
        return opened

    def opened(self, *, quick: bool) -> list[Opened]:
        """Give the open steps of one sort (see `Step.quick`)."""
        return [one for one in self.open.values() if one.step.quick is quick]

    async def reopen(self, changes: Sequence[Change]) -> list[Opened]:
        """Plan some changes anew, on top of what this round has in effect, and open them."""

        def begin() -> list[Opened]:
            with self._journal.transaction():
                steps, verdicts = self._chooser.plan(changes, self._in_effect())
                opened = [self.entries.open(step) for step in steps]
            self.verdicts += verdicts
            self.open.update((one.entry, one) for one in opened)
            return opened

        return await self.blocking(begin)

    def _in_effect(self) -> list[Change]:
        return [c for one in (*self.done, *self.open.values()) for c in one.step.changes]

    def excuse(self, words: str) -> None:
        """Blame nobody for a failure that was told in these words: it is tried again."""
        self._passing.add(words)

    # --- ending ---

    def finish(self, one: Opened) -> None:
        """Take a step as live."""
        self.open.pop(one.entry, None)
        self.done.append(one)
        self.use_server(one.step.changes)

    def use_server(self, changes: Iterable[Change]) -> None:
        """Speak to the daemon as the new configuration says, if the server is among ``changes``."""
        for change in changes:
            if change.id == SERVER_ID:
                self._chooser.server = change.spec
                if change.spec is not None:
                    self.box.bind(self.context)

    async def remember(self) -> None:
        """Note what is live, before it is told. Raises `DiskFullError`."""
        done = tuple(self.done)
        if done:
            await self.blocking(lambda: self.entries.remember(done))

    async def undo(
        self, opened: Sequence[Opened], revive: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Take steps back: their files, then (once the daemon was revived) their control effects.

        Raises `BoxUnavailableError` where that cannot be done now; the entries then stay open.
        """
        if not opened:
            return
        undos = [one.undo for one in opened]
        await self.blocking(lambda: self.entries.put_back(undos))
        if any(change.id == SERVER_ID for one in opened for change in one.step.changes):
            await self.blocking(self._chooser.read_server)
            if self.has_server:
                self.box.bind(self.context)
        if revive is not None:
            await revive()
        for one in reversed(opened):
            for effect in one.undo.inverse:
                await insist(self.box.control(effect))
        for one in opened:
            self.open.pop(one.entry, None)
            self.undone.append(one.entry)
        self.at("undone")

    async def give_up(self, why: BoxUnavailableError) -> None:
        """Take back what is open; what cannot be taken back now is left to recovery."""
        self.unavailable = why
        try:
            await self.undo(tuple(self.open.values()))
        except BoxUnavailableError:
            self.open.clear()

    def judge(self, changes: Iterable[Change], outcome: OutcomeName, words: str) -> None:
        """Give changes an outcome other than applied."""
        self.verdicts += [Verdict(change.after, outcome, words) for change in changes]

    def halves(self, changes: Sequence[Change], words: str) -> list[Sequence[Change]]:
        """Cut several suspects in two; a single one is found guilty.

        A first server that does not come up is no reason for quarantine: its address may come
        later. It has failed and is tried again. So has all that was refused for now: among them
        nobody is guilty.
        """
        if not changes:
            self.refused.append(words)
            return []
        if words in self._passing:
            self.judge(changes, "failed", words)
            return []
        if len(changes) > 1:
            middle = len(changes) // 2
            return [changes[:middle], changes[middle:]]
        if blamed(words, self.context_of(None).root):
            self.judge(changes, "held", OVERRIDE.format(words=words))
            return []
        first = any(change.id == SERVER_ID for change in changes) and not self.has_server
        self.judge(changes, "failed" if first else "quarantined", words)
        return []

    # --- acting ---

    async def act(
        self,
        opened: Sequence[Opened],
        act: Callable[[Opened], Awaitable[None]],
        *,
        limit: int = 64,
        finish: bool = False,
    ) -> dict[int, str]:
        """Do it for all side by side; give the words of those that were refused.

        Raises `BoxUnavailableError` once all have ended that were begun: on a box that does not
        answer, the others are not even tried. With ``finish``, what succeeded until then is done.
        """
        lost: list[BoxUnavailableError] = []
        failures: dict[int, str] = {}

        async def each(one: Opened) -> None:
            if lost:
                return
            try:
                await act(one)
                if finish:
                    self.finish(one)
            except EffectFailedError as failed:
                failures[one.entry] = str(failed)
                if isinstance(failed, RefusedForNowError):
                    self._passing.add(str(failed))
            except BoxUnavailableError as unavailable:
                lost.append(unavailable)

        await all_of((each(one) for one in opened), limit)
        if lost:
            raise lost[0]
        return failures

    async def mark(self) -> None:
        """Before the daemon reads its configuration: have it hold a word of this reading.

        A daemon that says yes to a reload may read nothing, and what was there before may fit every
        other probe.
        """
        taken_up = self.service_type.daemon.taken_up
        if taken_up is not None:
            mark = taken_up(secrets.token_hex(16))
            await self.blocking(lambda: self.box.files.stage((mark.file,)))
            await self.blocking(lambda: self.box.files.commit((mark.file,)))
            self._taken_up = mark.probe

    async def probe(self, one: Opened) -> None:
        """Probe one step."""
        if self._taken_up is not None and one.step.reloads:
            await self.box.probe(self._taken_up)
        for probe in one.step.plan.probes:
            await self.box.probe(probe)

    async def baseline(self) -> None:
        """Probe something known good, on a disk with room.

        Raises `BoxUnavailableError` with what was found instead.
        """
        await self.blocking(self.box.files.room)
        for probe in self.service_type.daemon.baseline(self.context):
            try:
                await self.box.probe(probe)
            except EffectFailedError as failed:
                raise BoxUnavailableError(f"the daemon is not well: {failed}") from failed


async def insist(doing: Awaitable[None]) -> None:
    """Do what takes something back. A daemon that refuses has nothing to take back."""
    try:
        await doing
    except EffectFailedError:
        return
