from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.fleet.conditions import Condition
from controller.web.panel import wording

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_every_condition_has_a_colour() -> None:
    for condition in Condition.__args__:
        assert wording.colour(condition) != "secondary", condition


def test_unknown_is_never_shown_in_the_colour_of_done() -> None:
    assert wording.colour("unknown") != wording.colour("done")
    assert wording.colour("a new word") != wording.colour("done")


@pytest.mark.parametrize(
    ("command", "request_", "words"),
    [
        ("domain.add", {"name": "shop.test"}, "Domain shop.test added"),
        ("domain.add", {"name": "xn--bcher-kva.test"}, "Domain bücher.test added"),
        ("domain.add", {"name": "{0.__class__}"}, "Domain {0.__class__} added"),
        ("domain.add", {}, "Domain added"),
        ("domain.add", {"name": 7}, "Domain added"),
        ("lserver.signup", {"name": "web1", "signup": True}, "Signup on web1 switched on"),
        ("lserver.signup", {"name": "web1", "signup": False}, "Signup on web1 switched off"),
        ("new.command", {"name": "x"}, "new.command"),
    ],
)
def test_a_change_is_told_as_a_sentence(
    command: str, request_: dict[str, object], words: str
) -> None:
    assert wording.sentence(command, request_) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (3601, "1 h"),
        (90061, "1 d 1 h"),
        (-1, "unknown"),
        ("x", "unknown"),
        (True, "unknown"),
    ],
)
def test_a_time_span_is_told_in_its_largest_units(seconds: object, words: str) -> None:
    assert wording.duration(seconds) == words


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans()))
def test_no_number_of_a_box_breaks_a_page(value: object) -> None:
    assert isinstance(wording.size(value), str)
    assert isinstance(wording.duration(value), str)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=40), "40 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(days=3), "3 days ago"),
        (-timedelta(days=89), "in 89 days"),
    ],
)
def test_how_long_ago_is_told_to_the_unit_that_matters(before: timedelta, words: str) -> None:
    assert wording.ago((NOW - before).isoformat(), NOW) == words


def test_no_time_is_never() -> None:
    assert wording.ago(None, NOW) == "never"
    assert wording.ago("not a time", NOW) == "never"
