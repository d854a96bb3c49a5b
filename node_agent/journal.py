"""The agent's memory: one SQLite file with desired objects, applied objects and the open journal.

Everything that a box has promised or is in the middle of stands here. All calls block; the agent
makes them on one worker thread (ADR 0005). A *durable* commit has reached the disk when it returns;
the closing of a journal entry has not, since losing it only repeats work.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from node_agent.applied_table import AppliedTable
from node_agent.entry_table import EntryTable
from node_agent.file_table import FileTable
from node_agent.journal_file import JournalFile
from node_agent.journal_format import ids_of
from node_agent.lane_table import LaneTable
from node_agent.records import AppliedObject, Received, Removed, StoredObject, Verdict
from node_agent.wire import object_hash
from node_agent.wire.messages import Outcome, OutcomeName
from templates.objects import ObjectId


class Journal(JournalFile):
    """The desired objects and what became of them, with a table beside them for each other matter:
    ``lanes``, what is ``applied``, the open ``entries``, and the ``files``.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(path)
        self.lanes = LaneTable(self)
        self.applied = AppliedTable(self.db)
        self.entries = EntryTable(self.db)
        self.files = FileTable(self.db)

    # --- desired objects ---

    def store(self, lane: str, received: Received) -> None:
        """Store a batch (within a transaction). An older revision than the stored one is passed by.

        The object's earlier outcome is forgotten: it is pending again.
        """
        (era, stored, text) = self.db.execute(
            "SELECT era, stored_revision, object_hash FROM lane WHERE id = ?", (lane,)
        ).fetchone()
        total = object_hash.from_text(text)
        for item in received.items:
            row = self.db.execute(
                "SELECT revision, era, spec FROM object WHERE lane = ? AND kind = ? AND key = ?",
                (lane, item.kind, item.key),
            ).fetchone()
            if row is not None:
                revision, row_era, spec = row
                if row_era == era and revision >= item.revision:
                    continue
                if spec is not None:
                    share = object_hash.element(item.kind, item.key, revision, spec)
                    total = object_hash.combine(total, removed=share)
            if item.spec is not None:
                share = object_hash.element(item.kind, item.key, item.revision, item.spec)
                total = object_hash.combine(total, added=share)
            self.db.execute(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
                (
                    lane,
                    item.kind,
                    item.key,
                    item.revision,
                    era,
                    item.kind_version,
                    item.spec,
                    json.dumps(item.requires),
                    item.change,
                ),
            )
            self._clear_exception(lane, ObjectId(item.kind, item.key))
        self.db.execute(
            "UPDATE lane SET stored_revision = ?, object_hash = ?, history = ? WHERE id = ?",
            (max(stored, received.through), object_hash.as_text(total), received.history, lane),
        )

    def forget(self, lane: str, ids: Iterable[ObjectId]) -> None:
        """Turn objects that the controller does not know into removals at their own revision."""
        with self.transaction():
            text = self.lanes.get(lane).object_hash
            total = object_hash.from_text(text)
            for id in ids:
                row = self.db.execute(
                    "SELECT revision, spec FROM object WHERE lane = ? AND kind = ? AND key = ?",
                    (lane, id.kind, id.key),
                ).fetchone()
                if row is None or row[1] is None:
                    continue
                share = object_hash.element(id.kind, id.key, row[0], row[1])
                total = object_hash.combine(total, removed=share)
                self.db.execute(
                    "UPDATE object SET spec = NULL, requires = '[]', pending = 1"
                    " WHERE lane = ? AND kind = ? AND key = ?",
                    (lane, id.kind, id.key),
                )
                self._clear_exception(lane, id)
            self.db.execute(
                "UPDATE lane SET object_hash = ? WHERE id = ?", (object_hash.as_text(total), lane)
            )

    def pending(self, lane: str, limit: int) -> tuple[StoredObject, ...]:
        """Give the oldest objects that are neither applied nor have another outcome.

        What came ahead of older objects goes first: a person waits for it.
        """
        columns = "kind, key, revision, kind_version, spec, requires, change_id"
        stored = "(SELECT stored_revision FROM lane WHERE id = ?)"
        rows: list[tuple[Any, ...]] = []
        for which in (">", "<="):
            rows += self.db.execute(
                f"SELECT {columns} FROM object WHERE lane = ? AND pending"  # noqa: S608
                f" AND revision {which} {stored} ORDER BY revision LIMIT ?",
                (lane, lane, limit - len(rows)),
            )
        return tuple(
            StoredObject(ObjectId(kind, key), revision, version, spec, ids_of(requires), change)
            for kind, key, revision, version, spec, requires, change in rows
        )

    def unapplied(self, lane: str) -> int:
        """Tell how many objects are neither applied nor have another outcome."""
        row = self.db.execute(
            "SELECT count(*) FROM object WHERE lane = ? AND pending", (lane,)
        ).fetchone()
        return int(row[0])

    def desired(self, lane: str, id: ObjectId) -> StoredObject | None:
        """Give one desired object as it was last stored, None where it never was."""
        row = self.db.execute(
            "SELECT revision, kind_version, spec, requires, change_id FROM object"
            " WHERE lane = ? AND kind = ? AND key = ?",
            (lane, id.kind, id.key),
        ).fetchone()
        if row is None:
            return None
        revision, version, spec, requires, change = row
        return StoredObject(id, revision, version, spec, ids_of(requires), change)

    def settled_revision(self, lane: str, besides: frozenset[ObjectId] = frozenset()) -> int:
        """Give the revision up to which all has an outcome, taking ``besides`` as settled.

        What is tried again keeps its outcome until there is another.
        """
        rows = self.db.execute(
            "SELECT kind, key, revision FROM object AS o WHERE lane = ? AND pending"
            " AND NOT EXISTS (SELECT 1 FROM outcome AS x WHERE x.lane = o.lane"
            " AND x.kind = o.kind AND x.key = o.key AND x.revision = o.revision)"
            " ORDER BY revision LIMIT ?",
            (lane, len(besides) + 1),
        )
        stored = self.lanes.get(lane).stored_revision
        for kind, key, revision in rows:
            if ObjectId(kind, key) not in besides:
                return min(stored, int(revision) - 1)
        return stored

    def live(self, lane: str, after: ObjectId, limit: int) -> tuple[tuple[str, str, int], ...]:
        """Give (kind, key, revision) of live objects in the order of their names."""
        rows = self.db.execute(
            "SELECT kind, key, revision FROM object WHERE lane = ? AND spec IS NOT NULL"
            " AND (kind, key) > (?, ?) ORDER BY kind, key LIMIT ?",
            (lane, after.kind, after.key, limit),
        )
        return tuple(rows.fetchall())

    def retry(self, lane: str, id: ObjectId | None, outcomes: Sequence[OutcomeName]) -> int:
        """Have objects with one of these outcomes worked again; tell how many."""
        with self.transaction(durable=False):
            marks = ", ".join("?" * len(outcomes))
            where = f"lane = ? AND outcome IN ({marks})"
            values: list[object] = [lane, *outcomes]
            if id is not None:
                where += " AND kind = ? AND key = ?"
                values += [id.kind, id.key]
            found = self.db.execute(f"SELECT kind, key FROM outcome WHERE {where}", values)  # noqa: S608
            ids = [ObjectId(kind, key) for kind, key in found.fetchall()]
            for each in ids:
                self._pend_again(lane, each)
            return len(ids)

    def exceptions(self, lane: str) -> tuple[Outcome, ...]:
        """Give every outcome that is neither applied nor superseded."""
        rows = self.db.execute(
            "SELECT kind, key, revision, outcome, message FROM outcome WHERE lane = ?"
            " ORDER BY revision",
            (lane,),
        )
        return tuple(Outcome(*row) for row in rows)

    def take_back(self, lane: str, ids: Iterable[ObjectId], paths: Iterable[str]) -> None:
        """Note that the box serves these no more, and have them worked once more.

        ``paths`` are their files, which were taken out.
        """
        with self.transaction():
            self.files.forget(lane, paths)
            for id in ids:
                self.applied.remove(lane, id)
                self._pend_again(lane, id)

    # --- outcomes (within a transaction) ---

    def settle(self, lane: str, done: Iterable[AppliedObject | Removed]) -> None:
        """Write what the box serves now, and wake what waited for it."""
        for each in done:
            id = each.id
            if isinstance(each, Removed):
                self.applied.remove(lane, id)
            else:
                self.applied.put(lane, each)
            self._not_pending(lane, id, each.revision)
            self._clear_exception(lane, id)
            self._wake(lane, id)

    def judge(self, lane: str, verdicts: Iterable[Verdict]) -> None:
        """Write outcomes other than applied."""
        for verdict in verdicts:
            each = verdict.object
            self._not_pending(lane, each.id, each.revision)
            self._clear_exception(lane, each.id)
            self.db.execute(
                "INSERT INTO outcome SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM object"
                " WHERE lane = ? AND kind = ? AND key = ? AND revision = ?)",
                (
                    lane,
                    each.id.kind,
                    each.id.key,
                    each.revision,
                    verdict.outcome,
                    verdict.message,
                    lane,
                    each.id.kind,
                    each.id.key,
                    each.revision,
                ),
            )
            self.db.executemany(
                "INSERT OR IGNORE INTO waits VALUES (?, ?, ?, ?, ?)",
                [(lane, n.kind, n.key, each.id.kind, each.id.key) for n in verdict.needs],
            )

    def _wake(self, lane: str, id: ObjectId) -> None:
        rows = self.db.execute(
            "SELECT kind, key FROM waits WHERE lane = ? AND needs_kind = ? AND needs_key = ?",
            (lane, id.kind, id.key),
        ).fetchall()
        for kind, key in rows:
            self._pend_again(lane, ObjectId(kind, key))

    def _pend_again(self, lane: str, id: ObjectId) -> None:
        """Have an object worked once more. Its outcome stands until there is another one."""
        self.db.execute(
            "UPDATE object SET pending = 1 WHERE lane = ? AND kind = ? AND key = ?",
            (lane, id.kind, id.key),
        )

    def _not_pending(self, lane: str, id: ObjectId, revision: int) -> None:
        self.db.execute(
            "UPDATE object SET pending = 0"
            " WHERE lane = ? AND kind = ? AND key = ? AND revision = ?",
            (lane, id.kind, id.key, revision),
        )

    def _clear_exception(self, lane: str, id: ObjectId) -> None:
        for table in ("outcome", "waits"):
            self.db.execute(
                f"DELETE FROM {table} WHERE lane = ? AND kind = ? AND key = ?",  # noqa: S608
                (lane, id.kind, id.key),
            )
