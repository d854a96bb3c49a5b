"""``hsctl recover``: the exit code once it is known how the boxes went on."""

from collections.abc import Mapping
from typing import Any

import pytest

from controller.client import exit_codes
from controller.hsctl.recovery import follow_recovery, judge

OK = {"pserver": "ns1", "condition": "ok", "connected": True, "message": ""}
COMPARED = {**OK, "condition": "behind", "message": "is compared"}
HELD = {**OK, "pserver": "ns2", "condition": "held", "message": "would remove 25 of 55"}
AWAY = {**OK, "pserver": "ns3", "connected": False}


class Asked:
    """Answers ``lserver.show`` with these lanes, one after the other, the last for ever."""

    def __init__(self, *lanes: Mapping[str, Any] | type[BaseException]) -> None:
        self.lanes = list(lanes)

    def read(self, command: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        assert (command, fields) == ("lserver.show", {"name": "dns.test"})
        lane = self.lanes.pop(0) if len(self.lanes) > 1 else self.lanes[0]
        if isinstance(lane, type):
            raise lane
        return {"lanes": [lane]}


@pytest.mark.parametrize("others", [[], [OK], [HELD], [AWAY]])
def test_what_is_compared_still_is_not_judged(others: list[dict[str, Any]]) -> None:
    assert judge({"lanes": [COMPARED, *others]}) is None


@pytest.mark.parametrize(
    ("lanes", "words"),
    [
        ([OK, HELD], "ns2 is held: would remove 25 of 55"),
        ([OK, AWAY], "ns3 is not connected"),
        ([HELD, AWAY], "ns2 is held: would remove 25 of 55; ns3 is not connected"),
    ],
)
def test_one_that_did_not_go_on_is_not_done(lanes: list[dict[str, Any]], words: str) -> None:
    verdict = judge({"lanes": lanes})
    assert verdict is not None
    assert (verdict.exit_code, verdict.words) == (exit_codes.NOT_KNOWN_LIVE, words)


@pytest.mark.parametrize(
    ("lanes", "code", "told"),
    [
        ((COMPARED, COMPARED, OK), exit_codes.DONE, ""),
        ((COMPARED, HELD), exit_codes.NOT_KNOWN_LIVE, "25 of 55"),
        ((COMPARED,), exit_codes.NOT_KNOWN_LIVE, "not known"),
        ((COMPARED, KeyboardInterrupt), exit_codes.NOT_KNOWN_LIVE, "it goes on"),
    ],
)
def test_it_is_followed_until_it_is_known(
    lanes: tuple[Any, ...], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]

    def pause(seconds: float) -> None:
        clock[0] += seconds

    asked: Any = Asked(*lanes)
    assert follow_recovery(asked, "dns.test", now=lambda: clock[0], pause=pause) == code
    said = capsys.readouterr().err
    assert told in said
    assert bool(said) == bool(told)
