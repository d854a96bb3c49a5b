"""Asking boxes what would change: bounded in time and size, and what is not known is said."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from controller.fleet.differences import (
    LONGEST_LINE,
    MOST_LANES,
    MOST_SHOWN,
    SECONDS,
    TOO_MUCH,
    Concerned,
    Differences,
    LaneDifferences,
)
from controller.fleet.questions import BoxAwayError, NoAnswerError, Questions
from node_agent.wire.messages import Answer, Message, Question
from node_agent.wire.questions import (
    MOST_EFFECTS,
    MOST_PREVIEW_FILES,
    MOST_PREVIEW_LINES,
    MOST_PREVIEWED,
    AnyAsk,
    AnyFound,
    AskPreview,
    Declined,
    LogLines,
    Preview,
    PreviewedFile,
    PreviewedObject,
    PreviewedRefusal,
)

OBJECTS = (PreviewedObject("zone", "a.test", 1, b"spec"),)
NOTHING = Preview(files=(), effects=(), refused=(), pending=0, cut=False)


@attrs.define
class AskedBoxes:
    """Sessions whose boxes answer when the test says so."""

    clock: Clock = attrs.field(factory=Clock)
    sessions: dict[str, Questions] = attrs.field(factory=dict)
    asked: list[tuple[str, Question]] = attrs.field(factory=list)

    def connect(self, *boxes: str) -> None:
        for box in boxes:
            self.sessions[box] = Questions(self.clock, self._sender(box))

    def _sender(self, box: str) -> Any:
        def send(message: Message) -> None:
            assert isinstance(message, Question)
            self.asked.append((box, message))

        return send

    async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
        if box not in self.sessions:
            raise BoxAwayError("the box is not connected")
        return await self.sessions[box].ask(ask, seconds)

    def answer(self, number: int, found: AnyFound) -> None:
        box, question = self.asked[number]
        self.sessions[box].answered(Answer(id=question.id, found=found))


async def no_secrets(tx: Any, spec: bytes, ids: Any) -> bytes:
    raise AssertionError("nothing is read here")


def lane(box: str, server: str = "ns1", **more: Any) -> Concerned:
    return Concerned(server, f"{server}.test", box, box, OBJECTS, **more)


def begin(boxes: AskedBoxes, *lanes: Concerned) -> list[tuple[LaneDifferences, ...]]:
    told: list[tuple[LaneDifferences, ...]] = []
    differences = Differences(boxes, boxes.clock, no_secrets)
    Deferred.fromCoroutine(differences.ask(lanes)).addCallback(told.append)
    return told


def one(found: AnyFound, **more: Any) -> LaneDifferences:
    boxes = AskedBoxes()
    boxes.connect("b1")
    told = begin(boxes, lane("b1", **more))
    boxes.answer(0, found)
    return told[0][0]


def test_boxes_are_asked_side_by_side_and_the_lanes_of_one_in_turn() -> None:
    boxes = AskedBoxes()
    boxes.connect("b1", "b2")
    told = begin(boxes, lane("b1"), lane("b1", "web1"), lane("b2"))
    assert [(box, asked.ask) for box, asked in boxes.asked] == [
        ("b1", AskPreview(lane="ns1", objects=OBJECTS)),
        ("b2", AskPreview(lane="ns1", objects=OBJECTS)),
    ]
    boxes.answer(1, NOTHING)
    boxes.answer(0, NOTHING)
    boxes.answer(2, NOTHING)
    assert [(each.box, each.logical_server, each.known) for each in told[0]] == [
        ("b1", "ns1.test", True),
        ("b1", "web1.test", True),
        ("b2", "ns1.test", True),
    ]


def test_a_slow_box_delays_nobody_for_longer_than_its_time() -> None:
    boxes = AskedBoxes()
    boxes.connect("b1", "b2")
    told = begin(boxes, lane("b1"), lane("b1", "web1"), lane("b2"))
    boxes.answer(1, NOTHING)
    boxes.clock.advance(SECONDS - 0.1)
    assert told == []
    boxes.clock.advance(0.2)
    ((slow, second, good),) = told
    assert (slow.known, second.known, good.known) == (False, False, True)
    assert "did not answer within 5 seconds" in slow.words[0]
    assert second.words == ("b1: no answer within 5 seconds; its differences are not known",)


def test_a_box_that_is_away_is_named() -> None:
    boxes = AskedBoxes()
    ((away,),) = begin(boxes, lane("b1"))
    assert away.words == ("b1: the box is not connected; its differences are not known",)
    boxes.connect("b2")
    told = begin(boxes, lane("b2"))
    boxes.sessions["b2"].end()
    assert "ended before it answered" in told[0][0].words[0]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Declined(reason="failed", words="no\x1b[2J"), "b1: no\N{REPLACEMENT CHARACTER}[2J;"),
        (Declined(reason="failed", words=""), "b1: it declined to say;"),
        (LogLines(lines=("x",), cut=False), "b1: it answered something else;"),
    ],
)
def test_what_is_no_preview_is_not_known(found: AnyFound, words: str) -> None:
    told = one(found)
    assert not told.known
    assert told.words[0].startswith(words)


def test_a_lane_that_cannot_be_asked_is_not_asked() -> None:
    boxes = AskedBoxes()
    boxes.connect("b1")
    ((held,),) = begin(boxes, lane("b1", unasked="it is held on the box"))
    assert (held.known, boxes.asked) == (False, [])
    assert held.words == ("b1: it is held on the box; its differences are not known",)


def test_more_lanes_than_are_asked_are_named() -> None:
    boxes = AskedBoxes()
    lanes = [lane(f"b{number}") for number in range(MOST_LANES + 1)]
    boxes.connect(*(each.box for each in lanes))
    told = begin(boxes, *lanes)
    assert len(boxes.asked) == MOST_LANES
    for number in range(MOST_LANES):
        boxes.answer(number, NOTHING)
    assert "too many servers" in told[0][-1].words[0]


def preview(files: int, line: str) -> Preview:
    lines = (line,) * 400
    shown = tuple(PreviewedFile(path=f"f{n}", action="change", lines=lines) for n in range(files))
    return Preview(files=shown, effects=(), refused=(), pending=0, cut=False)


def test_the_lines_of_a_box_are_bounded_in_size() -> None:
    told = one(preview(3, "+" + "x" * 2_000))
    assert [(bool(each.lines), each.cut) for each in told.files] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_the_lines_of_all_boxes_together_are_bounded() -> None:
    boxes = AskedBoxes()
    names = [f"b{number}" for number in range(7)]
    boxes.connect(*names)
    told = begin(boxes, *map(lane, names))
    for number in range(len(names)):
        boxes.answer(number, preview(1 if number == 6 else 2, "+" + "x" * 1_000))
    shown = [[len(each.lines) for each in of_box.files] for of_box in told[0]]
    assert shown == [*([400, 400],) * 5, [0, 0], [0]]
    assert sum(map(sum, shown)) * 1_001 < MOST_SHOWN
    for left_out in told[0][5:]:
        assert left_out.words == (TOO_MUCH,)
        assert all(each.cut for each in left_out.files)


def test_a_hostile_answer_is_bounded_and_printable() -> None:
    evil = "\x1b[2J\u202e" + "x" * 5000
    file = PreviewedFile(
        path=evil,
        action="change",
        mode=0o7777777,
        owner=evil,
        target=evil,
        words=evil,
        lines=(evil, "+a\tb\r", *("+x",) * 3000),
    )
    told = one(
        Preview(
            files=(file,) * (MOST_PREVIEW_FILES + 5),
            effects=(evil,) * (MOST_EFFECTS + 5),
            refused=(PreviewedRefusal(evil, evil, "held", evil),) * (MOST_PREVIEWED + 5),
            pending=2**60,
            cut=False,
        ),
        notes=("a note",),
    )
    assert told.cut
    assert len(told.files) == MOST_PREVIEW_FILES
    assert len(told.effects) == MOST_EFFECTS
    assert len(told.refused) == MOST_PREVIEWED
    assert sum(len(each.lines) for each in told.files) <= MOST_PREVIEW_LINES
    assert all(each.cut for each in told.files)
    shown = told.files[0]
    assert shown.mode == "7777"
    assert shown.lines[1] == "+a\tb\N{REPLACEMENT CHARACTER}"
    texts = [shown.path, shown.owner, shown.target, shown.words, shown.lines[0], told.effects[0]]
    texts += [told.refused[0].kind, told.refused[0].key, told.refused[0].words]
    for text in texts:
        assert text.isprintable()
        assert len(text) <= LONGEST_LINE + 3
    assert told.words[0] == "a note"


def test_an_error_of_the_question_itself_is_said() -> None:
    class Older:
        async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
            raise NoAnswerError("its agent is older and cannot say: upgrade it")

    told: list[Any] = []
    differences = Differences(Older(), Clock(), no_secrets)
    Deferred.fromCoroutine(differences.ask((lane("b1"),))).addCallback(told.append)
    assert "upgrade it" in told[0][0].words[0]
