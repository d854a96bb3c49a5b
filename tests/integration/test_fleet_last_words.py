"""The last word that a change waits for is written at once; the others wait for company."""

from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater

from controller.fleet import acknowledgement
from controller.fleet.acknowledgement import GATHER_SECONDS, AcknowledgementWriter
from controller.fleet.words import ConditionWord, ObservedWord, OutcomeWord, Said, Word, Written
from controller.storage.database import Database
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.simulated_agent import SimulatedAgent

pytestmark = pytest.mark.timeout(60)

A_MOMENT = GATHER_SECONDS / 100


class Writing:
    """A writer whose clock a test moves, and what it wrote together."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.together: list[list[str]] = []
        self.writer = AcknowledgementWriter(database, self.clock)

        async def write(_: Any, batch: Sequence[Said]) -> Written:
            self.together.append([said.box_name for said in batch])
            return Written({}, {})

        monkeypatch.setattr(acknowledgement, "write", write)

    def say(self, box: str, *, last: bool = False) -> None:
        word = ConditionWord("ok", "")
        said = Said((box, "lane"), box, 1, word, lambda _: None, lambda: None)
        self.writer.say(said, last=last)

    async def after(self, seconds: float) -> list[list[str]]:
        """Give what is written when so much time has passed."""
        self.clock.advance(seconds)
        while self.writer._running and self.writer._gathering is None:
            await deferLater(reactor, 0.002)
        return self.together


@pytest.fixture
def writing(database: Database, monkeypatch: pytest.MonkeyPatch) -> Writing:
    return Writing(database, monkeypatch)


@pytest_twisted.ensureDeferred
async def test_a_word_waits_for_others(writing: Writing) -> None:
    writing.say("one")
    assert await writing.after(GATHER_SECONDS - A_MOMENT) == []
    writing.say("two")
    assert await writing.after(A_MOMENT) == [["one", "two"]]


@pytest_twisted.ensureDeferred
async def test_the_last_word_takes_those_that_wait_along_at_once(writing: Writing) -> None:
    writing.say("one")
    writing.say("two", last=True)
    assert await writing.after(0) == [["one", "two"]]


@pytest_twisted.ensureDeferred
async def test_many_changes_that_end_after_one_another_are_written_together(
    writing: Writing,
) -> None:
    writing.say("one", last=True)
    assert await writing.after(0) == [["one"]]
    writing.say("two", last=True)
    assert await writing.after(GATHER_SECONDS - A_MOMENT) == [["one"]]
    writing.say("three", last=True)
    assert await writing.after(A_MOMENT) == [["one"], ["two", "three"]]
    await writing.after(GATHER_SECONDS)
    writing.say("four", last=True)
    assert await writing.after(0) == [["one"], ["two", "three"], ["four"]]


async def two_boxes(cluster: FleetCluster) -> tuple[str, list[SimulatedAgent]]:
    made = [await cluster.add_box() for _ in range(2)]
    server = await cluster.add_server(*(box for box, _ in made))
    agents = [agent for _, agent in made]
    for agent in agents:
        await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"first.test": b"1"})
    await cluster.until_settled(server)
    return server, agents


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Word, bool]]:
    """Give the words that end a change on a lane, and whether each was called the last."""
    said: list[tuple[Word, bool]] = []
    say = AcknowledgementWriter.say

    def noting(self: AcknowledgementWriter, word: Said, *, last: bool = False) -> None:
        if last or getattr(word.word, "changes", ()):
            said.append((word.word, last))
        say(self, word, last=last)

    monkeypatch.setattr(AcknowledgementWriter, "say", noting)
    return said


@pytest.mark.parametrize("handed", [True, False])
@pytest_twisted.ensureDeferred
async def test_of_two_boxes_the_later_one_says_the_last_word(
    cluster: FleetCluster, hurried: list[tuple[Word, bool]], handed: bool
) -> None:
    server, _ = await two_boxes(cluster)
    hurried.clear()
    await cluster.change(server, {"a.test": b"1"}, notify=not handed, handed=handed)
    await cluster.until_settled(server)
    assert [last for _, last in hurried] == [False, True]
    assert len(cluster.fleet._dispatcher._under_way) == 0


@pytest_twisted.ensureDeferred
async def test_a_name_server_that_is_watched_says_the_last_word(
    cluster: FleetCluster, hurried: list[tuple[Word, bool]]
) -> None:
    server, _ = await two_boxes(cluster)
    hurried.clear()
    watches = [(server, "a.test", 7)]
    await cluster.change(server, {"a.test": b"1"}, watches=watches, handed=True)
    await cluster.until("SELECT count(*) = 2 FROM zone_observation WHERE serial = 7")
    await cluster.until_settled(server)
    assert [last for _, last in hurried] == [False, False, False, True]
    assert {type(word) for word, _ in hurried} == {OutcomeWord, ObservedWord}
    assert len(cluster.fleet._dispatcher._under_way) == 0


@pytest_twisted.ensureDeferred
async def test_a_box_that_leaves_is_waited_for_no_more(
    cluster: FleetCluster, hurried: list[tuple[Word, bool]]
) -> None:
    server, (leaving, staying) = await two_boxes(cluster)
    hurried.clear()
    leaving.settles = staying.settles = False
    await cluster.change(server, {"a.test": b"1"}, handed=True)
    await leaving.until(lambda: all(lane.stored == 2 for lane in leaving.lanes.values()))
    await leaving.leave()
    await cluster.until("SELECT count(*) = 1 FROM box WHERE connected")
    for name, lane in staying.lanes.items():
        lane.settled = lane.stored
        staying._outcomes(name, lane)
    while not hurried:
        await deferLater(reactor, 0.002)
    assert [last for _, last in hurried] == [True]
