"""What boxes say that a change would do to them: asked once its dry run was rolled back.

While a box is asked no row is locked and no connection taken. A box that cannot say delays nobody
for longer than `SECONDS`, and its answer is in words that it is not known.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from controller.fleet.committed import Committed, Pending, ServerChange
from controller.fleet.loading import Inline
from controller.fleet.questions import NoAnswerError
from controller.storage.database import Transaction
from controller.storage.key_file import SecretError
from node_agent.wire.codec import printable
from node_agent.wire.questions import (
    LONGEST_TEXT,
    MOST_DIFFERENCES,
    MOST_EFFECTS,
    MOST_PREVIEW_BYTES,
    MOST_PREVIEW_FILES,
    MOST_PREVIEW_LINES,
    MOST_PREVIEWED,
    MOST_PREVIEWED_BYTES,
    AnyAsk,
    AnyFound,
    AskPreview,
    Declined,
    Preview,
    PreviewedFile,
    PreviewedObject,
)

SECONDS = 5.0
"""All lanes of one box must have answered within this; boxes are asked side by side."""
MOST_LANES = 64
"""Lanes that are asked for one change, at most."""
MOST_SHOWN = 4 * 1024 * 1024
"""Characters of all lines of one answer, at most: it is encoded, and read, as a whole."""
LONGEST_LINE, LONGEST_WORDS = 2100, 1000
"""Characters kept of a line of a diff, and of what is said of a file or object."""
SERIALS = "zone serials are those of this moment: the change itself draws later ones"
NUMBERS = "the folder of a new site has the next number: the change itself draws a later one"
BEHIND = "the box is behind: what is on its way to it is not in these differences"
MAINTENANCE = "the box is in maintenance: it does this once that ends"
TOO_MUCH = "too much changes on too many servers: the lines of this one are not shown"
_STANDS = {
    "held": "it is held on the box",
    "ahead": "the lane is ahead: hsctl lserver recover settles that first",
}


class Boxes(Protocol):
    """Who asks boxes; see `controller.fleet.fleet.Fleet.ask`."""

    async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
        """Ask a box (its id) a question; raises `NoAnswerError`."""


@attrs.frozen
class Concerned:
    """A lane that a change would have sent objects; ``unasked`` says why it cannot be asked."""

    server: str
    server_name: str
    box: str
    box_name: str
    objects: tuple[PreviewedObject, ...] = attrs.field(repr=False)
    notes: tuple[str, ...] = ()
    unasked: str = ""


@attrs.frozen
class FileDifference:
    """A file, link or directory that would look otherwise; see `PreviewedFile`.

    ``lines`` are a unified diff, and ``mode`` is octal, as `chmod` takes it.
    """

    path: str
    action: str
    kind: str
    mode: str
    owner: str
    target: str
    words: str
    lines: tuple[str, ...]
    cut: bool


@attrs.frozen
class Refused:
    """An object that the box would not apply, and why."""

    kind: str
    key: str
    outcome: str
    words: str


@attrs.frozen
class LaneDifferences:
    """What would change on one lane, in the box's own words; not ``known``: ``words`` say why.

    ``effects`` stand in the order in which they would be done.
    """

    logical_server: str
    box: str
    known: bool
    words: tuple[str, ...]
    files: tuple[FileDifference, ...] = ()
    effects: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    cut: bool = False


_LANES = """
SELECT l.logical_server_id::text, s.name, b.id::text, b.name, l.stored_revision, l.condition,
       b.intent = 'maintenance'
FROM lane l JOIN box b ON b.id = l.box_id JOIN logical_server s ON s.id = l.logical_server_id
WHERE l.logical_server_id = ANY(%s::uuid[]) ORDER BY s.name, b.name
"""


@attrs.frozen
class Differences:
    """Asks the boxes that a dry run touched. ``inline`` puts secrets into specifications."""

    boxes: Boxes
    clock: IReactorTime
    inline: Inline

    async def concerned(
        self, tx: Transaction, change: Committed, added: Collection[tuple[str, str]]
    ) -> tuple[Concerned, ...]:
        """Give the lanes of a change and what they would be sent, before it is rolled back.

        ``added`` are the objects, by kind and key, that are new.
        """
        servers = {each.server: each for each in change.servers}
        rows = await tx.rows(_LANES, (list(servers),))
        sent: dict[str, tuple[tuple[PreviewedObject, ...], tuple[str, ...], str]] = {}
        found: list[Concerned] = []
        for server, name, box, box_name, stored, condition, maintenance in rows:
            if len(found) >= MOST_LANES:
                # Nobody asks them, and rows are locked while secrets are opened.
                found.append(Concerned(server, name, box, box_name, ()))
                continue
            if server not in sent:
                sent[server] = await self._sent(tx, servers[server], added)
            objects, notes, unasked = sent[server]
            if stored < servers[server].before:
                notes = (*notes, BEHIND)
            if maintenance:
                notes = (*notes, MAINTENANCE)
            why = _STANDS.get(condition, unasked)
            found.append(Concerned(server, name, box, box_name, objects, notes, why))
        return tuple(found)

    async def _sent(
        self, tx: Transaction, change: ServerChange, added: Collection[tuple[str, str]]
    ) -> tuple[tuple[PreviewedObject, ...], tuple[str, ...], str]:
        """Give objects as they would be sent, what is said of them, and why they cannot be."""
        kept = list(_fitting(change.objects))
        left = len(change.objects) - len(kept)
        notes = [f"{left} of {len(change.objects)} objects are too many to be asked for"] * (
            left > 0
        )
        objects = []
        for pending in kept:
            spec = pending.spec
            if spec is not None and pending.secrets:
                try:
                    spec = await self.inline(tx, spec, pending.secrets)
                except SecretError as error:
                    return (), (), f"a secret cannot be opened: {error}"
            objects.append(
                PreviewedObject(
                    pending.kind, pending.key, pending.kind_version, spec, pending.requires
                )
            )
        if any(map(_draws_serial, kept)):
            notes.append(SERIALS)
        if any(each.kind == "site" and (each.kind, each.key) in added for each in kept):
            notes.append(NUMBERS)
        return tuple(objects), tuple(notes), "" if objects else "its objects are too large to ask"

    async def ask(self, lanes: Sequence[Concerned]) -> tuple[LaneDifferences, ...]:
        """Ask all lanes what would change; boxes side by side, the lanes of one in turn."""
        asked = lanes[:MOST_LANES]
        by_box: dict[str, list[Concerned]] = {}
        for lane in asked:
            by_box.setdefault(lane.box, []).append(lane)
        answers = await gatherResults(
            [Deferred.fromCoroutine(self._ask_box(of_box)) for of_box in by_box.values()],
            consumeErrors=True,
        )
        found = {(told.box, told.logical_server): told for answer in answers for told in answer}
        rest = (
            _unknown(lane, "too many servers are touched to ask all") for lane in lanes[MOST_LANES:]
        )
        return (*_within(found[lane.box_name, lane.server_name] for lane in asked), *rest)

    async def _ask_box(self, lanes: Sequence[Concerned]) -> list[LaneDifferences]:
        end = self.clock.seconds() + SECONDS
        return [await self._ask_lane(lane, end) for lane in lanes]

    async def _ask_lane(self, lane: Concerned, end: float) -> LaneDifferences:
        left = end - self.clock.seconds()
        why = lane.unasked or ("" if left > 0 else f"no answer within {SECONDS:g} seconds")
        if why:
            return _unknown(lane, why)
        ask = AskPreview(lane=lane.server, objects=lane.objects)
        try:
            return _read(lane, await self.boxes.ask(lane.box, ask, left))
        except NoAnswerError as error:
            return _unknown(lane, str(error))


def _fitting(objects: Sequence[Pending]) -> Iterator[Pending]:
    size = 0
    for each in objects[:MOST_PREVIEWED]:
        size += len(each.spec or b"")
        if size > MOST_PREVIEWED_BYTES:
            return
        yield each


def _draws_serial(pending: Pending) -> bool:
    spec = None if pending.spec is None else msgspec.msgpack.decode(pending.spec)
    return isinstance(spec, dict) and "serial" in spec


def _unknown(lane: Concerned, why: str) -> LaneDifferences:
    words = (f"{lane.box_name}: {why}; its differences are not known",)
    return LaneDifferences(lane.server_name, lane.box_name, False, words)


def _read(lane: Concerned, found: AnyFound) -> LaneDifferences:
    if isinstance(found, Preview):
        return _told(lane, found)
    if isinstance(found, Declined):
        return _unknown(lane, printable(found.words, LONGEST_WORDS) or "it declined to say")
    return _unknown(lane, "it answered something else")


def _told(lane: Concerned, found: Preview) -> LaneDifferences:
    """Take a box's answer as it may be shown: bounded again, and printable (S8, S13)."""
    notes = list(lane.notes)
    if found.pending > 0:
        notes.append(f"{found.pending} objects that it holds already are not applied yet")
    files = tuple(_files(found.files[:MOST_PREVIEW_FILES]))
    effects = tuple(printable(each, LONGEST_TEXT) for each in found.effects[:MOST_EFFECTS])
    refused = tuple(
        Refused(
            printable(each.kind, LONGEST_TEXT),
            printable(each.key, LONGEST_TEXT),
            each.outcome,
            printable(each.words, LONGEST_WORDS),
        )
        for each in found.refused[:MOST_PREVIEWED]
    )
    left_out = len(files) < len(found.files) or len(effects) < len(found.effects)
    return LaneDifferences(
        lane.server_name,
        lane.box_name,
        True,
        tuple(notes),
        files,
        effects,
        refused,
        found.cut or left_out,
    )


def _files(files: Sequence[PreviewedFile]) -> Iterator[FileDifference]:
    left, size = MOST_PREVIEW_LINES, MOST_PREVIEW_BYTES
    for each in files:
        lines = each.lines[: min(left, MOST_DIFFERENCES)]
        weight = sum(min(len(line), LONGEST_LINE) for line in lines)
        if weight > size:
            lines, weight = (), 0
        left, size = left - len(lines), size - weight
        yield FileDifference(
            path=printable(each.path, LONGEST_WORDS),
            action=each.action,
            kind=each.kind,
            mode=f"{each.mode & 0o7777:04o}",
            owner=printable(each.owner, LONGEST_TEXT),
            target=printable(each.target, LONGEST_WORDS),
            words=printable(each.words, LONGEST_WORDS),
            lines=tuple(_line(line) for line in lines),
            cut=each.cut or len(lines) < len(each.lines),
        )


def _within(lanes: Iterable[LaneDifferences]) -> Iterator[LaneDifferences]:
    """Show the lines of as many lanes as one answer may have, and say of the others that not."""
    left = MOST_SHOWN
    for lane in lanes:
        size = sum(len(line) for file in lane.files for line in file.lines)
        if size > left:
            yield _without_lines(lane)
            continue
        left -= size
        yield lane


def _without_lines(lane: LaneDifferences) -> LaneDifferences:
    files = (attrs.evolve(each, lines=(), cut=each.cut or bool(each.lines)) for each in lane.files)
    return attrs.evolve(lane, files=tuple(files), words=(*lane.words, TOO_MUCH), cut=True)


def _line(line: str) -> str:
    """Give a line of a diff: a tab stays, because the file has it."""
    return "\t".join(printable(part, LONGEST_LINE) for part in line[:LONGEST_LINE].split("\t"))
