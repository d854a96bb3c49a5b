"""Journal entries of one lane: begun, undone, settled, found again after a crash.

An entry holds what one step needs to be undone: the images of the paths it touches and the control
effects that take it back. Everything here blocks and is made on the worker thread.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Literal

import attrs
import msgspec

from node_agent.box.interface import AnyImage, LaneFiles
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.journal import AppliedObject, Entry, Journal, Removed, Verdict
from node_agent.planning import Change, Step
from templates.effects import ControlEffect, MakeDirectory, RemovePath, WriteFile
from templates.objects import ObjectId

Point = Literal[
    "stored",
    "journalled",
    "staged",
    "checked",
    "swapped",
    "controlled",
    "reloaded",
    "probed",
    "settled",
    "retired",
    "undone",
    "files-recovered",
    "recovered",
]
"""The steps between which a crash may fall; the fault tests kill the agent after each."""


def pass_by(point: Point) -> None:
    """Let every point pass: nobody wants a crash here."""


class Undo(msgspec.Struct, frozen=True):
    """The body of an open entry: everything that takes the step back."""

    objects: tuple[tuple[str, str, int], ...]
    images: tuple[tuple[str, AnyImage], ...]
    candidates: tuple[str, ...]
    scratch: tuple[str, ...]
    inverse: tuple[ControlEffect, ...]
    reload: bool


_undo = msgspec.msgpack.Decoder(Undo)
_retire = msgspec.msgpack.Decoder(tuple[RemovePath, ...])
_encode = msgspec.msgpack.Encoder().encode


@attrs.frozen
class Opened:
    """A step whose entry is in the journal."""

    entry: int
    step: Step
    undo: Undo


@attrs.frozen
class Leftover:
    """An entry of a former life and what takes it back."""

    entry: int
    undo: Undo


class Entries:
    """The entries of one lane."""

    def __init__(
        self, lane: str, journal: Journal, files: LaneFiles, at: Callable[[Point], None]
    ) -> None:
        self._lane = lane
        self._journal = journal
        self._files = files
        self._at = at

    def open(self, step: Step) -> Opened:
        """Read the before-images and write the entry, within the caller's transaction."""
        undo = Undo(
            objects=tuple((c.id.kind, c.id.key, c.after.revision) for c in step.changes),
            images=tuple((path, self._files.image(path)) for path in _touched(step)),
            candidates=tuple(each.path for each in _written(step)),
            scratch=scratch_paths(step),
            inverse=step.inverse,
            reload=step.plan.reload or step.plan.restart,
        )
        return Opened(self._journal.open_entry(self._lane, "apply", _encode(undo)), step, undo)

    def stage(self, opened: Sequence[Opened]) -> dict[int, str]:
        """Write the candidates of all steps; give the entries refused, with the words.

        Directories are made here already: a checker that reads a candidate may need them.
        """
        failures: dict[int, str] = {}
        try:
            self._files.commit(tuple(each for one in opened for each in _directories(one.step)))
            self._files.stage(tuple(each for one in opened for each in _written(one.step)))
        except EffectFailedError:
            for one in opened:
                try:
                    self._files.commit(_directories(one.step))
                    self._files.stage(_written(one.step))
                except EffectFailedError as failed:
                    failures[one.entry] = str(failed)
        self._at("staged")
        return failures

    def swap(self, opened: Sequence[Opened]) -> dict[int, str]:
        """Rename the candidates into place; give the entries that were refused."""
        failures: dict[int, str] = {}
        for one in opened:
            try:
                self._files.commit(one.step.plan.files)
            except EffectFailedError as failed:
                failures[one.entry] = str(failed)
        self._at("swapped")
        return failures

    def put_back(self, undos: Iterable[Undo]) -> None:
        """Restore the files of these steps, given in the order they were done."""
        for undo in reversed(tuple(undos)):
            for path, image in reversed(undo.images):
                self._files.restore(path, image)
            self._files.discard(undo.candidates)
            for path in undo.scratch:
                self._files.remove(path)

    def settle(
        self, done: Sequence[Opened], undone: Iterable[int], verdicts: Sequence[Verdict]
    ) -> None:
        """Close the round: names made durable, what is served written, what is useless removed.

        Losing the commit of a round without retired files only repeats it, so it does not wait for
        the disk. Where files are retired, it does: after that there is no way back.
        """
        retiring = [one for one in done if one.step.plan.retire]
        if done:
            self._files.sync(tuple(path for one in done for path, _ in one.undo.images))
        retired: list[int] = []
        with self._journal.transaction(durable=bool(retiring)):
            for one in done:
                self._journal.settle(self._lane, [_served(each) for each in one.step.changes])
            self._journal.judge(self._lane, verdicts)
            self._journal.close_entries([*(one.entry for one in done), *undone])
            for one in retiring:
                body = _encode(one.step.plan.retire)
                retired.append(self._journal.open_entry(self._lane, "retire", body))
        self._at("settled")
        if retired:
            self._retire(retired, [path for one in retiring for path in one.step.plan.retire])

    def leftovers(self) -> tuple[Leftover, ...]:
        """Finish what a former life was retiring, and give the steps it left open, oldest first."""
        found: list[Leftover] = []
        for entry in self._journal.open_entries(self._lane):
            if entry.phase == "retire":
                self._retire([entry.id], _retire.decode(entry.body))
            else:
                found.append(_leftover(entry))
        return tuple(found)

    def close(self, ids: Sequence[int]) -> None:
        """Delete entries that were undone."""
        with self._journal.transaction(durable=False):
            self._journal.close_entries(ids)

    def _retire(self, ids: Sequence[int], effects: Iterable[RemovePath]) -> None:
        for effect in effects:
            # Nothing refers to the file any more; one that cannot be removed harms nobody.
            with suppress(EffectFailedError):
                self._files.commit((effect,))
        self._at("retired")
        with suppress(BoxUnavailableError):
            self.close(ids)


def objects_of(undo: Undo) -> tuple[ObjectId, ...]:
    """Name the objects of a step."""
    return tuple(ObjectId(kind, key) for kind, key, _ in undo.objects)


def _leftover(entry: Entry) -> Leftover:
    return Leftover(entry.id, _undo.decode(entry.body))


def _directories(step: Step) -> tuple[MakeDirectory, ...]:
    return tuple(each for each in step.plan.files if isinstance(each, MakeDirectory))


def _written(step: Step) -> tuple[WriteFile, ...]:
    return tuple(each for each in step.plan.files if isinstance(each, WriteFile))


def _touched(step: Step) -> tuple[str, ...]:
    """Name the paths to be put back, in the order in which they are changed."""
    theirs = {e.path for e in step.plan.files if isinstance(e, WriteFile) and e.only_if_absent}
    return tuple(dict.fromkeys(each.path for each in step.plan.files if each.path not in theirs))


def scratch_paths(step: Step) -> tuple[str, ...]:
    """Name the files that live only during the step's checks."""
    return tuple(each.path for each in step.plan.scratch)


def _served(change: Change) -> AppliedObject | Removed:
    after = change.after
    if after.spec is None or change.unit is None:
        return Removed(after.id, after.revision)
    return AppliedObject(
        after.id, after.revision, after.kind_version, after.spec, change.unit, after.requires
    )
