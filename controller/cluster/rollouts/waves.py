"""In which waves servers are changed: a few first, then a share, then the rest. Pure."""

import re
from collections.abc import Sequence
from typing import TypeVar

from controller.refusal import CommandError

WAVES = ("1", "10%", "rest")
MOST = 20
"""Waves of one rollout, at most."""
_SIZE = re.compile(r"(?P<number>[1-9][0-9]{0,4})(?P<share>%?)")
_REST = "rest"

Item = TypeVar("Item")


def cut(items: Sequence[Item], waves: Sequence[str]) -> list[list[Item]]:
    """Cut items into waves, in their order.

    Each of ``waves`` is a number of items, a share of all of them (``10%``, at least one) or
    ``rest``, which is the last whether it is said or not. Raises `CommandError`
    ``rollout.waves.invalid``.
    """
    sizes = [_size(text, len(items)) for text in waves[:-1] or ()]
    last = waves[-1] if waves else _REST
    sizes.append(len(items) if last == _REST else _size(last, len(items)))
    if len(waves) > MOST:
        raise _invalid(f"{len(waves)} waves")
    left, cuts = list(items), []
    for size in (*sizes, len(items)):
        wave, left = left[:size], left[size:]
        if wave:
            cuts.append(wave)
    return cuts


def _size(text: str, count: int) -> int:
    found = _SIZE.fullmatch(text)
    if found is None or (found["share"] and int(found["number"]) > 100):
        raise _invalid(text)
    number = int(found["number"])
    return max(1, count * number // 100) if found["share"] else number


def _invalid(value: str) -> CommandError:
    return CommandError(
        "rollout.waves.invalid",
        "not the waves of a rollout",
        field="waves",
        value=value,
        allowed=f"at most {MOST} of: a number of servers, a share of them (10%), rest as the last",
    )
