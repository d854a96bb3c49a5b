"""Looking at the files of one lane: a slow round on a timer, or all at once on demand.

A look takes a few files in one call on the worker thread, and only while the lane has no round
under way: what a round is just changing is no drift. Nothing is touched here.
"""

import logging
import random
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from node_agent.anew import Anew, ours
from node_agent.box.interface import FileImage, LaneFiles
from node_agent.concurrency import Blocking
from node_agent.drift import PAGE_FILES, finding_of, page_of, pause
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.looks import seen, wanted
from node_agent.records import WrittenFile
from node_agent.wire.messages import MOST_FINDINGS, Drift, DriftFinding
from node_agent.wire.questions import Verified
from templates.effects import Symlink, WriteFile

VERIFY_EVERY = 3600.0
"""Seconds that one round over all files of a lane takes, unless the box's owner says otherwise."""
FIRST_AFTER = 30.0
"""Seconds from the start of the agent, about, to the first look: daemons come first."""
RESTING = 0.5
"""Seconds until a look is tried again that found the lane at work."""
TELL_AFTER = 1.0
"""Seconds in which findings are gathered before they are told."""
UNITS_FILLED = 20
"""Render units of one look that are noted first, in a journal that did not note files."""


@attrs.frozen
class _Page:
    looked_at: int
    after: str
    """The last path that was looked at; empty at the end."""
    ended: bool
    changed: bool


class Verifier:
    """Verifies one lane. ``resting`` tells that a look must wait, ``tell`` takes what is known,
    ``ended`` hears of each finished round (how many files have drifted).
    """

    def __init__(
        self,
        anew: Anew,
        files: LaneFiles,
        *,
        every: float,
        blocking: Blocking,
        clock: IReactorTime,
        resting: Callable[[], bool],
        tell: Callable[[Drift], None],
        ended: Callable[[int], None],
    ) -> None:
        self._anew = anew
        self._lane, self._journal = anew.lane, anew.journal
        self._files = files
        self._every = every
        self._blocking = blocking
        self._clock = clock
        self._resting = resting
        self._tell = tell
        self._ended = ended
        self._after = ""
        self._walk = 0
        """Counts walks: a look of one that was begun anew meanwhile is not continued."""
        self._hurry = False
        self._count = 0
        self._drifted = 0
        self._verified_at: float | None = None
        self._stopped = False
        self._call: IDelayedCall | None = None
        self._tell_call: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin the rounds of the timer."""
        if self._every > 0:
            self._next(FIRST_AFTER * _jitter())

    def stop(self) -> None:
        """Look no more; who waits is told how far it came."""
        self._stopped = True
        for call in (self._call, self._tell_call):
            if call is not None and call.active():
                call.cancel()
        self._release()

    async def verify(self, seconds: float) -> Verified:
        """Look at all files now, and wait for the end for at most ``seconds``."""
        self._walk += 1
        self._after, self._hurry = "", True
        self._next(0)
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        late: list[bool] = []

        def give_up() -> None:
            late.append(True)
            self._waiting.remove(done)
            done.callback(None)

        limit = self._clock.callLater(seconds, give_up)
        await done
        if limit.active():
            limit.cancel()
        count = await self._blocking(lambda: self._journal.files.count(self._lane))
        drifted = await self._blocking(lambda: self._journal.files.drifted(self._lane))
        return Verified(files=count, drifted=drifted, ended=not (late or self._stopped))

    def report(self) -> Drift:
        """Describe what is known. Blocks."""
        files = self._journal.files
        self._drifted = files.drifted(self._lane)
        ago = -1.0
        if self._verified_at is not None:
            ago = max(self._clock.seconds() - self._verified_at, 0.0)
        return Drift(
            lane=self._lane,
            files=files.count(self._lane),
            total=self._drifted,
            findings=files.findings(self._lane, MOST_FINDINGS),
            verified_ago=ago,
        )

    def wrote(self) -> None:
        """Hear that a round wrote files: what was found of them says nothing any more."""
        if self._drifted:
            self.tell_soon()

    def tell_soon(self) -> None:
        """Tell what is known, once all that comes with it is known too."""
        if not self._stopped and (self._tell_call is None or not self._tell_call.active()):
            self._tell_call = self._clock.callLater(
                TELL_AFTER, lambda: Deferred.fromCoroutine(self.tell_now())
            )

    async def tell_now(self) -> None:
        """Tell what is known: before an answer that says the same, or the two contradict."""
        self._tell(await self._blocking(self.report))

    # --- walking ---

    def _next(self, seconds: float) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        if not self._stopped:
            self._call = self._clock.callLater(
                seconds, lambda: Deferred.fromCoroutine(self._step(self._walk))
            )

    async def _step(self, walk: int) -> None:
        page = None
        try:
            if not self._resting():
                page = await self._blocking(self._look)
        except BoxUnavailableError:
            page = None  # a full disk: what is found cannot be noted now
        except Exception:
            # A mistake of ours about one lane's files must not end its rounds.
            logging.getLogger("hs-agent").exception("verifying lane %s", self._lane)
        if self._stopped or walk != self._walk:
            return
        if page is None:
            self._next(RESTING * _jitter())
            return
        self._after = page.after
        if page.changed:
            self.tell_soon()
        if page.ended:
            await self._round_ended()
        if self._stopped or walk != self._walk:
            return
        if self._hurry:
            self._next(0)
        elif self._every > 0:
            looked_at = max(page.looked_at, 1)
            self._next(pause(self._every, self._count, looked_at, _jitter()))

    async def _round_ended(self) -> None:
        self._verified_at, self._hurry = self._clock.seconds(), False
        await self.tell_now()
        self._ended(self._drifted)
        self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    # --- one look, on the worker thread ---

    def _look(self) -> _Page | None:
        files = self._journal.files
        if self._journal.entries.still_open(self._lane):
            return None  # a step that is neither done nor taken back stands in the files
        units = files.unfilled(self._lane, UNITS_FILLED)
        if units is not None:
            self._fill(units)
            return _Page(0, "", ended=False, changed=False)
        if not self._after:
            self._count = files.count(self._lane)
        rows = files.page(self._lane, self._after, PAGE_FILES + 1)
        page = page_of(rows)
        found = [(each.path, self._finding(each)) for each in page]
        changed = [
            (path, finding) for path, finding in found if files.finding(self._lane, path) != finding
        ]
        if changed:
            with self._journal.transaction(durable=False):
                for path, finding in changed:
                    if finding is None:
                        files.acquitted(self._lane, (path,))
                    else:
                        files.found(self._lane, finding)
        ended = len(page) == len(rows)
        return _Page(len(page), "" if ended else page[-1].path, ended, bool(changed))

    def _finding(self, written: WrittenFile) -> DriftFinding | None:
        try:
            look = self._files.look(written.path, written.size)
        except EffectFailedError as failed:
            return DriftFinding(written.path, "kind", str(failed))
        return finding_of(written, look, self._files.owned_by(written.owner))

    def _fill(self, units: tuple[str, ...]) -> None:
        """Note the files of some units as they stand: nobody knows who wrote them so.

        An agent that was upgraded with its journal may render other bytes than stand there, and
        that is no drift.
        """
        written = [
            self._as_it_stands(unit, effect)
            for unit in units
            for effect in ours(self._anew.plan(unit)).values()
        ]
        with self._journal.transaction(durable=False):
            self._journal.files.fill(self._lane, written, units[-1] if units else None)

    def _as_it_stands(self, unit: str, effect: WriteFile | Symlink) -> WrittenFile:
        if isinstance(effect, Symlink):
            return WrittenFile(effect.path, (unit,), wanted(effect), 0, 0, "agent")
        image = self._files.image(effect.path)
        if not isinstance(image, FileImage):
            size, looks = len(effect.content), wanted(effect)
        else:
            size, looks = len(image.content), seen(image)
        return WrittenFile(effect.path, (unit,), looks, size, effect.mode, effect.owner)


def _jitter() -> float:
    return random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
