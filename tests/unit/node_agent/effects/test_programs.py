"""Programs run to their end, and nothing else of ours reaches them."""

import os
from pathlib import Path, PurePosixPath

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor

from node_agent.effects.failures import BoxUnavailableError
from node_agent.effects.programs import ENVIRONMENT, OUTPUT_LIMIT, Finished, run_program

TABLE = {
    "echo": PurePosixPath("/usr/bin/echo"),
    "false": PurePosixPath("/usr/bin/false"),
    "env": PurePosixPath("/usr/bin/env"),
    "cat": PurePosixPath("/usr/bin/cat"),
    "pwd": PurePosixPath("/usr/bin/pwd"),
    "sleep": PurePosixPath("/usr/bin/sleep"),
    "head": PurePosixPath("/usr/bin/head"),
    "gone": PurePosixPath("/nowhere/gone"),
    "relative": PurePosixPath("usr/bin/echo"),
}


async def run(program: str, *arguments: str) -> Finished:
    return await run_program(reactor, TABLE, program, arguments)


@pytest_twisted.ensureDeferred
async def test_status_and_words_come_back() -> None:
    assert await run("echo", "a b", "$(id)", "`id`", ";id") == Finished(0, "a b $(id) `id` ;id")
    assert await run("false") == Finished(1, "")
    told = await run("cat", "/nowhere")
    assert told.status == 1
    assert "No such file" in told.output


@pytest_twisted.ensureDeferred
async def test_environment_directory_and_input_are_fixed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD_OF_OURS", "x")
    monkeypatch.chdir(tmp_path)
    environment = (await run("env")).output.splitlines()
    assert dict(line.split("=", 1) for line in environment) == ENVIRONMENT
    assert (await run("pwd")).output == "/"
    assert await run("cat") == Finished(0, "")


@pytest_twisted.ensureDeferred
async def test_program_outside_the_table_is_not_run() -> None:
    for program in ("sh", "/bin/echo", "gone", "relative", ""):
        with pytest.raises(BoxUnavailableError):
            await run(program)


@pytest_twisted.ensureDeferred
async def test_program_that_does_not_end_is_killed() -> None:
    with pytest.raises(BoxUnavailableError, match=r"did not end within 0\.1 seconds"):
        await run_program(reactor, TABLE, "sleep", ("86399",), timeout=0.1)
    mine = psutil.Process(os.getpid()).children(recursive=True)
    assert not [child for child in mine if "86399" in child.cmdline()]


@pytest_twisted.ensureDeferred
async def test_output_is_bounded() -> None:
    finished = await run("head", "-c", "1000000", "/dev/zero")
    assert finished.status == 0
    assert len(finished.output) == OUTPUT_LIMIT
