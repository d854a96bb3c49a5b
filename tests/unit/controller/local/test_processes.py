"""Children of the supervisor: what they print is kept apart from the logs that they rotate."""

import errno
import os
import sys
from pathlib import Path

import pytest

from controller.local import processes
from controller.local.layout import ClusterPlan, Layout, LocalBox, Place
from controller.local.provision import write_agent_config
from controller.local.supervisor import Supervisor, started_by, still_running
from node_agent.config import read_config

SOMEWHERE = Place("127.0.0.1", 1)
BOX = LocalBox("ns1", "dns", "bind", SOMEWHERE, control_port=2)
PLAN = ClusterPlan("heliosphere.test", SOMEWHERE, SOMEWHERE, SOMEWHERE, (BOX,), ())


def child(folder: Path, *arguments: str) -> processes.Child:
    output = folder / "a.out"
    return processes.Child("a", [sys.executable, *arguments], folder / "a.log", output, {})


def finish(started: processes.Child) -> None:
    started.start()
    started._process.wait()  # type: ignore[union-attr]


def test_what_a_child_printed_is_set_aside_at_a_start_when_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_OUTPUT_BYTES", 50)
    one = child(tmp_path, "-c", "print('x' * 40)")
    for _ in range(3):
        finish(one)
    assert (tmp_path / "a.out").read_text() == "x" * 40 + "\n"
    assert (tmp_path / "a.out.1").read_text() == ("x" * 40 + "\n") * 2


def test_last_words_are_those_of_the_log_and_what_was_printed(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(f"line {number}\n" for number in range(20)))
    one = child(tmp_path, "-c", "import sys; sys.exit('no memory')")
    finish(one)
    words = one.last_words(3).splitlines()
    assert words == ["line 17", "line 18", "line 19", "no memory"]


def test_a_process_whose_group_outlives_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux before 6.9 says of such a process that its number is an invalid argument."""

    def refuse(number: int, flags: int = 0) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    one = child(tmp_path, "-c", "import time; time.sleep(60)")
    one.start()
    found = one.identity
    assert found is not None
    processes.end([found])
    assert found.process() is None


def test_a_local_agent_rotates_its_own_log(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_agent_config(layout, PLAN, BOX, {"named": "/usr/sbin/named"})
    config = read_config(layout.agent_config("ns1"))
    assert config.log == layout.logs / "agent-ns1.log"


def test_what_a_killed_supervisor_left_is_known_by_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert still_running(layout) == []
    supervisor = Supervisor(layout, PLAN, lambda _: None)
    one = supervisor.start("agent-ns1", "http.server", "--bind", "127.0.0.1", "0")
    try:
        assert [each.name for each in started_by(layout)] == ["agent-ns1"]
        assert still_running(layout) == ["agent-ns1"]
    finally:
        one.stop()
    assert still_running(layout) == []
    layout.processes.write_text('[{"pid": 1, "created": 0.0}]')  # as an older program wrote it
    assert [each.name for each in started_by(layout)] == [""]
