"""Services: the closed table, lanes' daemons between their rounds, logs that lead nowhere else."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor

from node_agent.answering import MOST_AT_ONCE, Answering
from node_agent.box.interface import FileImage
from node_agent.concurrency import inline
from node_agent.services import ServiceDesk
from node_agent.stopped import StoppedLanes
from node_agent.systemd_units import SystemdUnits, told
from node_agent.wire.messages import Question
from node_agent.wire.questions import (
    MOST_LINES,
    ActionDone,
    AnyAsk,
    AnyFound,
    AskAction,
    AskLog,
    AskPackages,
    AskServices,
    Declined,
    LogLines,
    ServiceAction,
    Services,
)
from tests.unit.node_agent.bench_of_one import LANE, server, zone
from tests.unit.node_agent.lane_bench import LaneBench

SYSTEMCTL = """
echo "$@" >> {log}
case "$1" in
show) printf 'Id=cron.service\\nLoadState=loaded\\nActiveState=%s\\n' "$(cat {state})"
      printf 'SubState=x\\nUnitFileState=enabled\\n\\n'
      printf 'Id=gone.service\\nLoadState=not-found\\nActiveState=inactive\\n' ;;
--no-ask-password) [ "$2" != enable ] || {{ echo 'Access denied' >&2; exit 1; }}
      [ "$2" != stop ] || echo inactive > {state} ;;
esac
"""
GRANTED = {"cron": "cron.service", "gone": "gone.service"}


class Box:
    """A lane in memory, a systemctl and a journalctl of the test's own, and who answers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bench = LaneBench()
        self.bench.take(server(1), zone("a.test", 2, serial=1))
        (directory / "state").write_text("active\n")
        programs = {
            "systemctl": self.program(
                "systemctl",
                SYSTEMCTL.format(log=directory / "asked", state=directory / "state"),
            ),
            "journalctl": self.program("journalctl", 'echo "$@"; seq 1 2000'),
        }
        self.desk = ServiceDesk(
            units=SystemdUnits(reactor, programs, GRANTED),
            journal=self.bench.journal,
            blocking=inline,
            stopped=StoppedLanes(directory),
            log_files={"toy": "logs/error.log"},
        )
        self.answering = Answering(reactor, programs, self.desk)

    def program(self, name: str, script: str) -> PurePosixPath:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return PurePosixPath(path)

    @property
    def asked(self) -> list[str]:
        """What systemctl was asked."""
        path = self.directory / "asked"
        return path.read_text().splitlines() if path.exists() else []

    async def ask(self, ask: AnyAsk) -> AnyFound:
        question = Question(id=7, seconds=60.0, ask=ask)
        answer = await self.answering.answer(question, (self.bench.lane,))
        assert answer.id == 7
        return answer.found

    async def act(self, service: str, action: ServiceAction) -> AnyFound:
        return await self.ask(AskAction(service=service, action=action))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.bench.journal.close()


@ensureDeferred
async def test_r251_lanes_and_named_units_are_listed_with_what_may_be_done(box: Box) -> None:
    found = await box.ask(AskServices())
    assert isinstance(found, Services)
    lane, cron, gone = found.services
    assert (lane.name, lane.kind, lane.state, lane.actions) == (
        "toy1",
        "lane",
        "running",
        ("restart", "stop"),
    )
    assert (cron.name, cron.state, cron.boots) == ("cron", "running", "enabled")
    assert cron.actions == ("restart", "stop", "disable")
    assert (gone.state, gone.actions, gone.detail) == ("unknown", (), "no such unit here")


@ensureDeferred
async def test_r251_a_named_unit_is_stopped_by_systemctl_with_the_name_of_the_table(
    box: Box,
) -> None:
    found = await box.act("cron", "stop")
    assert isinstance(found, ActionDone)
    assert found.service.state == "stopped"
    assert box.asked[0] == "--no-ask-password stop -- cron.service"


@pytest.mark.parametrize(
    "service", ["sshd", "cron.service", "", "../cron", "-H", "cron\n", "toy1.service", "Cron"]
)
@ensureDeferred
async def test_r251_what_the_owner_has_not_named_is_refused_and_nothing_is_started(
    box: Box, service: str
) -> None:
    for ask in (AskAction(service=service, action="stop"), AskLog(service=service)):
        found = await box.ask(ask)
        assert isinstance(found, Declined)
        assert found.reason == "not-granted"
    assert box.asked == []
    assert box.bench.daemon.alive


@ensureDeferred
async def test_systemd_that_refuses_is_told_in_its_own_words(box: Box) -> None:
    assert await box.act("cron", "enable") == Declined(reason="failed", words="Access denied")


@ensureDeferred
async def test_a_machine_without_systemd_says_so_and_still_tells_of_its_lanes(box: Box) -> None:
    box.desk.units.table["systemctl"] = PurePosixPath("/nowhere/systemctl")  # type: ignore[index]
    found = await box.ask(AskServices())
    assert isinstance(found, Services)
    assert [one.state for one in found.services] == ["running", "unknown", "unknown"]
    refused = await box.act("cron", "stop")
    assert isinstance(refused, Declined)
    assert refused.reason == "unavailable"


@ensureDeferred
async def test_r251_a_lane_is_restarted_and_serves_what_it_served(box: Box) -> None:
    box.bench.daemon.log.clear()
    found = await box.act("toy1", "restart")
    assert isinstance(found, ActionDone)
    assert found.service.state == "running"
    assert [event for event in box.bench.daemon.log if event in ("stop", "start")] == [
        "stop",
        "start",
    ]
    assert box.bench.daemon.serials == {"a.test": 1}
    assert box.bench.lane.reports.condition == "ok"


@ensureDeferred
async def test_a_daemon_that_would_not_start_again_is_not_stopped(box: Box) -> None:
    box.bench.world.check = lambda files, check: "a broken override file"
    box.bench.daemon.log.clear()
    found = await box.act("toy1", "restart")
    assert isinstance(found, Declined)
    assert "a broken override file" in found.words
    assert "stop" not in box.bench.daemon.log
    assert box.bench.daemon.alive
    assert box.bench.lane.reports.condition == "ok"


@ensureDeferred
async def test_a_restart_that_fails_is_told_with_the_daemons_words(box: Box) -> None:
    box.bench.world.starts = lambda files: False
    found = await box.act("toy1", "restart")
    assert isinstance(found, Declined)
    assert "did not stay up" in found.words
    assert box.bench.lane.reports.condition == "daemon-down"


@ensureDeferred
async def test_r251_a_stopped_lane_stays_down_takes_its_changes_and_comes_back_by_start(
    box: Box,
) -> None:
    found = await box.act("toy1", "stop")
    assert isinstance(found, ActionDone)
    assert (found.service.state, found.service.actions) == ("stopped", ("start",))
    assert "stopped by request" in found.service.detail
    box.bench.take(zone("a.test", 3, serial=2))
    box.bench.pass_time()
    assert not box.bench.daemon.alive
    assert box.bench.lane.reports.condition == "held"
    await box.bench.lane.stop()
    box.bench.start()
    box.bench.pass_time()
    assert box.bench.lane.reports.state().message.startswith("stopped by request")
    assert not box.bench.daemon.alive, "a new life of the agent started what was stopped"
    assert isinstance(await box.act("toy1", "start"), ActionDone)
    assert box.bench.daemon.serials == {"a.test": 2}
    assert box.bench.lane.reports.condition == "ok"


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
@ensureDeferred
async def test_a_hold_set_on_the_box_is_never_ended_from_outside(
    box: Box, action: ServiceAction
) -> None:
    box.bench.journal.lanes.set_held(LANE, True)
    box.bench.lane.hold(True)
    found = await box.act("toy1", action)
    assert isinstance(found, Declined)
    assert "hs-agent release" in found.words
    assert box.bench.lane.held
    assert box.bench.daemon.alive


@ensureDeferred
async def test_a_lane_released_on_the_box_and_held_there_anew_is_the_boxs_own_again(
    box: Box,
) -> None:
    await box.act("toy1", "stop")
    box.bench.journal.lanes.set_held(LANE, False)
    box.bench.lane.hold(False)
    box.desk.released(LANE)
    box.bench.lane.hold(True)
    assert isinstance(await box.act("toy1", "start"), Declined)


@ensureDeferred
async def test_a_lane_has_no_boot_of_its_own(box: Box) -> None:
    for action in ("enable", "disable"):
        assert isinstance(await box.act("toy1", action), Declined)  # type: ignore[arg-type]


@ensureDeferred
async def test_r251_the_log_of_a_lane_is_the_end_of_its_own_file(box: Box) -> None:
    missing = await box.ask(AskLog(service="toy1"))
    assert isinstance(missing, Declined)
    text = "".join(f"line {number}\n" for number in range(50)) + "\x1b[2Jlast\n"
    box.bench.daemon.files.nodes["logs/error.log"] = FileImage(text.encode(), 0o644, 0, 0)
    found = await box.ask(AskLog(service="toy1", lines=2))
    assert found == LogLines(lines=("line 49", "?[2Jlast"), cut=True)


@ensureDeferred
async def test_r251_the_log_of_a_unit_comes_from_the_journal_and_is_bounded(box: Box) -> None:
    found = await box.ask(AskLog(service="cron", lines=10**9))
    assert isinstance(found, LogLines)
    assert (len(found.lines), found.cut) == (MOST_LINES, True)
    short = await box.ask(AskLog(service="cron", lines=5000))
    assert isinstance(short, LogLines)


@ensureDeferred
async def test_a_box_answers_only_so_many_questions_at_once(box: Box) -> None:
    box.answering._in_work = MOST_AT_ONCE
    found = await box.ask(AskPackages())
    assert isinstance(found, Declined)
    assert found.reason == "busy"


def test_what_systemd_says_has_one_meaning() -> None:
    failed = told("x", {"LoadState": "loaded", "ActiveState": "failed", "UnitFileState": "static"})
    assert (failed.state, failed.boots, failed.actions) == ("failed", "disabled", ("start",))
    assert told("x", {}).state == "unknown"
