"""Drift on a lane: found between rounds, told, shown, brought back or kept."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from node_agent.box.interface import FileImage, LinkImage
from node_agent.concurrency import inline
from node_agent.drift import PAGE_FILES
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.engine import Engine
from node_agent.grants import Grants
from node_agent.wire.messages import MOST_FINDINGS, Drift, DriftPolicy, Outcomes
from node_agent.wire.questions import Repaired, Verified
from tests.unit.node_agent.bench_of_one import LANE, Bench, gone, page, server, zone
from tests.unit.node_agent.lane_bench import LaneBench
from tests.unit.node_agent.toy_service import BAD_SYNTAX, TOY

ZONE = "zones/a.test.zone"


def running(policy: DriftPolicy = "report", zones: int = 1) -> LaneBench:
    bench = LaneBench()
    bench.journal.lanes.assign([(LANE, "toy1", "toy")], {LANE: policy})
    bench.start()
    names = ["a.test", *(f"z{n:04}.test" for n in range(zones - 1))]
    bench.take(server(1), *(zone(name, n) for n, name in enumerate(names, 2)), page("p", 5000))
    bench.said.clear()
    bench.daemon.log.clear()
    return bench


def asked(bench: LaneBench, question: Coroutine[Any, Any, Any]) -> Any:
    """Give what comes of a question; time passes until it is answered."""
    results: list[Any] = []
    Deferred.fromCoroutine(question).addBoth(results.append)
    for _ in range(20_000):
        if results:
            break
        bench.clock.advance(0.001)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


def verified(bench: LaneBench) -> Drift:
    answer = asked(bench, bench.lane.drift.verify(10.0))
    assert isinstance(answer, Verified)
    assert answer.ended
    return bench.heard(Drift)[-1]  # type: ignore[no-any-return]


def found(bench: LaneBench) -> dict[str, str]:
    return {each.path: each.what for each in verified(bench).findings}


def edit(bench: LaneBench, path: str, **changes: Any) -> None:
    image = bench.daemon.files.nodes[path]
    assert isinstance(image, FileImage)
    values = {name: getattr(image, name) for name in ("content", "mode", "uid", "gid")}
    bench.daemon.files.nodes[path] = FileImage(**{**values, **changes})


def outcomes(bench: LaneBench) -> dict[str, str]:
    return {each.key: each.outcome for told in bench.heard(Outcomes) for each in told.outcomes}


EDITS: dict[str, Callable[[LaneBench], Any]] = {
    "changed": lambda bench: edit(bench, ZONE, content=b"by hand"),
    "missing": lambda bench: bench.daemon.files.nodes.pop(ZONE),
    "kind": lambda bench: bench.daemon.files.nodes.update({ZONE: LinkImage("/etc/passwd")}),
    "mode": lambda bench: edit(bench, ZONE, mode=0o666),
    "owner": lambda bench: edit(bench, ZONE, uid=33),
}


def test_what_was_written_and_left_alone_is_no_drift() -> None:
    bench = running()
    told = verified(bench)
    assert (told.files, told.total, told.findings) == (3, 0, ())
    assert told.verified_ago >= 0


@pytest.mark.parametrize("what", EDITS)
def test_each_kind_of_drift_is_found_and_brought_back(what: str) -> None:
    bench = running()
    before = dict(bench.daemon.files.nodes)
    EDITS[what](bench)
    touched = dict(bench.daemon.files.nodes)
    assert found(bench) == {ZONE: what}
    assert bench.daemon.files.nodes == touched, "to verify touches nothing"
    answer = asked(bench, bench.lane.drift.repair(ZONE))
    assert [(each.path, each.outcome) for each in answer.files] == [(ZONE, "repaired")]
    assert bench.daemon.files.nodes == before
    assert found(bench) == {}


def test_a_repair_is_answered_after_it_was_told_what_drifts_still() -> None:
    bench = running()
    edit(bench, ZONE, content=b"by hand")
    assert verified(bench).total == 1
    bench.said.clear()
    asked(bench, bench.lane.drift.repair(ZONE))
    assert [told.total for told in bench.heard(Drift)] == [0]


def test_a_repair_of_all_takes_one_reload_and_touches_no_outcome() -> None:
    bench = running(zones=250)
    for path in list(bench.daemon.files.nodes):
        if path.endswith((".zone", ".conf")):
            edit(bench, path, content=b"x")
    assert verified(bench).total == 252
    answer = asked(bench, bench.lane.drift.repair(""))
    assert (answer.total, answer.reload) == (252, True)
    assert {each.outcome for each in answer.files} == {"repaired"}
    # toy.conf and the account's page are among the first hundred, and in one round.
    assert bench.daemon.log.count("reload") <= 2
    assert outcomes(bench) == {}
    assert found(bench) == {}


def test_a_preview_touches_nothing() -> None:
    bench = running()
    edit(bench, "toy.conf", content=b"x")
    verified(bench)
    log, nodes = list(bench.daemon.log), dict(bench.daemon.files.nodes)
    answer = asked(bench, bench.lane.drift.preview(""))
    assert isinstance(answer, Repaired)
    assert [(each.path, each.outcome) for each in answer.files] == [("toy.conf", "would")]
    assert answer.reload
    assert (bench.daemon.log, bench.daemon.files.nodes) == (log, nodes)


def test_findings_are_bounded_and_the_rest_is_counted() -> None:
    bench = running(zones=MOST_FINDINGS + 30)
    for path in list(bench.daemon.files.nodes):
        if path.endswith(".zone"):
            edit(bench, path, mode=0o600)
    told = verified(bench)
    assert (len(told.findings), told.total) == (MOST_FINDINGS, MOST_FINDINGS + 30)


def test_findings_survive_a_restart() -> None:
    bench = running()
    EDITS["changed"](bench)
    verified(bench)
    bench.start()
    told = bench.lane.drift.verifier.report()
    assert [each.path for each in told.findings] == [ZONE]
    assert told.verified_ago == -1


def test_the_timer_finds_it_too_and_reads_a_little_at_a_time() -> None:
    bench = running(zones=PAGE_FILES * 4)
    EDITS["changed"](bench)
    bench.pass_time(3600)
    assert [each.path for each in bench.heard(Drift)[-1].findings] == [ZONE]


def test_the_next_change_of_the_object_writes_it_anew_and_that_is_told() -> None:
    bench = running()
    EDITS["changed"](bench)
    verified(bench)
    bench.take(zone("a.test", 6000, serial=2))
    bench.pass_time(2)
    assert bench.heard(Drift)[-1].total == 0
    assert outcomes(bench)["a.test"] == "applied"


def test_what_was_removed_is_no_drift() -> None:
    bench = running()
    bench.take(gone("zone", "a.test", 6000))
    assert verified(bench).files == 2
    assert found(bench) == {}


def test_a_path_that_the_agent_did_not_write_is_neither_shown_nor_repaired() -> None:
    bench = running()
    bench.daemon.files.nodes["secret.conf"] = FileImage(b"x", 0o600, 0, 0)
    for path in ("secret.conf", "../../etc/shadow", "/etc/shadow", "zones", "a\0b"):
        for ask in (bench.lane.drift.difference, bench.lane.drift.repair, bench.lane.drift.preview):
            with pytest.raises(EffectFailedError, match="no such file"):
                asked(bench, ask(path))


def test_the_difference_is_shown_and_a_link_is_not_followed() -> None:
    bench = running()
    EDITS["changed"](bench)
    shown = asked(bench, bench.lane.drift.difference(ZONE))
    assert "-by hand" in shown.lines
    EDITS["kind"](bench)
    shown = asked(bench, bench.lane.drift.difference(ZONE))
    assert "a link to /etc/passwd stands where a file was written" in shown.words
    assert not [line for line in shown.lines if line.startswith("-") and line[1:2] != "-"]


def test_the_policy_repair_brings_it_back_by_itself() -> None:
    bench = running("repair")
    EDITS["changed"](bench)
    asked(bench, bench.lane.drift.verify(10.0))
    bench.pass_time(5)
    assert found(bench) == {}
    assert bench.daemon.files.content(ZONE) != b"by hand"


def test_by_the_policy_report_nothing_is_touched() -> None:
    bench = running("report")
    EDITS["changed"](bench)
    verified(bench)
    bench.pass_time(7200)
    assert bench.daemon.files.content(ZONE) == b"by hand"


def test_a_held_lane_is_looked_at_and_not_touched() -> None:
    bench = running("repair")
    bench.lane.hold(True)
    EDITS["changed"](bench)
    assert found(bench) == {ZONE: "changed"}
    bench.pass_time(7200)
    assert bench.daemon.files.content(ZONE) == b"by hand"
    with pytest.raises(BoxUnavailableError, match="held"):
        asked(bench, bench.lane.drift.repair(ZONE))


@pytest.mark.parametrize("verb", ["changes", "removes"])
def test_what_is_kept_holds_the_change_that_would_overwrite_it_and_no_other(verb: str) -> None:
    bench = running("keep", zones=2)
    EDITS["changed"](bench)
    change = zone("a.test", 6000, serial=2) if verb == "changes" else gone("zone", "a.test", 6000)
    bench.take(change, zone("z0000.test", 6001, serial=2))
    assert outcomes(bench) == {"a.test": "held", "z0000.test": "applied"}
    (held,) = bench.journal.exceptions(LANE)
    assert ZONE in held.message
    assert "drift repair" in held.message
    assert bench.daemon.files.content(ZONE) == b"by hand"


def test_what_was_held_for_a_kept_file_goes_on_after_the_repair() -> None:
    bench = running("keep")
    EDITS["changed"](bench)
    bench.take(zone("a.test", 6000, serial=2))
    asked(bench, bench.lane.drift.repair(ZONE))
    assert outcomes(bench)["a.test"] == "applied"
    assert bench.daemon.serials["a.test"] == 2


def test_what_was_held_for_a_kept_file_goes_on_by_another_policy() -> None:
    bench = running("keep")
    EDITS["changed"](bench)
    bench.take(zone("a.test", 6000, serial=2))
    asked(bench, bench.lane.drift.set_policy("report"))
    assert outcomes(bench)["a.test"] == "applied"


def test_a_repair_that_is_refused_leaves_the_file_as_it_was_found() -> None:
    bench = running()
    edit(bench, "accounts/1.conf", content=b"by hand")
    EDITS["changed"](bench)
    verified(bench)
    good = bench.world.check
    bench.world.check = lambda files, check: (
        "" if check.arguments != ("accounts/.1.conf.candidate",) else "refused by the checker"
    )
    answer = asked(bench, bench.lane.drift.repair(""))
    assert {each.path: each.outcome for each in answer.files} == {
        "accounts/1.conf": "refused",
        ZONE: "repaired",
    }
    assert "refused by the checker" in answer.files[0].words
    assert bench.daemon.files.content("accounts/1.conf") == b"by hand"
    bench.world.check = good
    assert found(bench) == {"accounts/1.conf": "changed"}


def test_what_the_owner_of_the_box_does_not_grant_is_not_repaired_either() -> None:
    bench = running()
    edit(bench, "toy.conf", content=b"by hand")
    bench.box.grants = Grants()
    answer = asked(bench, bench.lane.drift.repair("toy.conf"))
    assert [(each.outcome, "not granted" in each.words) for each in answer.files] == [
        ("refused", True)
    ]
    assert bench.daemon.files.content("toy.conf") == b"by hand"


def test_a_file_broken_by_hand_is_mended_though_the_checker_refuses_what_is_there() -> None:
    bench = running()
    edit(bench, "toy.conf", content=BAD_SYNTAX.encode())
    answer = asked(bench, bench.lane.drift.repair("toy.conf"))
    assert [each.outcome for each in answer.files] == ["repaired"]
    assert bench.daemon.files.content("toy.conf") == b"plain"


def test_a_daemon_that_serves_is_never_told_to_read_what_was_broken_by_hand() -> None:
    """The repaired file is not answered as it should be: what is put back kills who reads it."""
    bench = running()
    edit(bench, "toy.conf", content=BAD_SYNTAX.encode())
    reloads: list[int] = []

    def at(step: str) -> None:
        if step == "reload":
            reloads.append(1)
            if len(reloads) == 1:
                raise EffectFailedError("the reload was refused")

    bench.world.at = at
    with pytest.raises(BoxUnavailableError, match="what was put back is refused"):
        asked(bench, bench.lane.drift.repair("toy.conf"))
    assert len(reloads) == 1
    assert bench.daemon.alive


def test_what_an_unfinished_step_left_is_no_drift_yet() -> None:
    bench = running()
    with bench.journal.transaction():
        entry = bench.journal.entries.open(
            LANE, "apply", b"of a step that is neither done nor undone"
        )
    EDITS["changed"](bench)
    answer = asked(bench, bench.lane.drift.verify(3.0))
    assert (answer.drifted, answer.ended) == (0, False)
    with bench.journal.transaction():
        bench.journal.entries.close([entry])
    bench.pass_time(5)
    assert bench.heard(Drift)[-1].total == 1, "the look that was asked for goes on"


@pytest_twisted.ensureDeferred
async def test_after_a_crash_a_daemon_is_not_told_to_read_what_was_broken_by_hand() -> None:
    bench = Bench()
    await bench.apply(server(1), page("p", 2))
    bench.lane.files.nodes["toy.conf"] = FileImage(BAD_SYNTAX.encode(), 0o644, 0, 0)

    def at(point: str) -> None:
        if point == "reloaded":
            raise CrashError

    bench.at = at
    with pytest.raises(CrashError):
        await bench.apply(server(3, setting="other"))
    bench.at = lambda point: None
    bench.lane.log.clear()
    bench.engine = Engine(LANE, TOY, bench.box, bench.journal, blocking=inline)
    await bench.engine.recover()
    assert bench.lane.files.content("toy.conf") == BAD_SYNTAX.encode()
    assert "reload" not in bench.lane.log
    assert bench.lane.alive


class CrashError(BaseException):
    """The agent is killed."""


@pytest.mark.parametrize("kind", ["quick", "heavy"])
@pytest_twisted.ensureDeferred
async def test_a_repair_that_is_killed_ends_before_or_after(kind: str, tmp_path: Path) -> None:
    path = {"quick": ZONE, "heavy": "toy.conf"}[kind]
    points: set[str] = set()
    for kill in range(40):
        bench = Bench(path=tmp_path / f"{kind}{kill}.sqlite")
        await bench.apply(server(1), zone("a.test", 2))
        written = bench.lane.files.content(path)
        bench.lane.files.nodes[path] = FileImage(b"by hand", 0o644, 0, 0)
        left = [kill]

        def at(point: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                points.add(point)
                raise CrashError

        bench.at = at
        try:
            wanted, _ = bench.engine.repairs.wanted(path)
            await bench.engine.repairs.bring_back(wanted)
        except CrashError:
            bench.at = lambda point: None
            bench.restart()
            await bench.engine.recover()
            assert not bench.journal.entries.still_open(LANE)
            assert bench.lane.files.content(path) in (b"by hand", written)
            assert bench.journal.exceptions(LANE) == ()
        else:
            assert bench.lane.files.content(path) == written
            break
    assert points >= {"staged", "swapped", "probed", "settled"}


def test_a_journal_of_an_older_agent_takes_what_stands_there_as_written() -> None:
    bench = running()
    known = bench.journal.files.page(LANE, "", 100)
    bench.journal.files.forget(LANE, [each.path for each in known])
    bench.journal.db.execute("UPDATE lane SET unfilled = ''")
    EDITS["changed"](bench)
    assert verified(bench).total == 0
    assert {each.path for each in bench.journal.files.page(LANE, "", 100)} == {
        each.path for each in known
    }
    EDITS["mode"](bench)
    assert found(bench) == {ZONE: "mode"}


def test_a_file_that_moved_units_is_still_somebodys() -> None:
    bench = running()
    bench.take(page("p", 6000, account=2))
    edit(bench, "accounts/2.conf", content=b"x")
    assert found(bench) == {"accounts/2.conf": "changed"}
    asked(bench, bench.lane.drift.repair(""))
    assert found(bench) == {}
