"""What tests leave behind: nothing, also where they are killed."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.local_cluster import eventually

_TESTS = """
import os, subprocess, sys
from tests.scratch import scratch
directory = scratch("hs-swept-")
(directory / "file").write_text("x")
if os.geteuid() == 0:
    (directory / "small").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory / "small"], check=True)
left = subprocess.Popen(["/bin/sleep", "600"], cwd=directory)
print(directory, left.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["killed", "interrupted", "at an end"])
def test_directories_and_what_runs_in_them_end_with_the_tests(how: str) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", _TESTS],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert tests.stdin is not None
    assert tests.stdout is not None
    directory, pid = tests.stdout.readline().split()
    assert Path(directory, "file").exists()
    if how == "at an end":
        tests.stdin.close()
    else:
        tests.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
    tests.wait(60)
    assert eventually(lambda: not Path(directory).exists(), 60)
    assert directory not in Path("/proc/mounts").read_text()
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie"
    tests.stdin.close()
    tests.stdout.close()
