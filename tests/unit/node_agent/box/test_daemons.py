"""Daemons under control: the right process is signalled, and no other."""

import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import attrs
import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from node_agent.box.daemons import (
    RELOAD_DEADLINE,
    RELOAD_LOOK,
    DirectDaemons,
    Serves,
    SystemdDaemons,
)
from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    NotFinishedError,
)
from templates.effects import CheckProgram
from templates.service_type import Daemon, LaneContext

DAEMON = """
import os, signal, sys, time
root, mode = sys.argv[1], sys.argv[2]
if mode == "refuses":
    sys.exit("the configuration is wrong")
if os.fork():
    sys.exit()
os.setsid()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
wanted = []
signal.signal(signal.SIGUSR1, lambda *_: wanted.append(1))
def child():
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            time.sleep(60)
    return pid
children = []
def end(*_):
    for each in children:
        os.kill(each, signal.SIGTERM)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
children.append(child())
with open(root + "/daemon.pid", "w") as file:
    file.write(str(os.getpid()))
while True:
    signal.pause() if not wanted else None
    if wanted:
        wanted.clear()
        if mode == "dies":
            end()
        while mode == "slow" and not os.path.exists(root + "/go"):
            time.sleep(0.01)
        os.kill(children.pop(), signal.SIGTERM)
        children.append(child())
"""


def daemon_of(mode: str) -> Daemon:
    return Daemon(
        program="daemon",
        start=lambda context: (
            "-c",
            DAEMON,
            str(context.root),
            mode,
        ),
        pid_file="daemon.pid",
        reload="SIGUSR1",
        check=lambda context: CheckProgram("daemon", ()),
        baseline=lambda context: (),
    )


GOOD = daemon_of("good")
PYTHON = PurePosixPath(os.path.realpath(sys.executable))


@attrs.frozen
class Stage:
    context: LaneContext
    daemons: DirectDaemons

    def pid(self) -> int:
        pid = self.daemons.pid(self.context, GOOD)
        assert pid is not None
        return pid


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(lane_context(tmp_path), DirectDaemons(reactor, {"daemon": PYTHON}))
    yield made
    await made.daemons.stop(made.context, GOOD)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def lane_context(root: Path) -> LaneContext:
    return LaneContext(
        lane="6c1d1f0e-0000-4000-8000-000000000001",
        server=None,
        root=PurePosixPath(root),
        daemon_user=None,
    )


@pytest_twisted.ensureDeferred
async def test_daemon_starts_stops_and_restarts(stage: Stage) -> None:
    daemons, context = stage.daemons, stage.context
    assert not await daemons.running(context, GOOD)
    await daemons.start(context, GOOD)
    first = stage.pid()
    await daemons.start(context, GOOD)
    assert stage.pid() == first
    await daemons.restart(context, GOOD)
    assert stage.pid() != first
    assert gone(first)
    await daemons.stop(context, GOOD)
    assert not await daemons.running(context, GOOD)
    await daemons.stop(context, GOOD)


@pytest_twisted.ensureDeferred
async def test_reload_ends_when_a_new_child_serves(stage: Stage) -> None:
    await stage.daemons.start(stage.context, GOOD)
    before = {child.pid for child in psutil.Process(stage.pid()).children()}
    await stage.daemons.reload(stage.context, GOOD)
    assert {child.pid for child in psutil.Process(stage.pid()).children()} - before


@pytest_twisted.ensureDeferred
async def test_daemon_that_ends_at_reload_is_told(stage: Stage) -> None:
    dying = daemon_of("dies")
    await stage.daemons.start(stage.context, dying)
    with pytest.raises(EffectFailedError, match="ended when it was told to reload"):
        await stage.daemons.reload(stage.context, dying)


async def slowly(stage: Stage, serves: Serves) -> tuple[Clock, Deferred[None]]:
    """Tell a daemon that takes its time to reload, by a clock of our own."""
    slow = daemon_of("slow")
    await stage.daemons.start(stage.context, slow)
    clock = Clock()
    by_clock = DirectDaemons(clock, stage.daemons.table)
    return clock, Deferred.fromCoroutine(by_clock.reload(stage.context, slow, serves))


@pytest_twisted.ensureDeferred
async def test_reload_that_takes_a_minute_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    looks: list[float] = []

    async def serves() -> None:
        looks.append(clock.seconds())

    clock, reload = await slowly(stage, serves)
    clock.pump([1.0] * 70)
    assert not reload.called
    assert len(looks) == 2
    (tmp_path / "go").touch()
    for _ in range(500):
        clock.advance(0.1)
        if reload.called:
            break
        await deferLater(reactor, 0.01)
    assert reload.called
    await reload


@pytest_twisted.ensureDeferred
async def test_reload_that_does_not_end_is_told_and_blames_nothing(stage: Stage) -> None:
    async def serves() -> None:
        """All is well."""

    clock, reload = await slowly(stage, serves)
    clock.pump([1.0] * (int(RELOAD_DEADLINE) + 2))
    with pytest.raises(NotFinishedError, match="does not finish its reload"):
        await reload


@pytest_twisted.ensureDeferred
async def test_reload_of_a_daemon_that_serves_nobody_is_given_up_early(stage: Stage) -> None:
    async def serves() -> None:
        raise BoxUnavailableError("nobody answers")

    clock, reload = await slowly(stage, serves)
    clock.pump([1.0] * (int(RELOAD_LOOK) + 2))
    with pytest.raises(NotFinishedError, match="does not serve: nobody answers"):
        await reload


@pytest_twisted.ensureDeferred
async def test_daemon_that_refuses_to_start_is_quoted(stage: Stage) -> None:
    with pytest.raises(EffectFailedError, match="the configuration is wrong"):
        await stage.daemons.start(stage.context, daemon_of("refuses"))


@pytest_twisted.ensureDeferred
async def test_reload_of_what_does_not_run_is_unavailable(stage: Stage) -> None:
    with pytest.raises(BoxUnavailableError, match="does not run"):
        await stage.daemons.reload(stage.context, GOOD)


@pytest_twisted.ensureDeferred
async def test_pid_of_another_program_is_never_signalled(stage: Stage, tmp_path: Path) -> None:
    # It names a path of the lane, as an operator's pager or editor would.
    (tmp_path / "daemon.pid").touch()
    other = psutil.Popen(["/usr/bin/tail", "-f", str(tmp_path / "daemon.pid")])
    try:
        (tmp_path / "daemon.pid").write_text(str(other.pid))
        assert not await stage.daemons.running(stage.context, GOOD)
        await stage.daemons.stop(stage.context, GOOD)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest_twisted.ensureDeferred
async def test_same_program_of_another_lane_is_never_signalled(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.daemons.start(stage.context, GOOD)
    for name in ("other", tmp_path.name + "0"):
        other = tmp_path.parent / name
        other.mkdir()
        (other / "daemon.pid").write_text(str(stage.pid()))
        assert stage.daemons.pid(lane_context(other), GOOD) is None
    await stage.daemons.stop(lane_context(tmp_path.parent / "other"), GOOD)
    assert await stage.daemons.running(stage.context, GOOD)


@pytest.mark.parametrize(
    "content", ["", "0", "-1", "1 2", "1\n2", "\u0661", "99999999999", "4194305", "x"]
)
def test_pid_file_without_a_pid_means_not_running(tmp_path: Path, content: str) -> None:
    (tmp_path / "daemon.pid").write_text(content)
    daemons = DirectDaemons(reactor, {"daemon": PYTHON})
    assert daemons.pid(lane_context(tmp_path), GOOD) is None


@pytest_twisted.ensureDeferred
async def test_pid_file_that_is_a_link_or_pipe_is_not_read(stage: Stage, tmp_path: Path) -> None:
    await stage.daemons.start(stage.context, GOOD)
    file, kept = tmp_path / "daemon.pid", tmp_path / "kept.pid"
    file.rename(kept)
    file.symlink_to(kept)
    assert stage.daemons.pid(stage.context, GOOD) is None
    file.unlink()
    os.mkfifo(file)
    assert stage.daemons.pid(stage.context, GOOD) is None
    file.unlink()
    kept.rename(file)


FAKE = """#!/bin/sh
echo "$*" >> {log}
case "$1" in is-active) exit {active};; *) echo "Job failed."; exit {status};; esac
"""


def systemd(tmp_path: Path, *, active: int = 0, status: int = 0, said: str = "") -> SystemdDaemons:
    program, journal = tmp_path / "systemctl", tmp_path / "journalctl"
    program.write_text(FAKE.format(log=tmp_path / "log", active=active, status=status))
    journal.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path / "asked"}\necho "{said}"\n')
    for each in (program, journal):
        each.chmod(stat.S_IRWXU)
    return SystemdDaemons(reactor, {each.name: PurePosixPath(each) for each in (program, journal)})


@pytest_twisted.ensureDeferred
async def test_systemd_is_asked_for_the_lanes_unit(tmp_path: Path) -> None:
    daemons, context = systemd(tmp_path), lane_context(tmp_path)
    assert await daemons.running(context, GOOD)
    await daemons.start(context, GOOD)
    await daemons.reload(context, GOOD)
    await daemons.restart(context, GOOD)
    await daemons.stop(context, GOOD)
    unit = f"heliosphere-daemon@{context.lane}.service"
    assert log_lines(tmp_path) == [
        f"is-active --quiet -- {unit}",
        f"enable --now -- {unit}",
        f"is-active --quiet -- {unit}",
        f"reload -- {unit}",
        f"restart -- {unit}",
        f"disable --now -- {unit}",
    ]


def log_lines(directory: Path) -> list[str]:
    return (directory / "log").read_text().splitlines()


@pytest_twisted.ensureDeferred
async def test_refusal_of_systemd_is_quoted(tmp_path: Path) -> None:
    daemons, context = systemd(tmp_path, active=3, status=1), lane_context(tmp_path)
    assert not await daemons.running(context, GOOD)
    with pytest.raises(EffectFailedError, match=r"Job failed\."):
        await daemons.start(context, GOOD)
    with pytest.raises(BoxUnavailableError):
        await daemons.reload(context, GOOD)


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_does_not_start_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemons = systemd(tmp_path, status=1, said="named.conf:93: permission denied")
    context = lane_context(tmp_path)
    with pytest.raises(EffectFailedError, match=r"^named\.conf:93: permission denied\nsystemctl"):
        await daemons.start(context, GOOD)
    (tmp_path / "journalctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("node_agent.box.daemons.WORDS_DEADLINE", 0.1)
    with pytest.raises(EffectFailedError, match=r"^systemctl enable --now .* Job failed\.$"):
        await daemons.start(context, GOOD)
    (tmp_path / "journalctl").unlink()
    with pytest.raises(EffectFailedError, match=r"^systemctl enable --now .* Job failed\.$"):
        await daemons.start(context, GOOD)
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    unit = f"heliosphere-daemon@{context.lane}.service"
    assert asked.startswith(f"_SYSTEMD_UNIT={unit} --since -30s --lines 4 ")


@pytest_twisted.ensureDeferred
async def test_lane_that_names_no_unit_is_refused(tmp_path: Path) -> None:
    for lane in ("", "--now", "a/b", "a b", "a@b", "a\n", "\u00e4"):
        context = attrs.evolve(lane_context(tmp_path), lane=lane)
        with pytest.raises(EffectFailedError, match="cannot name"):
            await systemd(tmp_path).running(context, GOOD)
