"""Serials on their circle (RFC 1982)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.serials import MODULUS, at_least, is_newer, next_serial

serials = st.integers(0, MODULUS - 1)


@given(serials, st.integers(0, 2**40))
def test_next_serial_is_always_newer(current: int, now: int) -> None:
    assert is_newer(next_serial(current, now), current)
    assert 0 < next_serial(current, now) < MODULUS


@given(serials, serials)
def test_of_two_serials_at_most_one_is_newer(left: int, right: int) -> None:
    assert not (is_newer(left, right) and is_newer(right, left))
    assert at_least(left, left)


def test_serial_passes_the_end_of_the_circle() -> None:
    assert next_serial(MODULUS - 1, 1_800_000_000 - MODULUS // 2) == 1
    assert is_newer(1, MODULUS - 1)


def test_serial_follows_the_clock_and_steps_when_the_clock_does_not() -> None:
    assert next_serial(0, 1_800_000_000) == 1_800_000_000
    assert next_serial(1_800_000_000, 1_800_000_000) == 1_800_000_001
    assert next_serial(1_800_000_005, 1_800_000_000) == 1_800_000_006


@pytest.mark.parametrize(
    ("seen", "wanted", "reached"),
    [(5, 5, True), (6, 5, True), (4, 5, False), (0, 2**32 - 1, True), (2**32 - 1, 0, False)],
)
def test_serials_are_compared_by_rfc_1982(seen: int, wanted: int, reached: bool) -> None:
    assert at_least(seen, wanted) is reached
