"""Steps behind a checker and a reload: candidates alone, one full check, one coalesced reload.

Bad objects are found by halving at the checks, which costs no reload. When the daemon is not well
after a reload, everything is put back at once; then at most `SEARCH_RELOADS` more reloads are spent
on finding the culprit, and what is still under suspicion is held.
"""

from collections.abc import Sequence
from itertools import chain

from node_agent.effects.failures import (
    BlockedError,
    BoxUnavailableError,
    EffectFailedError,
    NotFinishedError,
)
from node_agent.entries import Opened, scratch_paths
from node_agent.planning import Change
from node_agent.round import Round
from templates.overrides import blamed
from templates.service_type import SERVER_ID

SEARCH_RELOADS = 3
"""Live reloads that may be spent on finding a bad object."""
CHECKERS = 2
"""Checkers that run side by side."""


class HeavySteps:
    """The heavy part of one round."""

    def __init__(self, work: Round) -> None:
        self._work = work
        self._reloads_left = SEARCH_RELOADS
        self._known_good = False

    async def run(self, opened: list[Opened]) -> None:
        """Make them live, or judge them."""
        if opened:
            await self._live(await self._admit(opened))

    # --- before anything is live ---

    async def _admit(self, opened: list[Opened]) -> list[Opened]:
        """Check each candidate alone, swap, check the whole; give the steps that stand in place."""
        work = self._work
        failures = await work.blocking(lambda: work.entries.stage(opened))
        failures |= await work.act(
            [one for one in opened if one.entry not in failures],
            self._check_candidate,
            limit=CHECKERS,
        )
        work.at("checked")
        good = [one for one in opened if one.entry not in failures]
        bad = [one for one in opened if one.entry in failures]
        await work.undo(bad)
        if bad:
            await self._blame()
        admitted = await self._swap(good)
        for one in bad:
            for half in work.halves(one.step.changes, failures[one.entry]):
                admitted += await self._admit(await work.reopen(half))
        return admitted

    async def _check_candidate(self, one: Opened) -> None:
        work = self._work
        if one.step.plan.scratch:
            await work.blocking(lambda: work.box.files.scratch(one.step.plan.scratch))
        refused: EffectFailedError | None = None
        for check in one.step.plan.checks:
            try:
                await work.box.check(check)
            except EffectFailedError as failed:
                refused = failed
                break
        for path in scratch_paths(one.step):
            await work.blocking(lambda path=path: work.box.files.remove(path))  # type: ignore[misc]
        if refused is not None:
            raise refused

    async def _swap(self, opened: list[Opened]) -> list[Opened]:
        if not opened:
            return []
        work = self._work
        failures = await work.blocking(lambda: work.entries.swap(opened))
        words = next(iter(failures.values()), "")
        if not words and any(map(_concerns_daemon, opened)):
            words = await self._full_check(opened)
        if not words:
            return opened
        await work.undo(opened)
        await self._blame()
        admitted: list[Opened] = []
        for half in work.halves(_changes(opened), words):
            admitted += await self._admit(await work.reopen(half))
        return admitted

    async def _full_check(self, opened: Sequence[Opened]) -> str:
        """Check what a cold restart would read; give the checker's words, empty for good."""
        work = self._work
        server = next((c.spec for c in _changes(opened) if c.id == SERVER_ID), None)
        context = work.context if server is None else work.context_of(server)
        try:
            await work.box.check(work.service_type.daemon.check(context))
        except EffectFailedError as refused:
            return str(refused)
        return ""

    async def _blame(self) -> None:
        """Before an object is blamed: what is in place must be accepted by the same checker."""
        work = self._work
        if self._known_good or not work.has_server:
            return
        words = await self._full_check(())
        if words:
            if blamed(words, work.context.root):
                raise BlockedError(f"an operator's override file is refused: {words}")
            raise BlockedError(f"the configuration in place is refused as well: {words}")
        self._known_good = True

    # --- live ---

    async def _live(self, admitted: list[Opened]) -> None:
        """Make the daemon serve them and probe; take back what is not answered as it should be."""
        if not admitted:
            return
        work = self._work
        try:
            await self._activate(admitted)
        except NotFinishedError:
            raise  # it hangs, or takes its time: whatever it was told
        except (EffectFailedError, BoxUnavailableError) as failed:
            await work.undo(admitted, self._revive)
            await self._search(_changes(admitted), str(failed))
            return
        failures = await work.act(admitted, work.probe)
        work.at("probed")
        if not failures:
            harm = await work.bystanders.harmed()
            if harm:
                await self._undo_harm(admitted, harm)
                return
            for one in admitted:
                work.finish(one)
            return
        await work.baseline()
        back = _with_later_neighbours(admitted, failures)
        for one in admitted:
            if one not in back:
                work.finish(one)
        await work.undo(back, self._revive)
        for one in back:
            if one.entry in failures:
                await self._search(one.step.changes, failures[one.entry])
            else:
                await self._again(one.step.changes, "held beside an object that was refused")

    async def _undo_harm(self, admitted: list[Opened], harm: str) -> None:
        """Take back what others are not answered beside. Where they stay away it was not these."""
        await self._work.undo(admitted, self._revive)
        if await self._work.bystanders.harmed():
            self._work.excuse(harm)
        await self._search(_changes(admitted), harm)

    async def _activate(self, admitted: Sequence[Opened]) -> None:
        work = self._work
        changes = _changes(admitted)
        if any(map(_removes_server, changes)):
            await work.box.stop()
            return
        work.use_server(changes)
        alive = await work.box.running()
        if not alive or any(one.step.reloads for one in admitted):
            await work.mark()
        if alive and changes and any(one.step.reloads for one in admitted):
            await work.bystanders.look({unit for each in changes for unit in each.units})
        if not alive:
            await work.box.start()
        for effect in chain.from_iterable(one.step.plan.control for one in admitted):
            await work.box.control(effect)
            work.at("controlled")
        if alive and any(one.step.plan.restart for one in admitted):
            work.reloads.spend()
            await work.box.restart()
        elif alive and any(one.step.plan.reload for one in admitted):
            work.reloads.spend()
            await work.box.reload()
        work.at("reloaded")
        await work.baseline()

    async def _revive(self) -> None:
        """Bring the daemon back to what was in place before; raises `BoxUnavailableError`."""
        work = self._work
        try:
            if not work.has_server:
                await work.box.stop()
                return
            if await work.box.running():
                words = await self._full_check(())
                if words:
                    # It was broken by hand: a daemon that reads it ends, and this one serves.
                    raise BlockedError(f"what was put back is refused as well: {words}")
                work.reloads.spend()
                await work.box.reload()
            else:
                await work.box.start()
        except EffectFailedError as failed:
            raise BoxUnavailableError(f"the daemon does not come back: {failed}") from failed
        await work.baseline()

    async def _search(self, suspects: Sequence[Change], words: str) -> None:
        for half in self._work.halves(suspects, words):
            await self._again(
                half, f"held: the search ended after {SEARCH_RELOADS} reloads. {words}"
            )

    async def _again(self, changes: Sequence[Change], words: str) -> None:
        if self._reloads_left == 0:
            self._work.judge(changes, "held", words)
            return
        self._reloads_left -= 1
        await self._live(await self._admit(await self._work.reopen(changes)))


def _removes_server(change: Change) -> bool:
    return change.id == SERVER_ID and change.spec is None


def _concerns_daemon(one: Opened) -> bool:
    """Whether the daemon will read its whole configuration for this step."""
    if any(map(_removes_server, one.step.changes)):
        return False
    server = any(change.id == SERVER_ID for change in one.step.changes)
    return server or one.step.reloads


def _changes(opened: Sequence[Opened]) -> list[Change]:
    return [change for one in opened for change in one.step.changes]


def _with_later_neighbours(admitted: list[Opened], failures: dict[int, str]) -> list[Opened]:
    """Give the failed steps and those that were planned on top of them."""
    back: list[Opened] = []
    units: set[str] = set()
    for one in admitted:
        touched = {unit for change in one.step.changes for unit in change.units}
        if one.entry in failures or touched & units:
            back.append(one)
            units |= touched
    return back
