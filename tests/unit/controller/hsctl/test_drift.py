"""Drift on the command line: a question before many files, and the exit code of what came of it."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.client import exit_codes
from controller.cluster.drift import RepairFiles, ShowDifference
from tests.unit.controller.hsctl.conftest import Cli


def answer(total: int, *files: tuple[str, str], outcome: str = "done") -> dict[str, Any]:
    told = [{"path": path, "outcome": came, "message": "no\x1b[2J"} for path, came in files]
    box = {"box": "ns1", "outcome": outcome, "message": "away", "files": told}
    return {"name": "ns1.test", "path": "", "boxes": [{**box, "total": total, "reload": True}]}


@ensureDeferred
async def test_many_files_are_not_brought_back_without_a_yes(cli: Cli) -> None:
    cli.answers(answer(9, ("named.conf", "would")))
    ended = await cli.run("drift", "repair", "ns1.test")
    assert ended.code == exit_codes.USAGE
    assert "--yes" in ended.err
    assert not any(isinstance(each.request, RepairFiles) for each in cli.runner.asked)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (answer(9, ("named.conf", "repaired")), exit_codes.DONE),
        (answer(9, ("named.conf", "refused"), outcome="refused"), exit_codes.NOT_APPLIED),
        (answer(0, outcome="refused"), exit_codes.NOT_APPLIED),
        (answer(0, outcome="unknown"), exit_codes.NOT_KNOWN_LIVE),
    ],
)
@ensureDeferred
async def test_the_exit_code_says_what_came_of_a_repair(
    cli: Cli, told: dict[str, Any], code: int
) -> None:
    cli.answers(told)
    ended = await cli.run("drift", "repair", "ns1.test", "--yes")
    assert ended.code == code
    assert "\x1b" not in ended.err
    assert [asked.request for asked in cli.written] == [RepairFiles("ns1.test")]


@ensureDeferred
async def test_a_difference_cannot_steer_a_terminal(cli: Cli) -> None:
    lines = ["--- on the box", "-\x1b[2Jmine", "+ours"]
    cli.answers(
        {"path": "named.conf", "box": "ns1", "words": "changed", "lines": lines, "cut": True}
    )
    ended = await cli.run("drift", "show", "ns1.test", "named.conf")
    assert ended.code == exit_codes.DONE
    assert "+ours" in ended.out
    assert "\x1b[2J" not in ended.out
    assert cli.runner.asked[-1].request == ShowDifference("ns1.test", "named.conf")
