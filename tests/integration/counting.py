"""Counts what commands ask of the database: round trips, and the values that came."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import attrs
from twisted.internet.defer import Deferred

from controller.storage.database import Transaction
from controller.storage.link import Link

_ASK = Link.ask
_ROWS = Transaction.rows


@attrs.define
class Asked:
    """What was asked while it was counted."""

    round_trips: int = 0
    values: int = 0
    """Values of all rows; each item of a JSON list or record is one too."""


@contextmanager
def counted() -> Iterator[Asked]:
    """Count what every transaction of this process asks."""
    asked = Asked()

    def ask(link: Link, sql: str, parameters: Sequence[object] | None) -> "Deferred[Any]":
        if not sql.startswith("PREPARE "):  # once for a connection, while nobody waits for it
            asked.round_trips += 1
        return _ASK(link, sql, parameters)

    async def rows(
        tx: Transaction, sql: str, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        found = await _ROWS(tx, sql, parameters)
        asked.values += _values(found)
        return found

    with patch.object(Link, "ask", ask), patch.object(Transaction, "rows", rows):
        yield asked


def _values(found: Any) -> int:
    if isinstance(found, dict):
        found = found.values()
    elif not isinstance(found, list | tuple):
        return 1
    return sum(map(_values, found))
