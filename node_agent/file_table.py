"""What the journal knows of files: those that the agent wrote, and those found otherwise since.

Part of the journal: called within its transactions, on its worker thread.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from node_agent import looks
from node_agent.records import WrittenFile
from node_agent.wire.messages import DriftFinding
from templates.effects import RemovePath


class FileTable:
    """The tables ``file`` and ``finding``, and how far a lane of an older format is filled in."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    # --- what was written ---

    def wrote(self, lane: str, files: Sequence[WrittenFile], gone: Iterable[RemovePath]) -> None:
        """Note what a step left: how its files must look, and which are ours no more.

        What was found of these files before says nothing any more.
        """
        for effect in gone:
            link = None if effect.target is None else looks.link_to(effect.target)
            self._db.execute(
                "DELETE FROM file WHERE lane = ? AND path = ? AND ? IN ('', looks)",
                (lane, effect.path, link or ""),
            )
            self._acquit(lane, effect.path)
        self._db.executemany(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?, ?)",
            [_row(lane, each) for each in files],
        )
        for each in files:
            self._acquit(lane, each.path)

    def fill(self, lane: str, files: Iterable[WrittenFile], through: str | None) -> None:
        """Note files of a journal that did not note them; what is noted since stays.

        ``through`` is the last render unit that was looked at, None at the end.
        """
        self._db.executemany(
            "INSERT OR IGNORE INTO file VALUES (?, ?, ?, ?, ?, ?, ?)",
            [_row(lane, each) for each in files],
        )
        self._db.execute("UPDATE lane SET unfilled = ? WHERE id = ?", (through, lane))

    def unfilled(self, lane: str, limit: int) -> tuple[str, ...] | None:
        """Give the next render units to be filled in; None where all is noted."""
        (after,) = self._db.execute("SELECT unfilled FROM lane WHERE id = ?", (lane,)).fetchone()
        if after is None:
            return None
        rows = self._db.execute(
            "SELECT DISTINCT unit FROM applied INDEXED BY applied_unit"
            " WHERE lane = ? AND unit > ? ORDER BY unit LIMIT ?",
            (lane, after, limit),
        )
        return tuple(unit for (unit,) in rows)

    def forget(self, lane: str, paths: Iterable[str]) -> None:
        """Note that these are no files of ours any more."""
        self.wrote(lane, (), tuple(RemovePath(path) for path in paths))

    def page(self, lane: str, after: str, limit: int) -> tuple[WrittenFile, ...]:
        """Give files in the order of their paths."""
        rows = self._db.execute(
            "SELECT path, units, looks, size, mode, owner FROM file"
            " WHERE lane = ? AND path > ? ORDER BY path LIMIT ?",
            (lane, after, limit),
        )
        return tuple(_file(row) for row in rows)

    def find(self, lane: str, path: str) -> WrittenFile | None:
        """Give one file that the agent wrote."""
        row = self._db.execute(
            "SELECT path, units, looks, size, mode, owner FROM file WHERE lane = ? AND path = ?",
            (lane, path),
        ).fetchone()
        return None if row is None else _file(row)

    def count(self, lane: str) -> int:
        """Tell how many files are the agent's."""
        row = self._db.execute("SELECT count(*) FROM file WHERE lane = ?", (lane,)).fetchone()
        return int(row[0])

    # --- what was found ---

    def found(self, lane: str, finding: DriftFinding) -> None:
        """Note that a file is not as it was written."""
        self._db.execute(
            "INSERT OR REPLACE INTO finding VALUES (?, ?, ?, ?)",
            (lane, finding.path, finding.what, finding.words),
        )

    def acquitted(self, lane: str, paths: Iterable[str]) -> None:
        """Note that these are as they were written."""
        for path in paths:
            self._acquit(lane, path)

    def findings(self, lane: str, limit: int, after: str = "") -> tuple[DriftFinding, ...]:
        """Give what was found, in the order of the paths."""
        rows = self._db.execute(
            "SELECT path, what, words FROM finding WHERE lane = ? AND path > ?"
            " ORDER BY path LIMIT ?",
            (lane, after, limit),
        )
        return tuple(DriftFinding(*row) for row in rows)

    def finding(self, lane: str, path: str) -> DriftFinding | None:
        """Give what was found of one file."""
        row = self._db.execute(
            "SELECT path, what, words FROM finding WHERE lane = ? AND path = ?", (lane, path)
        ).fetchone()
        return None if row is None else DriftFinding(*row)

    def drifted(self, lane: str) -> int:
        """Tell how many files were found otherwise."""
        row = self._db.execute("SELECT count(*) FROM finding WHERE lane = ?", (lane,)).fetchone()
        return int(row[0])

    def _acquit(self, lane: str, path: str) -> None:
        self._db.execute("DELETE FROM finding WHERE lane = ? AND path = ?", (lane, path))


def _row(lane: str, file: WrittenFile) -> tuple[str, str, str, str, int, int, str]:
    units = json.dumps(file.units)
    return (lane, file.path, units, file.looks, file.size, file.mode, file.owner)


def _file(row: tuple[Any, ...]) -> WrittenFile:
    path, units, *rest = row
    return WrittenFile(path, tuple(json.loads(units)), *rest)
