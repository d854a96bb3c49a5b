"""Samples and questions between boxes and the fleet, and the rings that keep the samples."""

import msgspec
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from controller.fleet.monitoring import RINGS, SERIES, Dated, write_samples
from controller.fleet.questions import MOST_OPEN, BoxAwayError, NoAnswerError, Questions
from node_agent.wire.messages import Answer, Message, Monitor, Question, Sample
from node_agent.wire.questions import AskServices, Declined, Services
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster
from tests.integration.model import NOW, OPERATOR, Model

__all__ = ["fleet_cluster"]


def sample(load: float = 1.0) -> Sample:
    return Sample(
        processor=10.0,
        load=load,
        memory_used=2**30,
        memory_total=2**32,
        disk_used=10,
        disk_total=100,
        disk_read=1.5,
        disk_written=2.5,
        net_received=3.5,
        net_sent=4.5,
    )


async def write(cluster: FleetCluster, box: str, at: float, load: float, epoch: int = 0) -> None:
    await cluster.do(lambda tx: write_samples(tx, [Dated(box, epoch, at, sample(load))]))


@ensureDeferred
async def test_r250_rows_of_a_box_are_bounded_however_long_it_is_monitored(
    cluster: FleetCluster,
) -> None:
    box, _ = await cluster.add_box()
    places = sum(size for _, size in RINGS)
    # Three times round each ring, at its own step; the other rings are only written over.
    for step, size in RINGS:
        await cluster.run(
            """INSERT INTO box_sample AS s (box_id, step, slot, at, samples, processor, load,
                   memory_used, memory_total, disk_used, disk_total, disk_read, disk_written,
                   net_received, net_sent)
               SELECT %s, %s, n %% %s, to_timestamp(n * %s), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
               FROM generate_series(1, %s) n WHERE n > 2 * %s
               ON CONFLICT DO NOTHING""",
            (box, step, size, step, 3 * size, size),
        )
    assert await cluster.rows("SELECT count(*) FROM box_sample") == [(places,)]
    for number in range(50):
        await write(cluster, box, 1_900_000_000 + 10 * number, 1.0)
    assert await cluster.rows("SELECT count(*) FROM box_sample") == [(places,)]


@pytest.mark.parametrize(("step", "slot"), [(10, 360), (60, 1440), (900, 2880), (30, 0), (10, -1)])
@ensureDeferred
async def test_the_database_has_no_place_beyond_a_ring(
    cluster: FleetCluster, step: int, slot: int
) -> None:
    box, _ = await cluster.add_box()
    with pytest.raises(Exception, match="check constraint"):
        await cluster.run(
            f"""INSERT INTO box_sample (box_id, step, slot, at, samples, {", ".join(SERIES)})
                VALUES (%s, %s, %s, now(), 1{", 0" * len(SERIES)})""",
            (box, step, slot),
        )


@ensureDeferred
async def test_a_place_holds_the_mean_of_its_samples_and_begins_anew_a_round_later(
    cluster: FleetCluster,
) -> None:
    box, _ = await cluster.add_box()
    begin = 1_800_000_000
    for offset, load in ((0, 1.0), (10, 2.0), (20, 6.0)):
        await write(cluster, box, begin + offset, load)
    found = await cluster.rows(
        "SELECT step, samples, load FROM box_sample WHERE box_id = %s ORDER BY step, at", (box,)
    )
    assert found == [(10, 1, 1.0), (10, 1, 2.0), (10, 1, 6.0), (60, 3, 3.0), (900, 3, 3.0)]
    await write(cluster, box, begin + 3600, 8.0)
    found = await cluster.rows(
        "SELECT samples, load FROM box_sample WHERE box_id = %s AND step = 10 AND load > 7", (box,)
    )
    assert found == [(1, 8.0)]
    count = await cluster.rows("SELECT count(*) FROM box_sample WHERE step = 10")
    assert count == [(3,)]


@ensureDeferred
async def test_samples_of_an_older_session_or_an_unmonitored_box_are_dropped(
    cluster: FleetCluster,
) -> None:
    box, _ = await cluster.add_box()
    await write(cluster, box, 1_800_000_000, 1.0, epoch=7)
    await cluster.run("UPDATE box SET monitoring = false")
    await write(cluster, box, 1_800_000_000, 1.0)
    assert await cluster.rows("SELECT count(*) FROM box_sample") == [(0,)]


@ensureDeferred
async def test_s08_numbers_that_no_box_can_have_are_kept_within_bounds(
    cluster: FleetCluster,
) -> None:
    box, _ = await cluster.add_box()
    wild = msgspec.structs.replace(
        sample(), processor=1e300, memory_used=2**63 - 1, disk_read=-5.0, net_sent=1e308
    )
    await cluster.do(lambda tx: write_samples(tx, [Dated(box, 0, 1_800_000_000, wild)]))
    found = await cluster.rows(
        "SELECT processor, memory_used, disk_read, net_sent FROM box_sample WHERE step = 10"
    )
    assert found == [(100.0, 1e18, 0.0, pytest.approx(1e18))]


@ensureDeferred
async def test_a_connected_box_is_told_to_sample_and_its_samples_are_kept(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Monitor)))
    assert agent.said(Monitor) == [Monitor(every=10.0)]
    agent.send(sample(0.25))
    agent.send(sample(99.0))  # more often than asked for: let go
    await cluster.until("SELECT count(*) = 3 FROM box_sample WHERE box_id = %s", (box,))
    assert await cluster.rows("SELECT DISTINCT load, samples FROM box_sample") == [(0.25, 1)]


@ensureDeferred
async def test_r250_a_box_that_is_not_monitored_is_told_so_and_its_samples_are_not_kept(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    await cluster.run("UPDATE box SET monitoring = false")
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Monitor)))
    assert agent.said(Monitor) == [Monitor(every=0.0)]
    cluster.fleet.set_monitoring(box, True)
    await agent.until(lambda: len(agent.said(Monitor)) == 2)
    cluster.fleet.set_monitoring(box, True)
    cluster.fleet.set_monitoring(box, False)
    await agent.until(lambda: len(agent.said(Monitor)) == 3)
    assert [one.every for one in agent.said(Monitor)] == [0.0, 10.0, 0.0]


@ensureDeferred
async def test_r250_a_switch_in_the_database_reaches_a_connected_box(
    cluster: FleetCluster,
) -> None:
    _, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Monitor)))
    await cluster.run("UPDATE box SET monitoring = false")
    await cluster.fleet._rescan()
    await agent.until(lambda: len(agent.said(Monitor)) == 2)
    assert agent.said(Monitor)[-1] == Monitor(every=0.0)


@ensureDeferred
async def test_a_question_is_answered_on_its_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()

    def answer(message: Message) -> None:
        if isinstance(message, Question):
            agent.send(Answer(id=message.id + 1000, found=Services(services=())))
            agent.send(Answer(id=message.id, found=Declined(reason="busy", words="later")))

    agent.heard = answer
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Monitor)))
    found = await cluster.fleet.ask(box, AskServices(), 60.0)
    assert found == Declined(reason="busy", words="later")


@ensureDeferred
async def test_a_box_that_leaves_answers_nothing_any_more(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    with pytest.raises(BoxAwayError):
        await cluster.fleet.ask(box, AskServices(), 60.0)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Monitor)))
    agent.heard = lambda message: agent.protocol.lose("gone") if agent.protocol else None
    with pytest.raises(BoxAwayError):
        await cluster.fleet.ask(box, AskServices(), 60.0)


def asked(questions: Questions) -> list[object]:
    """Ask once; give a list that will hold what came of it."""
    outcome: list[object] = []
    deferred = Deferred.fromCoroutine(questions.ask(AskServices(), 15.0))
    deferred.addBoth(lambda found: outcome.append(getattr(found, "value", found)))
    return outcome


def test_a_question_has_a_deadline_and_a_late_answer_is_let_go() -> None:
    clock, sent = Clock(), list[Message]()
    questions = Questions(clock, sent.append)
    outcome = asked(questions)
    assert sent == [Question(id=1, seconds=15.0, ask=AskServices())]
    clock.advance(15.0)
    assert isinstance(outcome[0], NoAnswerError)
    questions.answered(Answer(id=1, found=Services(services=())))
    assert (len(outcome), clock.getDelayedCalls()) == (1, [])


def test_only_so_many_questions_are_open_at_once() -> None:
    clock, sent = Clock(), list[Message]()
    questions = Questions(clock, sent.append)
    waiting = [asked(questions) for _ in range(MOST_OPEN)]
    assert isinstance(asked(questions)[0], NoAnswerError)
    assert len(sent) == MOST_OPEN
    questions.end()
    assert all(isinstance(outcome[0], BoxAwayError) for outcome in waiting)
    assert isinstance(asked(questions)[0], BoxAwayError)
    assert clock.getDelayedCalls() == []


@ensureDeferred
async def test_r250_a_switched_monitoring_reaches_the_box_once_it_is_committed(
    model: Model,
) -> None:
    await model.box("ns1", 1, ("dns",))
    (box,) = (await model.rows("SELECT id::text FROM box"))[0]
    await model.run("pserver.monitoring", name="ns1", monitoring=False, dry_run=True)
    assert model.fleet.monitored == []
    await model.ask("pserver.monitoring", name="ns1", monitoring=False)
    assert model.fleet.monitored == [(box, False)]
    assert (await model.ask("pserver.load", name="ns1"))["monitoring"] is False


@ensureDeferred
async def test_r249_the_load_of_a_box_is_read_by_span(model: Model) -> None:
    await model.box("ns1", 1, ("dns",))
    (box,) = (await model.rows("SELECT id::text FROM box"))[0]
    for minutes, load in ((0.5, 1.0), (50, 2.0), (70, 3.0), (60 * 26, 4.0), (60 * 24 * 31, 5.0)):
        dated = Dated(box, 0, NOW - 60 * minutes, sample(load))
        await model.database.transaction(
            OPERATOR, lambda tx, one=dated: write_samples(tx, [one]), name="test"
        )
    hour = await model.ask("pserver.load", name="ns1")
    assert hour["series"]["load"] == [2.0, 1.0]
    assert (hour["step"], hour["monitoring"], len(hour["at"])) == (10, True, 2)
    assert set(hour["series"]) == set(SERIES)
    day = await model.ask("pserver.load", name="ns1", span="day")
    assert day["series"]["load"] == [3.0, 2.0, 1.0]
    month = await model.ask("pserver.load", name="ns1", span="month")
    assert month["series"]["load"] == [4.0, 3.0, 2.0, 1.0]
