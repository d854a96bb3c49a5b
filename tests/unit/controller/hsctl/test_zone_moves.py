"""How following a move of zones ends."""

from typing import Any

import pytest

from controller.client import exit_codes
from controller.hsctl.zone_moves import follow_move, judge
from tests.unit.controller.hsctl.scripted import Scripted


def move(**more: Any) -> dict[str, Any]:
    return {
        "id": 3,
        "state": "running",
        "message": "",
        "zones": 4,
        "moved": 0,
        "under_way": 0,
        "failed": 0,
        "leaving": 0,
        "leaves_at": None,
        "ended_at": None,
        "waiting": [],
        **more,
    }


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (move(), None),
        (move(moved=3, under_way=1), None),
        (move(moved=4), exit_codes.DONE),
        (move(moved=1, leaving=3, leaves_at="2026-01-01T00:00:00+00:00"), exit_codes.DONE),
        (move(moved=3, failed=1), exit_codes.NOT_APPLIED),
        (move(moved=1, state="stopped", ended_at="x"), exit_codes.NOT_APPLIED),
        (move(moved=2, state="done", ended_at="x"), exit_codes.DONE),  # two were deleted meanwhile
    ],
)
def test_a_move_is_over_when_its_zones_are_on_their_new_servers(
    state: dict[str, Any], code: int | None
) -> None:
    verdict = judge(state)
    assert (None if verdict is None else verdict.exit_code) == code


def follow(*states: dict[str, Any] | type[BaseException]) -> int:
    passed = iter(range(100_000))
    client: Any = Scripted("dns.progress", *states)
    return follow_move(client, 3, now=lambda: float(next(passed)), pause=lambda _: None)


def test_it_is_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert follow(move(), move(moved=2, under_way=2), move(moved=4)) == exit_codes.DONE
    told = capsys.readouterr().err
    assert "2 of 4 zones moved" in told
    assert "4 of 4 zones are on their new servers [move 3]" in told


def test_ctrl_c_leaves_it_going_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert follow(move(), KeyboardInterrupt) == exit_codes.NOT_KNOWN_LIVE
    assert "hsctl dns watch 3" in capsys.readouterr().err


def test_one_that_does_not_move_is_left_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = [{"zone": "a.test", "message": "ns2: the box is not connected"}]
    assert follow(move(under_way=1, waiting=waiting)) == exit_codes.NOT_KNOWN_LIVE
    assert "a.test: ns2: the box is not connected" in capsys.readouterr().err
