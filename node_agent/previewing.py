"""What a lane would do if objects came now: planned by what plans its rounds, and then not done.

Rounds are thought through one after the other, each on top of the one before, because some objects
wait for others. Nothing is stored, written, started or sent for it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
import msgspec

from node_agent.box.interface import LaneFiles
from node_agent.choosing import Chooser
from node_agent.effect_words import check_words, control_words, file_words
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.file_preview import FilePreview
from node_agent.foreseen import Foreseen
from node_agent.journal import Journal
from node_agent.planning import Refusal, Step
from node_agent.records import StoredObject, Verdict
from node_agent.wire.codec import printable
from node_agent.wire.questions import (
    LONGEST_TEXT,
    MOST_EFFECTS,
    MOST_PREVIEW_BYTES,
    MOST_PREVIEW_FILES,
    MOST_PREVIEW_LINES,
    MOST_PREVIEWED,
    MOST_PREVIEWED_BYTES,
    Preview,
    PreviewedFile,
    PreviewedObject,
    PreviewedRefusal,
)
from templates.effects import FileEffect
from templates.objects import ObjectId
from templates.service_type import SERVER_ID, LaneContext, ServiceType

LONGEST_REFUSAL = 1000
UNENDED = "it has yet to end what it had begun: ask again in a moment"
_ROUNDS = 2 * MOST_PREVIEWED
"""Rounds that are thought through, at most: each settles or judges one object at least."""


@attrs.frozen
class _Thought:
    """One round: the steps it would do."""

    steps: tuple[Step, ...]
    first: bool
    """Whether the logical server had no configuration before it: its daemon would start."""


@attrs.frozen
class Previews:
    """Previews of one lane. ``held_back`` names files that are kept from a step by the policy."""

    lane: str
    service_type: ServiceType
    journal: Journal
    files: LaneFiles
    context_of: Callable[[object], LaneContext]
    refusal: Refusal
    held_back: Callable[[Step], str]

    def preview(self, objects: Sequence[PreviewedObject]) -> Preview:
        """Think the objects through. Blocks.

        Raises `EffectFailedError` for too many of them, `BoxUnavailableError` where files stand as
        a round left them that has yet to be ended: they would pass for changed by hand.
        """
        if self.journal.entries.still_open(self.lane):
            raise BoxUnavailableError(UNENDED)
        size = sum(len(each.spec or b"") for each in objects)
        if len(objects) > MOST_PREVIEWED or size > MOST_PREVIEWED_BYTES:
            raise EffectFailedError(
                f"{len(objects)} objects of {size} bytes are too many for a preview"
            )
        rounds, verdicts = self._rounds(tuple(map(_stored, objects)))
        board = FilePreview(self.files, lambda path: self.journal.files.find(self.lane, path))
        effects = [words for each in rounds for words in self._effects(each, board)]
        files, cut = _bounded(board.files())
        return Preview(
            files=files,
            effects=tuple(printable(each, LONGEST_TEXT) for each in effects[:MOST_EFFECTS]),
            refused=tuple(map(_refusal, verdicts)),
            pending=self.journal.unapplied(self.lane),
            cut=cut or len(effects) > MOST_EFFECTS,
        )

    def _rounds(self, wanted: tuple[StoredObject, ...]) -> tuple[list[_Thought], list[Verdict]]:
        thought = Foreseen(self.journal.applied, wanted)
        chooser = Chooser(
            self.lane,
            self.service_type,
            applied=thought,
            pending=thought.pending,
            context_of=self.context_of,
            refusal=self.refusal,
        )
        rounds: list[_Thought] = []
        judged: dict[ObjectId, Verdict] = {}
        for _ in range(_ROUNDS):
            chooser.read_server()
            steps, verdicts = chooser.window()
            done: list[Step] = []
            for step in steps:
                if words := self.held_back(step):
                    verdicts += [Verdict(change.after, "held", words) for change in step.changes]
                else:
                    done.append(step)
            judged |= {each.object.id: each for each in verdicts}
            thought.give_up(each.object.id for each in verdicts if each.outcome != "waiting")
            for step in done:
                thought.settle(step.changes)
            if done:
                rounds.append(_Thought(tuple(done), chooser.server is None))
            elif all(each.outcome == "waiting" for each in verdicts):
                break
        applied = {change.id for each in rounds for step in each.steps for change in step.changes}
        return rounds, [each for id, each in judged.items() if id not in applied]

    # --- in words ---

    def _effects(self, thought: _Thought, board: FilePreview) -> Iterator[str]:
        """Name what a round does, as the engine goes about it."""
        quick = [step for step in thought.steps if step.quick]
        heavy = [step for step in thought.steps if not step.quick]
        for step in quick:
            yield from _of_files(step.plan.files, board)
        for step in quick:
            yield from map(control_words, step.plan.control)
        for step in heavy:
            yield from map(check_words, step.plan.checks)
        for step in heavy:
            yield from _of_files(step.plan.files, board)
        yield from self._activation(heavy, first=thought.first)
        for step in thought.steps:
            yield from _of_files(step.plan.retire, board)

    def _activation(self, heavy: Sequence[Step], *, first: bool) -> Iterator[str]:
        program = self.service_type.daemon.program
        changes = [change for step in heavy for change in step.changes]
        if any(change.id == SERVER_ID and change.spec is None for change in changes):
            yield f"stop {program}"
            return
        if first and changes:
            yield f"start {program}"
        for step in heavy:
            yield from map(control_words, step.plan.control)
        if first:
            return
        if any(step.plan.restart for step in heavy):
            yield f"restart {program}"
        elif any(step.plan.reload for step in heavy):
            graceful = self.service_type.daemon.reload != "control"
            yield f"reload {program}{' gracefully' if graceful else ''}"


def _of_files(effects: Iterable[FileEffect], board: FilePreview) -> Iterator[str]:
    return (file_words(effect) for effect in effects if board.apply(effect))


def _stored(each: PreviewedObject) -> StoredObject:
    needs = tuple(ObjectId(kind, key) for kind, key in each.requires)
    return StoredObject(ObjectId(each.kind, each.key), 0, each.kind_version, each.spec, needs)


def _refusal(verdict: Verdict) -> PreviewedRefusal:
    id, words = verdict.object.id, printable(verdict.message, LONGEST_REFUSAL)
    return PreviewedRefusal(id.kind, id.key, verdict.outcome, words)  # type: ignore[arg-type]


def _bounded(files: Iterable[PreviewedFile]) -> tuple[tuple[PreviewedFile, ...], bool]:
    """Take as many files as one answer may show; of the last lines only as many as fit."""
    kept: list[PreviewedFile] = []
    lines, size = MOST_PREVIEW_LINES, MOST_PREVIEW_BYTES
    for each in files:
        if len(kept) == MOST_PREVIEW_FILES:
            return tuple(kept), True
        weight = sum(len(line.encode()) for line in each.lines)
        if len(each.lines) > lines or weight > size:
            words = "; ".join(filter(None, (each.words, "there are too many lines to be shown")))
            kept.append(_without_lines(each, words))
            continue
        lines, size = lines - len(each.lines), size - weight
        kept.append(each)
    return tuple(kept), False


def _without_lines(file: PreviewedFile, words: str) -> PreviewedFile:
    return msgspec.structs.replace(file, lines=(), cut=True, words=words)
