"""P10: however many changes need a reload, a daemon rests between them, and nothing else waits."""

from node_agent.lanes import RESTING
from node_agent.reload_limit import AT_ONCE, SHORTEST
from tests.unit.node_agent.bench_of_one import LANE, page, server, zone
from tests.unit.node_agent.lane_bench import LaneBench
from tests.unit.node_agent.toy_service import BAD_SYNTAX, KILLER

REST = 20


def resting_bench() -> LaneBench:
    """A lane that has had all the reloads that may follow one another."""
    bench = LaneBench()
    bench.take(server(1, reload_rest=REST))
    for number in range(AT_ONCE):
        bench.take(page(f"first{number}.test", number + 2))
    assert reloads(bench) == AT_ONCE
    return bench


def reloads(bench: LaneBench) -> int:
    return bench.daemon.log.count("reload")


def test_p10_500_edits_in_a_minute_are_a_few_reloads() -> None:
    bench = LaneBench()
    bench.take(server(1, reload_rest=REST))
    for number in range(500):
        bench.take(page(f"p{number}.test", number + 2, account=number % 7))
        bench.pass_time(0.12)
    within_the_minute = reloads(bench)
    assert within_the_minute <= AT_ONCE + 60 / (REST * SHORTEST)
    bench.pass_time(REST + 1)
    assert reloads(bench) <= within_the_minute + 1
    assert bench.lane.reports.condition == "ok"
    assert bench.journal.exceptions(LANE) == ()
    assert bench.journal.settled_revision(LANE) == 501
    served = b"".join(
        bench.daemon.files.content(f"accounts/{account}.conf") or b"" for account in range(7)
    )
    assert all(b"p%d.test" % number in served for number in range(500))


def test_a_lane_that_rests_says_so_and_comes_back_by_itself() -> None:
    bench = resting_bench()
    bench.take(page("late.test", 9))
    assert (bench.lane.reports.condition, bench.lane.reports.message) == ("behind", RESTING)
    assert bench.journal.settled_revision(LANE) == 8
    bench.pass_time(REST / 4 - 1)
    assert reloads(bench) == AT_ONCE
    bench.pass_time(REST)
    assert (bench.lane.reports.condition, bench.lane.reports.message) == ("ok", "")
    assert bench.journal.settled_revision(LANE) == 9
    assert b"late.test" in (bench.daemon.files.content("accounts/1.conf") or b"")


def test_what_needs_no_reload_and_the_server_itself_do_not_wait() -> None:
    bench = resting_bench()
    bench.take(page("late.test", 9), zone("quick.test", 10, serial=7))
    assert bench.daemon.serials == {"quick.test": 7}
    bench.take(zone("quick.test", 11, serial=8))
    assert bench.daemon.serials == {"quick.test": 8}
    bench.take(server(12, "other", reload_rest=REST))
    assert b"other" in (bench.daemon.files.content("toy.conf") or b"")
    assert b"late.test" not in (bench.daemon.files.content("accounts/1.conf") or b"")


def test_the_newest_version_is_what_comes_with_the_reload() -> None:
    bench = resting_bench()
    for number, text in enumerate(("one", BAD_SYNTAX, KILLER, "last")):
        bench.take(page("late.test", 20 + number, text=text))
    bench.pass_time(REST + 1)
    assert reloads(bench) == AT_ONCE + 1
    assert b"last" in (bench.daemon.files.content("accounts/1.conf") or b"")
    assert bench.journal.exceptions(LANE) == ()


def test_an_operator_may_let_reloads_come_as_they_may() -> None:
    bench = resting_bench()
    bench.take(server(9, reload_rest=0))
    for number in range(8):
        before = reloads(bench)
        bench.take(page(f"more{number}.test", number + 10))
        assert reloads(bench) == before + 1


def test_an_agent_that_starts_anew_makes_live_what_waited() -> None:
    bench = resting_bench()
    bench.take(page("late.test", 9))
    bench.start()
    bench.pass_time(1)
    assert bench.lane.reports.condition == "ok"
    assert b"late.test" in (bench.daemon.files.content("accounts/1.conf") or b"")
