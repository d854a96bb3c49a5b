"""What is asked about the files of one lane: verify, show, bring back, and by which policy.

Repairs are done by the lane between two rounds; this is where they wait for their turn.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from node_agent.anew import ours
from node_agent.concurrency import Blocking
from node_agent.differing import MOST_BYTES, difference
from node_agent.drift import finding_of
from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    UnknownFileError,
)
from node_agent.engine import Engine
from node_agent.journal import Journal
from node_agent.logs import event
from node_agent.repairing import Wanted
from node_agent.verifying import Verifier
from node_agent.wire.messages import Drift, DriftPolicy
from node_agent.wire.questions import MOST_REPAIRED, Difference, Repaired, RepairedFile, Verified
from templates.effects import Symlink

_NOBODYS = "no object writes this file any more; a repair forgets it"
_PRIVATE = "a private file: its content is not shown"


@attrs.frozen(eq=False)
class _Asked:
    path: str
    after: str
    answer: Deferred[tuple[list[RepairedFile], bool, str]]


class DriftDesk:
    """The desk of one lane. ``resting`` tells that files must not be looked at now, ``tell`` takes
    what is known, ``wake`` has the lane work what stands here, ``at_once`` also while it rests
    after a failure: a repair may be what ends that.
    """

    def __init__(
        self,
        name: str,
        policy: DriftPolicy,
        *,
        engine: Engine,
        journal: Journal,
        blocking: Blocking,
        clock: IReactorTime,
        every: float,
        resting: Callable[[], bool],
        tell: Callable[[Drift], None],
        wake: Callable[[], None],
        at_once: Callable[[], None],
    ) -> None:
        self._name = name
        self._engine = engine
        self._journal = journal
        self._lane = engine.anew.lane
        self._blocking = blocking
        self._wake = wake
        self._at_once = at_once
        self._waiting: deque[_Asked] = deque()
        self._policy = policy
        engine.keep = policy == "keep"
        self.verifier = Verifier(
            engine.anew,
            engine.box.files,
            every=every,
            blocking=blocking,
            clock=clock,
            resting=lambda: resting() or not engine.has_server,
            tell=tell,
            ended=self._round_ended,
        )

    async def set_policy(self, policy: DriftPolicy) -> None:
        """Go by another policy; what waited for a file that was kept is tried again."""
        former, self._policy = self._policy, policy
        self._engine.keep = policy == "keep"
        if former == "keep" and policy != "keep":
            await self._blocking(lambda: self._journal.retry(self._lane, None, ("held",)))
            self._wake()

    # --- asked by a person ---

    async def verify(self, seconds: float) -> Verified:
        """Look at all files now."""
        self._see_server()
        return await self.verifier.verify(seconds)

    async def difference(self, path: str) -> Difference:
        """Compare one file of the agent's with what it would write.

        Raises `UnknownFileError` for any other path (S3).
        """
        self._see_server()
        return await self._blocking(lambda: self._difference(path))

    async def preview(self, path: str) -> Repaired:
        """Tell what a repair would bring back."""
        self._see_server()
        wanted: list[Wanted] = []
        after = ""
        while True:
            page, after = await self._blocking(
                lambda after=after: self._engine.repairs.wanted(path, after)  # type: ignore[misc]
            )
            known = {each.unit for each in wanted}
            wanted += [each for each in page if each.unit not in known]
            if not after:
                break
        files = [RepairedFile(path, "would") for each in wanted for path in each.paths]
        return _bounded(files, any(each.reload for each in wanted))

    async def repair(self, path: str) -> Repaired:
        """Bring one file back, with its render unit; or all that is found."""
        self._see_server()
        files: dict[str, RepairedFile] = {}
        reload, after = False, ""
        while True:
            asked = _Asked(path, after, Deferred())
            self._waiting.append(asked)
            self._at_once()
            results, reloads, after = await asked.answer
            files.update((each.path, each) for each in results)
            reload |= reloads
            if not after:
                return _bounded(list(files.values()), reload)

    # --- done by the lane, between two rounds ---

    @property
    def waiting(self) -> bool:
        """Whether a repair waits for its turn."""
        return bool(self._waiting)

    async def work(self) -> None:
        """Do the next repair. Raises `BoxUnavailableError`, which the one who asked hears too."""
        asked = self._waiting.popleft()
        try:
            wanted, after = await self._blocking(
                lambda: self._engine.repairs.wanted(asked.path, asked.after)
            )
            results = await self._engine.repairs.bring_back(wanted) if wanted else []
            await self._blocking(lambda: self._journal.retry(self._lane, None, ("held",)))
        except EffectFailedError as failed:
            asked.answer.errback(failed)
            return
        except BoxUnavailableError as unavailable:
            asked.answer.errback(unavailable)
            raise
        for each in results:
            event(each.outcome, lane=self._name, file=each.path, why=each.words)
        await self.verifier.tell_now()
        asked.answer.callback((results, any(each.reload for each in wanted), after))

    def turn_away(self, why: str) -> None:
        """Tell those who wait that nothing is touched now."""
        waiting, self._waiting = self._waiting, deque()
        for asked in waiting:
            asked.answer.errback(BoxUnavailableError(why))

    # --- inside ---

    def _see_server(self) -> None:
        if not self._engine.has_server:
            raise BoxUnavailableError("the logical server has no configuration here yet")

    def _round_ended(self, drifted: int) -> None:
        if drifted and self._policy == "repair":
            Deferred.fromCoroutine(self._repair_by_policy())

    async def _repair_by_policy(self) -> None:
        try:
            await self.repair("")
        except (EffectFailedError, BoxUnavailableError) as error:
            event("not-repaired", level=logging.WARNING, lane=self._name, why=error)

    def _difference(self, path: str) -> Difference:
        files = self._journal.files
        written = files.find(self._lane, path)
        if written is None:
            raise UnknownFileError("the agent wrote no such file")
        on_box = self._engine.box.files
        look = on_box.look(path, written.size)
        finding = finding_of(written, look, on_box.owned_by(written.owner))
        words = finding.words if finding is not None else "as it was written"
        plans = (ours(self._engine.anew.plan(unit)).get(path) for unit in written.units)
        effect = next((each for each in plans if each is not None), None)
        if effect is None:
            return _words_only(path, f"{words}; {_NOBODYS}")
        if isinstance(effect, Symlink):
            return _words_only(path, words)
        if effect.mode & 0o077 == 0:
            return _words_only(path, f"{words}; {_PRIVATE}")
        there = b""
        if look.looks.partition(" ")[0] == "file":
            there = on_box.tail(path, MOST_BYTES + 1)
        return difference(path, there, effect.content, words)


def _words_only(path: str, words: str) -> Difference:
    return Difference(path=path, words=words, lines=(), cut=False)


def _bounded(files: Sequence[RepairedFile], reload: bool) -> Repaired:
    # What was refused is told first: the rest is as wished.
    ordered = sorted(files, key=lambda each: (each.outcome != "refused", each.path))
    return Repaired(files=tuple(ordered[:MOST_REPAIRED]), total=len(files), reload=reload)
