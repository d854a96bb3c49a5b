"""How following a move of an address ends."""

from typing import Any

import pytest

from controller.client import exit_codes
from controller.hsctl.address_move_views import begun
from controller.hsctl.address_moves import follow_move, judge
from tests.unit.controller.hsctl.scripted import Scripted


def move(**more: Any) -> dict[str, Any]:
    return {
        "id": 3,
        "state": "running",
        "phase": "announced",
        "words": "the other name servers come to know both addresses",
        "logical_server": "ns1.example.net",
        "old": "192.0.2.1",
        "new": "192.0.2.101",
        "zones": 4,
        "passed": 2,
        "failed": 0,
        "waiting": "",
        "old_until": None,
        "ended_at": None,
        **more,
    }


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (move(), None),
        (move(waiting="ns2: not connected"), None),
        (move(failed=1, waiting="ns2: no"), exit_codes.NOT_APPLIED),
        (move(phase="outlasting", old_until="2026-01-01T00:00:00+00:00"), exit_codes.DONE),
        (move(phase="retiring"), exit_codes.DONE),
        (move(state="done", phase="ended", ended_at="x"), exit_codes.DONE),
        (move(state="stopped"), None),
        (move(state="stopped", phase="ended", ended_at="x"), exit_codes.NOT_APPLIED),
    ],
)
def test_a_move_is_over_when_all_names_the_new_address(
    state: dict[str, Any], code: int | None
) -> None:
    verdict = judge(state)
    assert (None if verdict is None else verdict.exit_code) == code


def follow(*states: dict[str, Any] | type[BaseException]) -> int:
    passed = iter(range(100_000))
    client: Any = Scripted("ip.progress", *states)
    return follow_move(client, 3, now=lambda: float(next(passed)), pause=lambda _: None)


def test_it_is_followed_phase_by_phase(capsys: pytest.CaptureFixture[str]) -> None:
    ended = move(state="done", phase="ended", ended_at="x")
    assert follow(move(), move(passed=4), ended) == exit_codes.DONE
    told = capsys.readouterr().err
    assert "2 of 4 zones" in told
    assert "4 of 4 zones" in told
    assert "ns1.example.net answers on 192.0.2.101 alone [move 3]" in told


def test_ctrl_c_leaves_it_going_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert follow(move(), KeyboardInterrupt) == exit_codes.NOT_KNOWN_LIVE
    assert "hsctl ip watch 3" in capsys.readouterr().err


def test_one_that_comes_no_further_is_left_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = move(waiting="ns2: the box is not connected")
    assert follow(waiting) == exit_codes.NOT_KNOWN_LIVE
    assert "ns2: the box is not connected" in capsys.readouterr().err


def test_what_is_left_to_people_is_told_with_the_command_for_it() -> None:
    shown = begun(
        {
            "logical_server": "ns1.example.net",
            "old": "192.0.2.1",
            "new": "192.0.2.101",
            "prefix": 24,
            "port": 53,
            "type": "service",
            "zones": 2,
            "old_answers_seconds": 172800,
            "parents": ["example.net"],
            "by_hand": [{"zone": "a.test", "name": "ns", "type": "A", "data": "192.0.2.1"}],
            "settings": [{"server": "web1.example.net", "setting": "rsync_ips"}],
            "boxes": ["ns1"],
        }
    )
    assert shown["old_answers"] == "at least 48 hours after the switch"
    assert shown["change_at_the_parent"] == [
        "example.net: glue of ns1.example.net, 192.0.2.1 to 192.0.2.101"
    ]
    assert shown["settings_by_hand"] == ["hsctl lserver set web1.example.net rsync_ips=..."]
    assert shown["boxes_by_hand"] == ["hsctl pserver edit ns1 --ip 192.0.2.101"]
