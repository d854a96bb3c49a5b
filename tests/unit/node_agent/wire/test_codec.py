"""The codec: what is said is read back, and what is not a message is refused in one way."""

import typing
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.wire import messages, questions
from node_agent.wire.codec import (
    MAX_DEPTH,
    MAX_FRAME,
    MAX_VALUES,
    WireError,
    decode_from_agent,
    decode_from_controller,
    encode,
    printable,
)
from node_agent.wire.enrolment import (
    Denied,
    Enrol,
    Enrolled,
    decode_answer,
    decode_request,
)

GOLDEN = Path(__file__).parents[3] / "golden" / "wire" / "1"
GOLDEN_2 = GOLDEN.parent / "2"
GOLDEN_3 = GOLDEN.parent / "3"

LANE = "11111111-2222-4333-8444-555555555555"
AGENT = [
    messages.Hello(
        protocol_min=1,
        protocol_max=1,
        agent_version="0.1",
        boot_id="boot",
        machine_id="machine",
        os_family="linux",
        kinds={"bind": {"server": 1, "zone": 1}},
        lanes=(
            messages.LaneReport(
                lane=LANE,
                history="h",
                stored_revision=7,
                settled_revision=6,
                object_hash="0" * 32,
                renderer="r",
                condition="ok",
            ),
        ),
    ),
    messages.Stored(lane=LANE, batch=1, stored_revision=7, object_hash="f" * 32),
    messages.Outcomes(
        lane=LANE,
        settled_revision=7,
        outcomes=(messages.Outcome("zone", "a.test", 7, "quarantined", "bad"),),
    ),
    messages.LaneState(lane=LANE, condition="daemon-down", message="dead"),
    messages.Observed(lane=LANE, zone="a.test", serial=2**32 - 1),
    messages.Inventory(lane=LANE, items=(("zone", "a.test", 7),), last=True),
    messages.Drift(
        lane=LANE,
        files=12,
        total=2,
        findings=(messages.DriftFinding("zones/ab/a.test.zone", "changed", "its content"),),
        verified_ago=12.5,
    ),
    messages.SystemReport(sampled_at=1.5, facts={"load": [0.1, 2, None, True, "x"]}),
    messages.Sample(
        processor=12.5,
        load=0.75,
        memory_used=2**30,
        memory_total=2**33,
        disk_used=5,
        disk_total=10,
        disk_read=0.0,
        disk_written=4096.5,
        net_received=1.0,
        net_sent=2.0,
    ),
    messages.Answer(
        id=7,
        found=questions.Packages(packages=(questions.Package("bind9", "1:9.18-1"),), more=True),
    ),
    messages.RenewalRequest(csr=b"csr"),
    messages.Alive(),
]
CONTROLLER = [
    messages.Welcome(protocol=1, history="h", session_epoch=3, interval=10.0, now=1.0),
    messages.Refused(reason="busy", detail="later", retry_after=5.0),
    messages.Assign(lanes=(messages.LaneAssignment(LANE, "ns1", "bind", "keep"),)),
    messages.Batch(
        lane=LANE,
        batch=1,
        history="h",
        through=9,
        items=(
            messages.Item("zone", "a.test", 8, 1, b"spec", (("server", ""),), 15),
            messages.Item("zone", "b.test", 9, 1, None),
        ),
    ),
    messages.Observe(lane=LANE, zone="a.test", serial=1),
    messages.InventoryRequest(lane=LANE),
    messages.Forget(lane=LANE, items=(("zone", "a.test"),)),
    messages.Retry(lane=LANE, kind="zone", key="a.test"),
    messages.Adopt(lane=LANE, history="h", overwrite=True),
    messages.Renewed(certificate=b"pem"),
    messages.SystemRequest(),
    messages.Monitor(every=10.0),
    messages.Question(
        id=7, seconds=15.0, ask=questions.AskPackages(search="bind", after="a\t1", limit=100)
    ),
    messages.Alive(),
]
ASKED = [
    questions.AskPackages(search="bind", after="a\t1", limit=100),
    questions.AskServices(),
    questions.AskAction(service="ssh", action="restart"),
    questions.AskLog(service="ssh", lines=50),
    questions.AskVerify(lane=LANE),
    questions.AskDifference(lane=LANE, path="named.conf"),
    questions.AskRepair(lane=LANE, path="named.conf", preview=True),
]
ASKED_2 = [
    questions.AskPreview(
        lane=LANE,
        objects=(
            questions.PreviewedObject("zone", "a.test", 1, b"spec", (("server", ""),)),
            questions.PreviewedObject("zone", "b.test", 1, None),
        ),
    )
]
FOUND_2 = [
    questions.Preview(
        files=(
            questions.PreviewedFile(
                path="named.conf",
                action="change",
                kind="file",
                mode=0o640,
                owner="0:103",
                target="",
                words="mode 0644 becomes 0640",
                lines=("--- a/named.conf", "+++ b/named.conf", "@@ -1 +1 @@", "-a", "+b"),
                cut=False,
            ),
        ),
        effects=("write named.conf", "reload named"),
        refused=(questions.PreviewedRefusal("zone", "b.test", "waiting", "waits for server"),),
        pending=1,
        cut=False,
    )
]
FOUND = [
    questions.Packages(packages=(questions.Package("bind9", "1:9.18-1"),), more=True),
    questions.Services(
        services=(
            questions.ServiceFacts(
                name="ssh",
                kind="system",
                state="running",
                boots="enabled",
                detail="running",
                actions=("restart", "stop"),
            ),
        )
    ),
    questions.ActionDone(
        service=questions.ServiceFacts(name="ns1", kind="lane", state="stopped", boots="disabled")
    ),
    questions.LogLines(lines=("one", "two"), cut=True),
    questions.Verified(files=12, drifted=2, ended=True),
    questions.Difference(path="named.conf", words="changed", lines=("-a", "+b"), cut=False),
    questions.Repaired(
        files=(questions.RepairedFile("named.conf", "refused", "no"),), total=1, reload=True
    ),
    questions.Declined(reason="not-granted", words="no"),
]
ENROLMENT = [
    Enrol(token="hs1.x", csr=b"csr", machine_id="m"),
    Enrolled(certificate=b"pem", ca=b"pem", agent_port=8444, cluster="c"),
    Denied(detail="used"),
]


def name(message: object) -> str:
    return type(message).__name__


def test_every_message_has_an_example() -> None:
    assert {name(m) for m in AGENT} == {k.__name__ for k in typing.get_args(messages.FromAgent)}
    assert {name(m) for m in CONTROLLER} == {
        k.__name__ for k in typing.get_args(messages.FromController)
    }


@pytest.mark.parametrize("message", AGENT, ids=name)
def test_what_an_agent_says_is_as_it_was_in_protocol_1(message: messages.Message) -> None:
    golden = (GOLDEN / f"agent-{name(message)}.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_agent(golden) == message


@pytest.mark.parametrize("message", CONTROLLER, ids=name)
def test_what_a_controller_says_is_as_it_was_in_protocol_1(message: messages.Message) -> None:
    golden = (GOLDEN / f"controller-{name(message)}.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_controller(golden) == message


def test_every_question_and_answer_has_an_example() -> None:
    assert {name(one) for one in ASKED + ASKED_2} == {
        k.__name__ for k in typing.get_args(questions.AnyAsk)
    }
    assert {name(one) for one in FOUND + FOUND_2} == {
        k.__name__ for k in typing.get_args(questions.AnyFound)
    }


@pytest.mark.parametrize("ask", ASKED, ids=name)
def test_what_is_asked_is_as_it_was_in_protocol_1(ask: questions.AnyAsk) -> None:
    message = messages.Question(id=7, seconds=15.0, ask=ask)
    golden = (GOLDEN / f"controller-Question-{name(ask)}.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_controller(golden) == message


@pytest.mark.parametrize("found", FOUND, ids=name)
def test_what_is_answered_is_as_it_was_in_protocol_1(found: questions.AnyFound) -> None:
    message = messages.Answer(id=7, found=found)
    golden = (GOLDEN / f"agent-Answer-{name(found)}.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_agent(golden) == message


@pytest.mark.parametrize("ask", ASKED_2, ids=name)
def test_what_is_asked_is_as_it_was_in_protocol_2(ask: questions.AnyAsk) -> None:
    message = messages.Question(id=7, seconds=5.0, ask=ask)
    golden = (GOLDEN_2 / f"controller-Question-{name(ask)}.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_controller(golden) == message


@pytest.mark.parametrize("found", FOUND_2, ids=name)
def test_what_is_answered_is_as_it_was_in_protocol_2(found: questions.AnyFound) -> None:
    message = messages.Answer(id=7, found=found)
    golden = (GOLDEN_2 / f"agent-Answer-{name(found)}.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_agent(golden) == message


def test_a_lane_is_blocked_as_it_was_in_protocol_3() -> None:
    message = messages.LaneState(lane=LANE, condition="blocked", message="a broken file")
    golden = (GOLDEN_3 / "agent-LaneState.msgpack").read_bytes()
    assert encode(message) == golden
    assert decode_from_agent(golden) == message


@pytest.mark.parametrize("message", ENROLMENT, ids=name)
def test_enrolment_is_as_it_was_in_protocol_1(message: messages.Message) -> None:
    golden = (GOLDEN / f"enrolment-{name(message)}.msgpack").read_bytes()
    assert encode(message) == golden
    decode = decode_request if isinstance(message, Enrol) else decode_answer
    assert decode(golden) == message


TEXT = st.text(max_size=30)
COUNT = st.integers(min_value=0, max_value=2**63 - 1)
FACTS = st.recursive(
    st.none() | st.booleans() | COUNT | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ITEMS = st.builds(
    messages.Item,
    TEXT,
    TEXT,
    COUNT,
    COUNT,
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
)


@given(lane=TEXT, through=COUNT, items=st.lists(ITEMS, max_size=5))
def test_any_batch_is_read_back(lane: str, through: int, items: list[messages.Item]) -> None:
    batch = messages.Batch(lane=lane, batch=1, history="h", through=through, items=tuple(items))
    assert decode_from_controller(encode(batch)) == batch


@given(facts=st.dictionaries(TEXT, FACTS, max_size=4))
def test_any_report_is_read_back(facts: dict[str, object]) -> None:
    report = messages.SystemReport(sampled_at=1.0, facts=facts)
    assert decode_from_agent(encode(report)) == report


def refusal(decode: Callable[[bytes], object], frame: bytes) -> str:
    """Give the words of a refusal, empty where the frame is a message; nothing else may come."""
    try:
        decode(frame)
    except WireError as error:
        return str(error)
    return ""


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(frame: bytes) -> None:
    for decode in (decode_from_agent, decode_from_controller, decode_request, decode_answer):
        assert refusal(decode, frame).isprintable()


@given(message=st.sampled_from(AGENT), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_any_damage_is_a_message_or_refused(message: messages.Message, at: int, byte: int) -> None:
    frame = bytearray(encode(message))
    frame[at % len(frame)] = byte
    for damaged in (bytes(frame), bytes(frame[: at % len(frame)])):
        assert refusal(decode_from_agent, damaged).isprintable()


def nested(depth: int) -> dict[str, object]:
    facts: dict[str, object] = {}
    for _ in range(depth):
        facts = {"a": facts}
    return facts


def test_nesting_is_bounded() -> None:
    fits = messages.SystemReport(sampled_at=1.0, facts=nested(MAX_DEPTH - 3))
    decode_from_agent(encode(fits))
    deep = messages.SystemReport(sampled_at=1.0, facts=nested(MAX_DEPTH + 1))
    with pytest.raises(WireError, match="deep"):
        decode_from_agent(encode(deep))


@pytest.mark.parametrize("shape", [[0], [[0]], [{"a": 0}]])
def test_the_values_of_a_message_are_bounded_however_they_are_nested(shape: list[object]) -> None:
    """A frame of eight million small ones keeps whoever reads it busy for seconds."""
    fits = messages.SystemReport(sampled_at=1.0, facts={"a": shape * 1000})
    decode_from_agent(encode(fits))
    many = messages.SystemReport(sampled_at=1.0, facts={"a": shape * MAX_VALUES})
    with pytest.raises(WireError, match=f"more than {MAX_VALUES} values"):
        decode_from_agent(encode(many))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**63, -(2**63)])
def test_numbers_that_nobody_can_store_are_refused(number: float) -> None:
    frame = msgspec.msgpack.encode(
        {"type": "SystemReport", "sampled_at": 1.0, "facts": {"n": number}}
    )
    with pytest.raises(WireError):
        decode_from_agent(frame)


def test_a_frame_that_is_too_large_is_neither_made_nor_read() -> None:
    with pytest.raises(WireError):
        encode(messages.Renewed(certificate=b"x" * MAX_FRAME))
    with pytest.raises(WireError, match=f"a frame of {MAX_FRAME + 1} bytes"):
        decode_from_agent(b"\xc0" * (MAX_FRAME + 1))


@pytest.mark.parametrize("field", ["box", "box_id", "name"])
def test_a_field_that_is_not_of_the_protocol_is_refused(field: str) -> None:
    with pytest.raises(WireError):
        decode_from_agent(msgspec.msgpack.encode({"type": "Alive", field: "x"}))


def test_a_peers_text_is_printable_and_bounded() -> None:
    assert printable("a\x1b[2J\r\n\0b" + "x" * 1000).isprintable()
    assert len(printable("x" * 1000)) == 503
