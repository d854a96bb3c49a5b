"""Services of boxes on the command line: the exit code is what came of it."""

import pytest
from pytest_twisted import ensureDeferred

from controller.client import exit_codes
from controller.cluster.boxes.services import ActOnService, ShowLog
from tests.unit.controller.hsctl.conftest import Cli


def answer(outcome: str, message: str = "") -> dict[str, object]:
    told: dict[str, object] = {"name": "web1", "service": "cron", "action": "stop"}
    return {**told, "outcome": outcome, "message": message}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("done", exit_codes.DONE),
        ("refused", exit_codes.NOT_APPLIED),
        ("unknown", exit_codes.NOT_KNOWN_LIVE),
    ],
)
@ensureDeferred
async def test_r251_the_exit_code_says_what_came_of_an_action(
    cli: Cli, outcome: str, code: int
) -> None:
    cli.answers(answer(outcome, "" if outcome == "done" else "Access denied\x1b[2J"))
    ended = await cli.run("pserver", "service", "web1", "cron", "stop", "--reason", "runs away")
    assert ended.code == code
    assert f"cron on web1: stop {outcome}" in ended.err
    assert "\x1b" not in ended.err
    assert [asked.request for asked in cli.written] == [ActOnService("web1", "cron", "stop")]


@ensureDeferred
async def test_r251_a_log_is_printed_as_lines_that_cannot_steer_a_terminal(cli: Cli) -> None:
    cli.answers({"lines": ["one", "two\x1b[2J"], "cut": False})
    ended = await cli.run("pserver", "log", "web1", "cron", "--lines", "2")
    assert ended.code == exit_codes.DONE
    assert ended.out.splitlines()[0] == "one"
    assert "\x1b" not in ended.out
    assert cli.runner.asked[-1].request == ShowLog("web1", "cron", 2)


@ensureDeferred
async def test_r251_packages_are_listed_with_their_versions(cli: Cli) -> None:
    cli.answers({"items": [{"name": "bind9", "version": "1:9.18"}], "next": None})
    ended = await cli.run("pserver", "packages", "web1", "--search", "bind")
    assert ended.out.splitlines() == ["name\tversion", "bind9\t1:9.18"]
