"""Journal entries of one lane: begun, undone, settled, found again after a crash.

An entry holds what one step needs to be undone: the images of the paths it touches and the control
effects that take it back. Everything here blocks and is made on the worker thread.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import attrs
import msgspec

from node_agent import looks
from node_agent.box.interface import AnyImage, LaneFiles
from node_agent.drift import finding_of
from node_agent.effects.failures import EffectFailedError
from node_agent.journal import Journal
from node_agent.planning import Step
from node_agent.records import AppliedObject, Removed, StoredObject, Verdict, WrittenFile
from templates.effects import (
    ControlEffect,
    FileEffect,
    MakeDirectory,
    RemovePath,
    Symlink,
    WriteFile,
)
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
    "remembered",
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
    """The body of an open entry: everything that takes the step back.

    ``units``, ``after`` and ``retire`` are for a step that was live when the agent ended: the unit
    of each object (empty: removed), what each path must look like, and what goes afterwards.
    ``files`` and ``gone`` are what is known from then on of the files that are ours.
    """

    objects: tuple[tuple[str, str, int], ...]
    images: tuple[tuple[str, AnyImage], ...]
    candidates: tuple[str, ...]
    scratch: tuple[str, ...]
    inverse: tuple[ControlEffect, ...]
    reload: bool
    units: tuple[str, ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    retire: tuple[RemovePath, ...] = ()
    files: tuple[WrittenFile, ...] = ()
    gone: tuple[RemovePath, ...] = ()


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
        last = {each.path: each for each in _ours(step)}
        after = {path: looks.wanted(each) for path, each in last.items()}
        undo = Undo(
            objects=tuple((c.id.kind, c.id.key, c.after.revision) for c in step.changes),
            images=tuple((path, self._files.image(path)) for path in _touched(step)),
            candidates=tuple(each.path for each in _written(step)),
            scratch=scratch_paths(step),
            inverse=step.inverse,
            reload=step.reloads,
            units=tuple(change.unit or "" for change in step.changes),
            after=tuple(after.items()),
            retire=step.plan.retire,
            files=_files_of(step, last.values(), after),
            gone=(*(e for e in last.values() if isinstance(e, RemovePath)), *step.plan.retire),
        )
        return Opened(self._journal.entries.open(self._lane, "apply", _encode(undo)), step, undo)

    def changed_by_others(self, step: Step) -> tuple[str, ...]:
        """Name the files of ours that the step would write or remove and that look otherwise."""
        paths = dict.fromkeys((*_touched(step), *(each.path for each in step.plan.retire)))
        known = (self._journal.files.find(self._lane, path) for path in paths)
        return tuple(each.path for each in known if each is not None and self._drifted(each))

    def _drifted(self, written: WrittenFile) -> bool:
        look = self._files.look(written.path, written.size)
        return finding_of(written, look, self._files.owned_by(written.owner)) is not None

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

    def remember(self, done: Sequence[Opened]) -> None:
        """Note that these are live, before anybody is told: what was told is not taken back.

        Not durable: after a power cut the daemon begins anew as well.
        """
        with self._journal.transaction(durable=False):
            self._journal.entries.mark_live(one.entry for one in done)
        self._at("remembered")

    def settle(
        self, done: Sequence[Opened], undone: Iterable[int], verdicts: Sequence[Verdict]
    ) -> None:
        """Close the round: names made durable, what is served written, what is useless removed.

        Losing the commit of a round without retired files only repeats it, so it does not wait for
        the disk. Where files are retired, it does: after that there is no way back.

        Raises `DiskFullError`; nothing may be begun then before `leftovers` has looked.
        """
        retiring = [one for one in done if one.step.plan.retire]
        if done:
            self._files.sync(tuple(path for one in done for path, _ in one.undo.images))
        retired: list[int] = []
        with self._journal.transaction(durable=bool(retiring)):
            for one in done:
                self._journal.settle(
                    self._lane, [_served(c.after, c.unit or "") for c in one.step.changes]
                )
                self._journal.files.wrote(self._lane, one.undo.files, one.undo.gone)
            self._journal.judge(self._lane, verdicts)
            self._journal.entries.close([*(one.entry for one in done), *undone])
            for one in retiring:
                body = _encode(one.step.plan.retire)
                retired.append(self._journal.entries.open(self._lane, "retire", body))
        self._at("settled")
        if retired:
            self._retire(retired, [path for one in retiring for path in one.step.plan.retire])

    def leftovers(self) -> tuple[Leftover, ...]:
        """Finish what a former life was retiring or had live; give the others, oldest first."""
        begun: list[Leftover] = []
        live: list[Leftover] = []
        undone: list[int] = []
        claimed: set[object] = set()
        for entry in reversed(self._journal.entries.still_open(self._lane)):
            if entry.phase == "retire":
                self._retire([entry.id], _retire.decode(entry.body))
                continue
            left = Leftover(entry.id, _undo.decode(entry.body))
            if entry.live and self._stands(left.undo, claimed):
                claimed |= _claims(left.undo)
                live.insert(0, left)
            elif claimed & _claims(left.undo):
                # A later step stands where this one was: it had been taken back before.
                undone.append(left.entry)
            else:
                begun.insert(0, left)
        if live:
            self._settle_live(live, undone)
        return tuple(begun)

    def _stands(self, undo: Undo, claimed: set[object]) -> bool:
        """Tell whether a step is in place: its files (those of later steps aside), its objects."""
        return all(
            path in claimed or looks.seen(self._files.image(path)) == wanted
            for path, wanted in undo.after
        ) and all(
            (stored := self._journal.desired(self._lane, ObjectId(kind, key))) is not None
            and stored.revision == revision
            for kind, key, revision in undo.objects
        )

    def _settle_live(self, live: Sequence[Leftover], undone: Sequence[int]) -> None:
        self._files.sync(tuple(path for one in live for path, _ in one.undo.images))
        with self._journal.transaction():
            for one in live:
                for (kind, key, _), unit in zip(one.undo.objects, one.undo.units, strict=True):
                    stored = self._journal.desired(self._lane, ObjectId(kind, key))
                    assert stored is not None, "looked at in _stands"
                    self._journal.settle(self._lane, [_served(stored, unit)])
                self._journal.files.wrote(self._lane, one.undo.files, one.undo.gone)
            self._journal.entries.close([*(one.entry for one in live), *undone])
            retired = [
                self._journal.entries.open(self._lane, "retire", _encode(one.undo.retire))
                for one in live
                if one.undo.retire
            ]
        self._at("settled")
        if retired:
            self._retire(retired, [path for one in live for path in one.undo.retire])

    def close(self, ids: Sequence[int]) -> None:
        """Delete entries that were undone."""
        with self._journal.transaction(durable=False):
            self._journal.entries.close(ids)

    def _retire(self, ids: Sequence[int], effects: Iterable[RemovePath]) -> None:
        """Remove what is useless. Raises `DiskFullError`; then `leftovers` has to end it."""
        effects = tuple(effects)
        for effect in effects:
            # Nothing refers to the file any more; one that cannot be removed harms nobody.
            with suppress(EffectFailedError):
                self._files.commit((effect,))
        self._files.sync(tuple(effect.path for effect in effects))
        self._at("retired")
        # An entry left open would be retired again one day, when another object has its file.
        self.close(ids)


def _claims(undo: Undo) -> set[object]:
    """Name everything that a step touches: paths and objects."""
    objects = ((kind, key) for kind, key, _ in undo.objects)
    return {*(path for path, _ in undo.images), *objects}


def objects_of(undo: Undo) -> tuple[ObjectId, ...]:
    """Name the objects of a step."""
    return tuple(ObjectId(kind, key) for kind, key, _ in undo.objects)


def _directories(step: Step) -> tuple[MakeDirectory, ...]:
    return tuple(each for each in step.plan.files if isinstance(each, MakeDirectory))


def _written(step: Step) -> tuple[WriteFile, ...]:
    return tuple(each for each in step.plan.files if isinstance(each, WriteFile))


def _ours(step: Step) -> list[FileEffect]:
    """Give the effects on files but those that belong to others once they are there."""
    return [
        each
        for each in step.plan.files
        if not (isinstance(each, WriteFile) and each.only_if_absent)
    ]


def _touched(step: Step) -> tuple[str, ...]:
    """Name the paths to be put back, in the order in which they are changed."""
    return tuple(dict.fromkeys(each.path for each in _ours(step)))


def _files_of(
    step: Step, last: Iterable[FileEffect], after: Mapping[str, str]
) -> tuple[WrittenFile, ...]:
    """Say of each file and link that the step leaves how it must look."""
    units = dict.fromkeys(unit for change in step.changes for unit in change.units)
    names = tuple(units) or (step.plan.unit,)
    return tuple(
        WrittenFile(
            each.path,
            names,
            after[each.path],
            len(each.content) if isinstance(each, WriteFile) else 0,
            each.mode if isinstance(each, WriteFile) else 0,
            each.owner if isinstance(each, WriteFile) else "agent",
        )
        for each in last
        if isinstance(each, WriteFile | Symlink)
    )


def scratch_paths(step: Step) -> tuple[str, ...]:
    """Name the files that live only during the step's checks."""
    return tuple(each.path for each in step.plan.scratch)


def _served(stored: StoredObject, unit: str) -> AppliedObject | Removed:
    if stored.spec is None:
        return Removed(stored.id, stored.revision)
    return AppliedObject(
        stored.id, stored.revision, stored.kind_version, stored.spec, unit, stored.requires
    )
