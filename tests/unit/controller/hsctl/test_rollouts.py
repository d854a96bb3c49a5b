"""``hsctl rollout``: how they are listed, and the exit code that following one comes to."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.client import exit_codes
from controller.hsctl.rollouts import judge
from tests.unit.controller.hsctl.conftest import Cli


def rollout(state: str, written: int, message: str = "") -> dict[str, Any]:
    return {"id": 2, "state": state, "written": written, "waves": [1, 3, 26], "message": message}


def test_one_that_runs_is_not_judged() -> None:
    assert judge(rollout("running", 1)) is None


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (rollout("done", 3), exit_codes.DONE, "3 of 3 waves are live"),
        (
            rollout("paused", 1, "web2: no memory"),
            exit_codes.NOT_APPLIED,
            "1 of 3 waves were sent, it is paused: web2: no memory; hsctl rollout resume 2 goes on",
        ),
        (
            rollout("stopped", 2, "stopped by operator:ada"),
            exit_codes.NOT_APPLIED,
            "2 of 3 waves were sent, it is stopped: stopped by operator:ada",
        ),
    ],
)
def test_only_one_that_is_live_everywhere_is_done(
    state: dict[str, Any], code: int, words: str
) -> None:
    verdict = judge(state)
    assert verdict is not None
    assert (verdict.exit_code, verdict.words) == (code, words)


@ensureDeferred
async def test_a_list_names_each_by_its_number(cli: Cli) -> None:
    cli.answers({"items": [{**rollout("running", 1), "settings": {"timeout": 45}}], "next": None})
    listed = (await cli.run("rollout", "list")).out.splitlines()
    assert listed[0].split()[0] == "id"
    assert listed[1].split()[0] == "2"
