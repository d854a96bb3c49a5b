"""How far a lane is with an object: never more than is known."""

import attrs
import pytest

from controller.progress import (
    LaneFacts,
    LaneProgress,
    LaneWord,
    OutcomeFacts,
    judge,
    judge_serial,
    overall,
)

LANE = LaneFacts(stored=4, settled=4, condition="ok", message="", connected=True, seen=True)


def word(lane: LaneFacts, outcome: OutcomeFacts | None = None) -> str:
    return judge(5, lane, outcome)[0]


def test_settled_without_an_exception_is_live() -> None:
    assert word(attrs.evolve(LANE, settled=5)) == "live"
    assert word(attrs.evolve(LANE, settled=5, connected=False)) == "live"


@pytest.mark.parametrize(
    ("early", "shown"), [(None, "sending"), (4, "sending"), (5, "live"), (6, "live")]
)
def test_what_was_applied_before_its_turn_is_live_at_that_revision(
    early: int | None, shown: str
) -> None:
    assert judge(5, LANE, None, early)[0] == shown


def test_an_exception_goes_before_what_was_applied_before_its_turn() -> None:
    assert judge(5, LANE, OutcomeFacts(5, "failed", "no"), 5) == ("failed", "no")
    assert judge(5, attrs.evolve(LANE, condition="ahead"), None, 5)[0] == "held"


def test_a_lane_that_rests_says_why_what_it_has_is_not_live_yet() -> None:
    resting = attrs.evolve(LANE, stored=5, condition="behind", message="the next reload")
    assert judge(5, resting, None) == ("stored", "the next reload")


def test_stored_is_not_done() -> None:
    assert word(LANE) == "sending"
    assert word(attrs.evolve(LANE, stored=5)) == "stored"


def test_a_box_that_is_away_is_unknown() -> None:
    assert judge(5, attrs.evolve(LANE, connected=False), None) == (
        "unknown",
        "the box is not connected",
    )
    assert word(attrs.evolve(LANE, connected=False, stored=5)) == "unknown"
    assert judge(5, attrs.evolve(LANE, connected=False, seen=False), None)[1] == (
        "the box never connected"
    )


@pytest.mark.parametrize("condition", ["held", "ahead", "blocked", "daemon-down", "disk-full"])
def test_a_stuck_lane_says_so(condition: str) -> None:
    state, message = judge(5, attrs.evolve(LANE, condition=condition), None)
    assert state == "held"
    assert message


def test_what_was_settled_under_another_history_is_not_live() -> None:
    assert word(attrs.evolve(LANE, stored=9, settled=9, condition="ahead")) == "held"


def test_an_exception_of_this_revision_counts_before_the_lane_is_settled() -> None:
    assert word(LANE, OutcomeFacts(5, "quarantined", "no")) == "quarantined"


def test_an_exception_of_an_older_revision_does_not() -> None:
    assert word(LANE, OutcomeFacts(3, "quarantined", "no")) == "sending"


def test_a_secondary_is_live_when_it_answers_the_serial_or_a_later_one() -> None:
    assert judge_serial(7, 7, LANE)[0] == "live"
    assert judge_serial(7, 8, LANE)[0] == "live"
    assert judge_serial(7, 6, LANE)[0] == "waiting"
    assert judge_serial(7, None, LANE)[0] == "waiting"
    assert judge_serial(2, 2**32 - 2, LANE)[0] == "waiting"
    assert judge_serial(2**32 - 2, 2, LANE)[0] == "live"
    assert judge_serial(7, 6, attrs.evolve(LANE, connected=False))[0] == "unknown"


@pytest.mark.parametrize(
    ("words", "sum_"),
    [
        ((), "done"),
        (("live", "live"), "done"),
        (("live", "unknown"), "pending"),
        (("live", "held"), "pending"),
        (("waiting",), "pending"),
        (("live", "failed"), "failed"),
        (("quarantined", "sending"), "failed"),
    ],
)
def test_a_change_is_done_only_when_live_everywhere(words: tuple[LaneWord, ...], sum_: str) -> None:
    assert overall(LaneProgress("b", "s", "k", "", 1, word, "") for word in words) == sum_
