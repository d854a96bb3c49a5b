"""S8: whatever a hostile box sends, its own connection ends and nothing else notices."""

import random
import struct

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.fleet import comparison, listener, sessions
from controller.fleet.acknowledgement import AcknowledgementWriter
from controller.fleet.words import ConditionWord, Said
from controller.storage.database import Database
from node_agent.wire.messages import (
    Assign,
    Batch,
    Drift,
    DriftFinding,
    Inventory,
    InventoryRequest,
    LaneState,
    Outcome,
    Outcomes,
    Refused,
    SystemReport,
    Welcome,
)
from tests.conftest import LoggedErrors
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401

WORDS = "{{ 7*7 }} $(touch /tmp/p) `id`\r\n<script>alert(1)</script>\x1b[2J\0\u202e" + "A" * 9000

FRAMES = {
    "nothing": b"",
    "nil": b"\xc0",
    "truncated": msgspec.msgpack.encode({"type": "Alive"})[:-2],
    "deep": b"\x91" * 1_000_000,
    "deep facts": b"\x83"
    + msgspec.msgpack.encode({"type": "SystemReport", "sampled_at": 1.0})[1:]
    + b"\xa5facts"
    + b"\x81\xa1a" * 100_000
    + b"\xc0",
    "not a number": msgspec.msgpack.encode(
        {"type": "SystemReport", "sampled_at": float("nan"), "facts": {}}
    ),
    "wrong type": msgspec.msgpack.encode({"type": "LaneState", "lane": 5, "condition": "ok"}),
    "unknown tag": msgspec.msgpack.encode({"type": "Exec", "command": "id"}),
    "unknown field": msgspec.msgpack.encode({"type": "Alive", "box": "other"}),
    "a controller's message": msgspec.msgpack.encode({"type": "SystemRequest"}),
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "huge integer": msgspec.msgpack.encode(
        {"type": "Outcomes", "lane": "x", "settled_revision": 2**64 - 1, "outcomes": []}
    ),
    "wrong utf-8": b"\x81\xa4type\xa5\xff\xfe\xfd\xfc\xfb",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
@pytest_twisted.ensureDeferred
async def test_a_hostile_frame_ends_its_own_connection_alone(
    cluster: FleetCluster, frame: bytes
) -> None:
    good_box, good = await cluster.add_box()
    _, bad = await cluster.add_box()
    server = await cluster.add_server(good_box)
    await good.connect(reactor, cluster.agent_port)
    await bad.connect(reactor, cluster.agent_port)
    await bad.until(lambda: bool(bad.said(Welcome)))
    assert bad.protocol is not None
    bad.protocol.sendString(frame)
    await bad.until_ended()
    await cluster.change(server, {"a.test": b"1"})
    await cluster.until_settled(server)
    assert good.end_reason is None


@pytest.mark.parametrize("welcomed", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_frame_announced_as_too_long_is_not_waited_for(
    cluster: FleetCluster, welcomed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.fleet.listener.HELLO_SECONDS", 3600.0)  # it is not that
    _, agent = await cluster.add_box()
    agent.greet = welcomed
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: agent.protocol is not None)
    if welcomed:
        await agent.until(lambda: bool(agent.said(Welcome)))
    assert agent.protocol is not None
    agent.protocol.transport.write(struct.pack("!I", 2**23 + 1 if welcomed else 2**20 + 1))
    await agent.until_ended()


@pytest_twisted.ensureDeferred
async def test_hostile_words_are_kept_as_bounded_plain_text(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.settles = False
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await agent.until(lambda: bool(agent.said(Batch)))
    outcome = Outcome("zone", "a.test", 1, "quarantined", WORDS)
    agent.send(Outcomes(lane=server, settled_revision=1, outcomes=(outcome,)))
    agent.send(LaneState(lane=server, condition="daemon-down", message=WORDS))
    agent.send(SystemReport(sampled_at=1.0, facts={WORDS: [WORDS], "n": {"a": b"\0\1"}}))
    await cluster.until("SELECT facts IS NOT NULL FROM box")
    await cluster.until("SELECT condition = 'daemon-down' FROM lane")
    rows = await cluster.rows("SELECT message FROM object_outcome UNION SELECT message FROM lane")
    for (message,) in rows:
        assert len(message) < 4100
        assert not set(message) & set("\0\x1b\r\u202e")
        assert "{{ 7*7 }}" in message
    assert agent.end_reason is None


@pytest_twisted.ensureDeferred
async def test_outcomes_of_objects_that_do_not_exist_are_not_kept(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await cluster.until_settled(server)
    made_up = tuple(Outcome("zone", f"x{n}.test", 1, "failed", "no") for n in range(5000))
    future = Outcome("zone", "a.test", 2**62, "failed", "no")
    agent.send(Outcomes(lane=server, settled_revision=1, outcomes=(*made_up, future)))
    await cluster.change(server, {"b.test": b"1"})
    await cluster.until_settled(server)
    assert await cluster.rows("SELECT count(*) FROM object_outcome") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_a_path_too_long_for_an_index_keeps_nobody_from_being_heard(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its characters are within bounds, its bytes are not; nor does compression help."""
    monkeypatch.setattr(sessions, "LONGEST_FILE", bound := 100_000)
    box, agent = await cluster.add_box()
    server, beside = await cluster.add_server(box), await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    drawn = random.Random(8)
    path = "".join(chr(drawn.randrange(0x4E00, 0x9FA5)) for _ in range(1000))
    assert len(path.encode()) < bound
    finding = DriftFinding(path, "changed", "")
    for lane, told in ((server, finding), (beside, DriftFinding("short", "changed", ""))):
        agent.send(Drift(lane=lane, files=1, total=1, findings=(told,), verified_ago=0.0))
    other, honest = await cluster.add_box()
    served = await cluster.add_server(other)
    await honest.connect(reactor, cluster.agent_port)
    await cluster.change(served, {"a.test": b"1"})
    await cluster.until_settled(served)
    # Nor the box itself: what it says beside that is taken.
    await cluster.until("SELECT count(*) = 1 FROM drift_finding WHERE path = 'short'")
    assert await cluster.rows("SELECT count(*) FROM drift_finding") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_a_session_that_fails_where_its_word_is_written_silences_no_other(
    database: Database, logged_errors: LoggedErrors
) -> None:
    """A session that was paused reads on at that moment, whatever its box has sent meanwhile."""
    writer = AcknowledgementWriter(database, reactor)
    lane = ("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "aaaaaaaa-bbbb-4ccc-8ddd-ffffffffffff")
    told: list[str] = []

    def failing() -> None:
        raise RuntimeError("a mistake")

    for stale in (failing, lambda: told.append("the other")):
        word = ConditionWord("ok", "")
        writer.say(Said(lane, "box", 1, word, lambda written: None, stale))
    await writer.drained()
    assert told == ["the other"]
    (words,) = logged_errors.flush()
    assert "a mistake" in words


@pytest_twisted.ensureDeferred
async def test_a_path_is_bounded_by_its_bytes(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    paths = ("\u4e00" * 333, "\u4e00" * 334)
    findings = tuple(DriftFinding(path, "changed", "") for path in paths)
    agent.send(Drift(lane=server, files=2, total=2, findings=findings, verified_ago=0.0))
    await cluster.until("SELECT drifted = 2 FROM lane")
    assert await cluster.rows("SELECT path FROM drift_finding") == [(paths[0],)]


@pytest_twisted.ensureDeferred
async def test_who_is_refused_and_does_not_hang_up_keeps_no_place(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "FAREWELL_SECONDS", 0.05)
    _, agent = await cluster.add_box()
    agent.greet, agent.protocol_max = False, 0
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: agent.protocol is not None)
    assert agent.protocol is not None
    agent.send(agent.hello())
    agent.protocol.read(False)
    inside = cluster.fleet._listener.strangers
    while not inside:
        await deferLater(reactor, 0.005, lambda: None)
    while inside:
        await deferLater(reactor, 0.005, lambda: None)
    agent.protocol.read(True)
    await agent.until_ended()
    assert [refused.reason for refused in agent.said(Refused)] == ["protocol"]


@pytest_twisted.ensureDeferred
async def test_an_inventory_of_endless_names_ends_the_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await cluster.change(server, {"a.test": b"one"})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    await agent.leave()
    agent.lanes[server].total += 1
    agent.inventories = False
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(InventoryRequest)))
    agent.send(Inventory(lane=server, items=(("zone", "x" * 508, 1),), last=False))
    agent.send(Inventory(lane=server, items=(("zone", "x" * 509, 1),), last=False))
    pages = cluster.fleet._comparisons._pages
    while agent.end_reason is None and sum(map(len, pages.values())) < 2:
        await deferLater(reactor, 0.005, lambda: None)
    assert not pages


@pytest_twisted.ensureDeferred
async def test_made_up_objects_win_an_inventory_no_time(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "INVENTORY_SECONDS", 1.0)
    monkeypatch.setattr(comparison, "SLOWEST_OBJECTS", 0.1)
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await cluster.change(server, {"a.test": b"one"})
    await agent.connect(reactor, cluster.agent_port)
    await cluster.until_settled(server)
    await agent.leave()
    agent.lanes[server].total += 1
    agent.inventories = False
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(InventoryRequest)))
    held = (("zone", "a.test", 1),)
    made_up = tuple(("zone", f"x{number}.test", 1) for number in range(100))
    work = cluster.fleet._comparisons
    (deadline,) = work._deadlines.values()
    due = deadline.getTime()
    agent.send(Inventory(lane=server, items=held + made_up, last=False))
    while not any(work._pages.values()):
        await deferLater(reactor, 0.005, lambda: None)
    assert round(deadline.getTime() - due) == 10
    await agent.leave()


@pytest_twisted.ensureDeferred
async def test_an_inventory_that_nobody_asked_for_ends_the_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    agent.send(Inventory(lane=server, items=(("zone", "a.test", 1),), last=False))
    await agent.until_ended()


@pytest_twisted.ensureDeferred
async def test_a_hello_with_hostile_names_has_no_session(cluster: FleetCluster) -> None:
    for machine in ("", "\x1b[2J", "m" * 1000, "a\0b"):
        _, agent = await cluster.add_box()
        agent.machine_id = machine
        await agent.connect(reactor, cluster.agent_port)
        await agent.until_ended()
        assert not agent.said(Welcome)


@pytest_twisted.ensureDeferred
async def test_a_flood_of_messages_is_read_no_faster_than_written(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    most = 0
    say = cluster.fleet._writer.say

    def counted(said: Said, *, last: bool = False) -> None:
        nonlocal most
        say(said, last=last)
        most = max(most, len(cluster.fleet._writer._said))

    cluster.fleet._writer.say = counted  # type: ignore[method-assign]
    for number in range(5000):
        agent.send(LaneState(lane=server, condition="ok", message=f"{number}"))
    await cluster.until("SELECT message = '4999' FROM lane")
    assert most <= 300
