"""What befalls one lane: full disks, hangs, sessions that end, histories that change."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from node_agent import daemon_watch, telling
from node_agent.effects.failures import BlockedError, KeyRefusedError, NotFinishedError
from node_agent.entries import Point, pass_by
from node_agent.lanes import SETTLE_AFTER
from node_agent.wire.messages import LaneState, Outcome, Outcomes, Stored
from templates.objects import ObjectId
from tests.unit.node_agent.bench_of_one import LANE, gone, page, server, zone
from tests.unit.node_agent.lane_bench import LaneBench


def run(coroutine: object) -> None:
    Deferred.fromCoroutine(coroutine)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", range(1, 16))
def test_whichever_journal_write_meets_a_full_disk_nothing_older_comes_back(write: int) -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2, serial=1), zone("b.test", 3, serial=1))
    bench.journal.full_at = write
    bench.take(zone("a.test", 4, serial=2))
    bench.take(gone("zone", "b.test", 5))
    bench.pass_time()
    bench.take(zone("a.test", 6, serial=3))
    bench.take(zone("b.test", 7, serial=2))
    bench.pass_time()
    assert bench.journal.entries.still_open(LANE) == ()
    bench.start()
    bench.daemon.kill()
    bench.pass_time()
    assert bench.daemon.serials == {"a.test": 3, "b.test": 2}
    assert bench.journal.exceptions(LANE) == ()
    assert bench.journal.settled_revision(LANE) == 7


def test_a_daemon_that_hangs_is_told_as_down_and_as_well_again() -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2))
    assert bench.lane.reports.condition == "ok"
    bench.world.refuses = lambda effect: "no answer"
    bench.pass_time(daemon_watch.WATCH_EVERY + 1)
    assert bench.lane.reports.condition == "daemon-down"
    bench.world.refuses = lambda effect: ""
    bench.pass_time()
    assert bench.lane.reports.condition == "ok"


def test_a_reload_that_did_not_end_in_time_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the daemon is well again before the round is taken back."""
    bench = LaneBench()
    bench.take(server(1), page("a.test", 2))
    reload, late = bench.daemon.reload, [True]

    async def slow() -> None:
        if late:
            late.clear()
            raise NotFinishedError("it does not finish its reload")
        await reload()

    monkeypatch.setattr(bench.daemon, "reload", slow)
    bench.take(page("b.test", 3))
    assert bench.lane.reports.condition == "daemon-down"
    bench.pass_time()
    assert bench.lane.reports.condition == "ok"
    assert bench.journal.exceptions(LANE) == ()
    told = [one.outcome for heard in bench.heard(Outcomes) for one in heard.outcomes]
    assert set(told) == {"applied"}


def test_a_lane_whose_daemon_serves_on_is_blocked_and_not_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A controller that says in its Welcome what it knows is told so; a Hello alarms none."""
    bench = LaneBench()
    bench.take(server(1), page("a.test", 2))

    async def refuse() -> None:
        raise BlockedError("a file that somebody broke")

    with monkeypatch.context() as broken:
        broken.setattr(bench.daemon, "reload", refuse)
        bench.take(page("b.test", 3))
        told = bench.lane.reports.state()
        assert (told.condition, told.message) == ("blocked", "a file that somebody broke")
        assert bench.lane.reports.report().condition == "behind"
        assert bench.journal.lanes.get(LANE).condition == "blocked"
        assert bench.heard(Outcomes)[-1].outcomes == ()
    bench.pass_time()
    assert bench.lane.reports.condition == "ok"
    assert bench.journal.settled_revision(LANE) == 3


def test_the_daemon_of_a_blocked_lane_is_looked_at_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be blocked for days, and rests for up to a minute between two tries."""
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2), page("a.test", 3))

    async def refuse() -> None:
        raise BlockedError("a file that somebody broke")

    monkeypatch.setattr(bench.daemon, "reload", refuse)
    bench.take(page("b.test", 4))
    bench.pass_time(600.0)
    assert bench.lane.reports.condition == "blocked"
    bench.daemon.kill()
    bench.pass_time(daemon_watch.WATCH_EVERY + 1)
    assert bench.daemon.alive
    assert bench.daemon.serials == {"a.test": 1}


@pytest.mark.parametrize(("answer", "condition"), [("", "blocked"), ("no answer", "daemon-down")])
def test_a_daemon_with_another_key_is_down_once_it_answers_nobody(
    monkeypatch: pytest.MonkeyPatch, answer: str, condition: str
) -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2))

    async def refuse() -> tuple[ObjectId, ...]:
        raise KeyRefusedError("named does not take the agent's key")

    monkeypatch.setattr(bench.lane._engine, "recover", refuse)
    bench.world.refuses = lambda effect: answer
    bench.lane.daemon.suspect = True
    bench.lane.wake()
    assert bench.lane.reports.condition == condition


def told_and_not_settled() -> LaneBench:
    """Give a lane whose zone, at revision 2, is live and told."""
    bench = LaneBench(settle_after=SETTLE_AFTER)
    bench.take(server(1))
    bench.pass_time(1.0)
    bench.take(zone("a.test", 2))
    return bench


def test_a_session_that_begins_before_what_was_told_is_settled_is_told_it_too() -> None:
    """Else what nobody heard, as the link was down, is not told until the next change."""
    bench = told_and_not_settled()
    told = bench.heard(Outcomes)[-1]
    assert [page.settled_revision for page in bench.lane.reports.outcomes()] == [1, 2]
    assert bench.lane.reports.outcomes()[-1] == told
    bench.clock.advance(SETTLE_AFTER)
    assert [page.settled_revision for page in bench.lane.reports.outcomes()] == [2]


def test_what_could_not_be_settled_is_told_to_a_new_session_and_again_once_it_is() -> None:
    bench = told_and_not_settled()
    bench.journal.full_at = 1
    bench.clock.advance(SETTLE_AFTER)
    assert bench.lane.reports.condition == "disk-full"
    assert [page.settled_revision for page in bench.lane.reports.outcomes()] == [1, 2]
    bench.said.clear()
    bench.pass_time()
    assert [told.settled_revision for told in bench.heard(Outcomes)] == [2]
    assert [page.settled_revision for page in bench.lane.reports.outcomes()] == [2]


def test_an_agent_that_starts_again_tells_what_its_recovery_settles() -> None:
    """A session may begin before it: what was live, and not written down, is told after it."""
    bench = told_and_not_settled()
    bench.said.clear()
    bench.start()
    assert [told.settled_revision for told in bench.heard(Outcomes)] == [2]


def test_what_is_told_is_settled_a_moment_later_or_before_what_comes_next() -> None:
    bench = told_and_not_settled()
    assert bench.heard(Outcomes)[-1].settled_revision == 2
    (entry,) = bench.journal.entries.still_open(LANE)
    assert entry.live
    bench.take(zone("a.test", 3, serial=2))
    assert bench.heard(Outcomes)[-1].settled_revision == 3
    (last,) = bench.journal.entries.still_open(LANE)
    assert last.body != entry.body, "the first one is closed"
    bench.clock.advance(SETTLE_AFTER)
    assert bench.journal.entries.still_open(LANE) == ()
    assert bench.lane.reports.condition == "ok"


def test_a_retry_that_falls_due_while_a_batch_is_stored_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2, serial=1))
    bench.daemon.kill()
    bench.world.starts = lambda files: False
    bench.pass_time(daemon_watch.WATCH_EVERY + 1)
    assert bench.lane.reports.condition == "daemon-down"
    bench.world.starts = lambda files: True
    store = bench.journal.store

    def store_for_long(*arguments: Any) -> Any:
        bench.pass_time()
        return store(*arguments)

    monkeypatch.setattr(bench.journal, "store", store_for_long)
    bench.take(zone("a.test", 3, serial=2))
    assert bench.lane.reports.condition == "ok"
    assert bench.daemon.serials == {"a.test": 2}


def test_a_batch_that_its_session_did_not_see_stored_is_acknowledged_to_no_other() -> None:
    bench = LaneBench()
    bench.take(server(1))
    bench.journal.full_at = 1
    bench.take(zone("a.test", 2))
    assert bench.lane.reports.condition == "disk-full"
    bench.said.clear()
    bench.lane.session_over()
    bench.pass_time()
    assert bench.heard(Stored) == []
    bench.take(zone("a.test", 2))
    assert [each.batch for each in bench.heard(Stored)] == [bench.batches]


def test_a_batch_whose_files_meet_a_full_disk_is_told_as_stored() -> None:
    bench = LaneBench()
    bench.take(server(1))
    bench.said.clear()
    bench.world.disk_full = True
    bench.take(zone("a.test", 2))
    assert bench.lane.reports.condition == "disk-full"
    assert [each.batch for each in bench.heard(Stored)] == [bench.batches]


def test_a_batch_of_known_objects_is_told_as_settled() -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2))
    bench.take(zone("a.test", 2), through=9)
    assert bench.heard(Outcomes)[-1].settled_revision == 9


def test_a_controller_back_at_the_lanes_own_history_is_obeyed_again() -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2, serial=1))
    bench.lane.session_over()
    assert not bench.lane.meet_history("restored")
    bench.lane.session_over()
    assert bench.lane.meet_history("history-1")
    bench.take(zone("a.test", 3, serial=2))
    assert bench.daemon.serials == {"a.test": 2}
    assert bench.heard(LaneState)[-1].condition == "ok"


def test_an_adoption_does_not_wait_for_the_round_under_way() -> None:
    def adopt(point: Point) -> None:
        if point == "stored":
            bench.at = pass_by
            run(bench.lane.adopt("history-1", overwrite=True))
            bench.take(zone("a.test", 5, serial=9))

    bench = LaneBench()
    bench.take(server(1), zone("a.test", 8, serial=8))
    bench.at = adopt
    bench.take(zone("b.test", 9))
    assert bench.daemon.serials["a.test"] == 9


def test_what_is_tried_again_keeps_its_outcome_until_there_is_another() -> None:
    bench = LaneBench()
    bench.take(server(1), zone("a.test", 2, refuse="no"), zone("b.test", 3))
    bench.daemon.kill()
    bench.world.starts = lambda files: False
    bench.pass_time(daemon_watch.WATCH_EVERY + 1)
    assert bench.lane.reports.condition == "daemon-down"
    run(bench.lane.retry("zone", "a.test"))
    (told,) = bench.lane.reports.outcomes()
    assert [(o.key, o.outcome) for o in told.outcomes] == [("a.test", "quarantined")]
    assert told.settled_revision == 3


def test_many_exceptions_are_told_in_pages_that_are_each_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "OUTCOMES_PAGE", 2)
    bench = LaneBench()
    bench.take(server(1), *(zone(f"z{n}.test", n, refuse="n" * 5000) for n in range(2, 7)))
    pages = bench.lane.reports.outcomes()
    assert [[o.revision for o in page.outcomes] for page in pages] == [[2, 3], [4, 5], [6]]
    assert [page.settled_revision for page in pages] == [3, 5, 6]
    words: list[Outcome] = [o for page in pages for o in page.outcomes]
    assert {len(o.message) for o in words} == {telling.LONGEST_WORDS}
