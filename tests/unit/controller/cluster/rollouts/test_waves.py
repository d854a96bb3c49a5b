"""The waves of a rollout: everybody is in one, in their order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.rollouts.waves import WAVES, cut
from controller.refusal import CommandError

SIZES = st.one_of(st.integers(1, 40).map(str), st.integers(1, 100).map(lambda number: f"{number}%"))


@pytest.mark.parametrize(
    ("count", "waves", "sizes"),
    [
        (30, WAVES, [1, 3, 26]),
        (2, WAVES, [1, 1]),
        (1, WAVES, [1]),
        (0, WAVES, []),
        (30, ("1", "5", "50%"), [1, 5, 15, 9]),
        (30, ("rest",), [30]),
        (30, (), [30]),
        (30, ("100%",), [30]),
    ],
)
def test_a_few_come_first_then_a_share_then_the_rest(
    count: int, waves: tuple[str, ...], sizes: list[int]
) -> None:
    assert [len(wave) for wave in cut(range(count), waves)] == sizes


@given(st.integers(0, 60), st.lists(SIZES, max_size=6))
def test_nobody_is_left_out_or_named_twice(count: int, waves: list[str]) -> None:
    found = cut(range(count), waves)
    assert [item for wave in found for item in wave] == list(range(count))
    assert all(found)


@pytest.mark.parametrize("waves", [("0",), ("101%",), ("rest", "1"), ("x",), ("",), ("1",) * 21])
def test_what_is_no_wave_is_refused(waves: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        cut(range(5), waves)
    assert caught.value.id == "rollout.waves.invalid"
