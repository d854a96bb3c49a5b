"""The open journal: what a lane is in the middle of, with what takes it back.

Part of the journal: called within its transactions, on its worker thread.
"""

import sqlite3
from collections.abc import Iterable

from node_agent.records import Entry, Phase


class EntryTable:
    """The tables ``entry`` and ``live``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def open(self, lane: str, phase: Phase, body: bytes) -> int:
        """Write an entry and give its id; ids grow."""
        cursor = self._db.execute(
            "INSERT INTO entry (lane, phase, body) VALUES (?, ?, ?)", (lane, phase, body)
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def mark_live(self, ids: Iterable[int]) -> None:
        """Note of entries that the daemon was seen to serve them."""
        self._db.executemany("INSERT OR IGNORE INTO live VALUES (?)", [(id,) for id in ids])

    def close(self, ids: Iterable[int]) -> None:
        """Delete entries with their before-images."""
        marks = [(id,) for id in ids]
        self._db.executemany("DELETE FROM entry WHERE id = ?", marks)
        self._db.executemany("DELETE FROM live WHERE entry = ?", marks)

    def still_open(self, lane: str) -> tuple[Entry, ...]:
        """Give what was begun and not closed, oldest first."""
        rows = self._db.execute(
            "SELECT id, phase, body, id IN (SELECT entry FROM live) FROM entry WHERE lane = ?"
            " ORDER BY id",
            (lane,),
        )
        return tuple(Entry(id, phase, body, bool(live)) for id, phase, body, live in rows)
