"""What a box serves now, object by object, and what each of them requires.

Part of the journal: called on its worker thread.
"""

import sqlite3
from collections.abc import Iterable

from node_agent.journal_format import ids_of
from node_agent.records import AppliedObject
from templates.objects import ObjectId
from templates.service_type import SERVER_UNIT


class AppliedTable:
    """The tables ``applied`` and ``applied_requires``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, lane: str, ids: Iterable[ObjectId]) -> dict[ObjectId, AppliedObject]:
        """Give those of ``ids`` that the box serves."""
        # One look-up each: SQLite would walk the whole lane for a list of pairs.
        rows = (self._find(lane, "kind = ? AND key = ?", id.kind, id.key) for id in ids)
        return {each.id: each for found in rows for each in found}

    def of_units(self, lane: str, units: Iterable[str]) -> dict[ObjectId, AppliedObject]:
        """Give the applied objects of these render units."""
        # Named, because SQLite takes the primary key (the whole lane) to be as good.
        rows = (self._find(lane, "unit = ?", unit, index="applied_unit") for unit in units)
        return {each.id: each for found in rows for each in found}

    def of_kinds(self, lane: str, kinds: Iterable[str]) -> tuple[AppliedObject, ...]:
        """Give all applied objects of some kinds."""
        return tuple(each for kind in sorted(kinds) for each in self._find(lane, "kind = ?", kind))

    def some_units(self, lane: str, count: int) -> tuple[str, ...]:
        """Give render units that the box serves, drawn by chance; never the server's own."""
        rows = self._db.execute(
            "SELECT DISTINCT unit FROM applied WHERE lane = ? AND unit <> ?"
            " ORDER BY random() LIMIT ?",
            (lane, SERVER_UNIT, count),
        )
        return tuple(unit for (unit,) in rows)

    def besides(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give applied objects other than ``id``; at most ``limit``."""
        rows = self._db.execute(
            "SELECT kind, key FROM applied WHERE lane = ? AND (kind, key) <> (?, ?) LIMIT ?",
            (lane, id.kind, id.key, limit),
        )
        return tuple(ObjectId(kind, key) for kind, key in rows)

    def count(self, lane: str) -> int:
        """Tell how many objects the box serves."""
        row = self._db.execute("SELECT count(*) FROM applied WHERE lane = ?", (lane,)).fetchone()
        return int(row[0])

    def dependents(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give applied objects that require ``id``; at most ``limit``."""
        rows = self._db.execute(
            "SELECT kind, key FROM applied_requires"
            " WHERE lane = ? AND needs_kind = ? AND needs_key = ? LIMIT ?",
            (lane, id.kind, id.key, limit),
        )
        return tuple(ObjectId(kind, key) for kind, key in rows)

    # --- written (within a transaction) ---

    def put(self, lane: str, each: AppliedObject) -> None:
        """Note that the box serves this object now."""
        id = each.id
        self._db.execute(
            "DELETE FROM applied_requires WHERE lane = ? AND kind = ? AND key = ?",
            (lane, id.kind, id.key),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO applied VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                lane,
                id.kind,
                id.key,
                each.revision,
                each.kind_version,
                each.spec,
                each.unit,
            ),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO applied_requires VALUES (?, ?, ?, ?, ?)",
            [(lane, need.kind, need.key, id.kind, id.key) for need in each.requires],
        )

    def remove(self, lane: str, id: ObjectId) -> None:
        """Note that the box serves this object no more."""
        for table in ("applied", "applied_requires"):
            self._db.execute(
                f"DELETE FROM {table} WHERE lane = ? AND kind = ? AND key = ?",  # noqa: S608
                (lane, id.kind, id.key),
            )

    def _find(self, lane: str, where: str, *values: str, index: str = "") -> list[AppliedObject]:
        hint = f"INDEXED BY {index}" if index else ""
        rows = self._db.execute(
            "SELECT kind, key, revision, kind_version, spec, unit, (SELECT json_group_array("  # noqa: S608
            "json_array(r.needs_kind, r.needs_key)) FROM applied_requires r WHERE"
            " r.lane = a.lane AND r.kind = a.kind AND r.key = a.key) FROM applied a"
            f" {hint} WHERE lane = ? AND {where}",
            (lane, *values),
        )
        return [
            AppliedObject(ObjectId(kind, key), revision, version, spec, unit, ids_of(requires))
            for kind, key, revision, version, spec, unit, requires in rows
        ]
