"""The agent's memory: one SQLite file with desired objects, applied objects and the open journal.

Everything that a box has promised or is in the middle of stands here. All calls block; the agent
makes them on one worker thread (ADR 0005). A *durable* commit has reached the disk when it returns;
the closing of a journal entry has not, since losing it only repeats work.
"""

import json
import logging
import secrets
import sqlite3
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_agent.effects.failures import DiskFullError
from node_agent.file_table import FileTable
from node_agent.journal_format import FORMATS
from node_agent.logs import event
from node_agent.records import (
    AppliedObject,
    Entry,
    LaneRecord,
    Phase,
    Received,
    Removed,
    StoredObject,
    Verdict,
)
from node_agent.wire import object_hash
from node_agent.wire.messages import DriftPolicy, LaneCondition, Outcome, OutcomeName
from templates.objects import ObjectId


class JournalError(Exception):
    """The file cannot be used; ``args[0]`` tells the operator why and what to do."""


class Journal:
    """The file. One writer; readers in other processes (``hs-agent status``) do not disturb it."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            _close_to_others(path)
        self._db = sqlite3.connect(
            ":memory:" if path is None else path,
            isolation_level=None,
            check_same_thread=False,
            timeout=10.0,
        )
        with _disk():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA secure_delete = FAST")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version > len(FORMATS):
                raise JournalError(
                    f"{path} was written by a newer agent (format {version}, this one knows"
                    f" {len(FORMATS)}): install that agent again"
                )
            for following in FORMATS[version:]:
                self._db.executescript(f"BEGIN; {following} COMMIT;")
        self.files = FileTable(self._db)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Make what is written within one commit; ``durable`` waits for the disk.

        Raises `DiskFullError`; then nothing of it was written.
        """
        with _disk():
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """Give a number that changes when another process wrote."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    # --- lanes ---

    def lanes(self) -> tuple[LaneRecord, ...]:
        """Give all lanes, also those that are assigned no more."""
        rows = self._db.execute(f"SELECT {_LANE} FROM lane ORDER BY name, id")  # noqa: S608
        return tuple(_lane(row) for row in rows)

    def lane(self, lane: str) -> LaneRecord:
        """Give one lane; raises LookupError."""
        row = self._db.execute(f"SELECT {_LANE} FROM lane WHERE id = ?", (lane,)).fetchone()  # noqa: S608
        if row is None:
            raise LookupError(f"no lane {lane}")
        return _lane(row)

    def assign(
        self, lanes: Sequence[tuple[str, str, str]], drift: Mapping[str, DriftPolicy] | None = None
    ) -> None:
        """Set which lanes this box works: (id, name, service type). Others are kept, unworked.

        ``drift`` is what becomes of their files that somebody else changed.
        """
        policies = drift or {}
        with self.transaction():
            self._db.execute("UPDATE lane SET assigned = 0")
            for lane, name, service_type in lanes:
                secret = b64encode(secrets.token_bytes(32)).decode()
                self._db.execute(
                    "INSERT INTO lane (id, name, service_type, control_secret, drift)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                    " SET name = excluded.name, drift = excluded.drift, assigned = 1",
                    (lane, name, service_type, secret, policies.get(lane, "report")),
                )

    def set_condition(self, lane: str, condition: LaneCondition, message: str) -> None:
        """Remember the lane's condition (not durable: it is seen again)."""
        with self.transaction(durable=False):
            self._db.execute(
                "UPDATE lane SET condition = ?, message = ? WHERE id = ?",
                (condition, message, lane),
            )

    def set_held(self, lane: str, held: bool) -> None:
        """Set the operator's hold; it survives a restart."""
        with self.transaction():
            self._db.execute("UPDATE lane SET held = ? WHERE id = ?", (int(held), lane))

    def set_renderer(self, lane: str, renderer: str) -> bool:
        """Remember which renderer works the lane; tell whether it is another than before."""
        with self.transaction():
            changed = self._db.execute(
                "UPDATE lane SET renderer = ? WHERE id = ? AND renderer <> ?",
                (renderer, lane, renderer),
            )
            return changed.rowcount > 0

    def adopt(self, lane: str, history: str) -> None:
        """Take over the controller's history: what it sends from now on is newer than all here."""
        with self.transaction():
            self._db.execute(
                "UPDATE lane SET history = ?, era = era + 1, stored_revision = 0 WHERE id = ?",
                (history, lane),
            )

    # --- desired objects ---

    def store(self, lane: str, received: Received) -> None:
        """Store a batch (within a transaction). An older revision than the stored one is passed by.

        The object's earlier outcome is forgotten: it is pending again.
        """
        (era, stored, text) = self._db.execute(
            "SELECT era, stored_revision, object_hash FROM lane WHERE id = ?", (lane,)
        ).fetchone()
        total = object_hash.from_text(text)
        for item in received.items:
            row = self._db.execute(
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
            self._db.execute(
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
        self._db.execute(
            "UPDATE lane SET stored_revision = ?, object_hash = ?, history = ? WHERE id = ?",
            (max(stored, received.through), object_hash.as_text(total), received.history, lane),
        )

    def forget(self, lane: str, ids: Iterable[ObjectId]) -> None:
        """Turn objects that the controller does not know into removals at their own revision."""
        with self.transaction():
            text = self.lane(lane).object_hash
            total = object_hash.from_text(text)
            for id in ids:
                row = self._db.execute(
                    "SELECT revision, spec FROM object WHERE lane = ? AND kind = ? AND key = ?",
                    (lane, id.kind, id.key),
                ).fetchone()
                if row is None or row[1] is None:
                    continue
                share = object_hash.element(id.kind, id.key, row[0], row[1])
                total = object_hash.combine(total, removed=share)
                self._db.execute(
                    "UPDATE object SET spec = NULL, requires = '[]', pending = 1"
                    " WHERE lane = ? AND kind = ? AND key = ?",
                    (lane, id.kind, id.key),
                )
                self._clear_exception(lane, id)
            self._db.execute(
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
            rows += self._db.execute(
                f"SELECT {columns} FROM object WHERE lane = ? AND pending"  # noqa: S608
                f" AND revision {which} {stored} ORDER BY revision LIMIT ?",
                (lane, lane, limit - len(rows)),
            )
        return tuple(
            StoredObject(ObjectId(kind, key), revision, version, spec, _ids(requires), change)
            for kind, key, revision, version, spec, requires, change in rows
        )

    def unapplied(self, lane: str) -> int:
        """Tell how many objects are neither applied nor have another outcome."""
        row = self._db.execute(
            "SELECT count(*) FROM object WHERE lane = ? AND pending", (lane,)
        ).fetchone()
        return int(row[0])

    def desired(self, lane: str, id: ObjectId) -> StoredObject | None:
        """Give one desired object as it was last stored, None where it never was."""
        row = self._db.execute(
            "SELECT revision, kind_version, spec, requires, change_id FROM object"
            " WHERE lane = ? AND kind = ? AND key = ?",
            (lane, id.kind, id.key),
        ).fetchone()
        if row is None:
            return None
        revision, version, spec, requires, change = row
        return StoredObject(id, revision, version, spec, _ids(requires), change)

    def settled_revision(self, lane: str, besides: frozenset[ObjectId] = frozenset()) -> int:
        """Give the revision up to which all has an outcome, taking ``besides`` as settled.

        What is tried again keeps its outcome until there is another.
        """
        rows = self._db.execute(
            "SELECT kind, key, revision FROM object AS o WHERE lane = ? AND pending"
            " AND NOT EXISTS (SELECT 1 FROM outcome AS x WHERE x.lane = o.lane"
            " AND x.kind = o.kind AND x.key = o.key AND x.revision = o.revision)"
            " ORDER BY revision LIMIT ?",
            (lane, len(besides) + 1),
        )
        stored = self.lane(lane).stored_revision
        for kind, key, revision in rows:
            if ObjectId(kind, key) not in besides:
                return min(stored, int(revision) - 1)
        return stored

    def live(self, lane: str, after: ObjectId, limit: int) -> tuple[tuple[str, str, int], ...]:
        """Give (kind, key, revision) of live objects in the order of their names."""
        rows = self._db.execute(
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
            found = self._db.execute(f"SELECT kind, key FROM outcome WHERE {where}", values)  # noqa: S608
            ids = [ObjectId(kind, key) for kind, key in found.fetchall()]
            for each in ids:
                self._pend_again(lane, each)
            return len(ids)

    def exceptions(self, lane: str) -> tuple[Outcome, ...]:
        """Give every outcome that is neither applied nor superseded."""
        rows = self._db.execute(
            "SELECT kind, key, revision, outcome, message FROM outcome WHERE lane = ?"
            " ORDER BY revision",
            (lane,),
        )
        return tuple(Outcome(*row) for row in rows)

    # --- applied objects ---

    def applied(self, lane: str, ids: Iterable[ObjectId]) -> dict[ObjectId, AppliedObject]:
        """Give those of ``ids`` that the box serves."""
        # One look-up each: SQLite would walk the whole lane for a list of pairs.
        rows = (self._applied(lane, "kind = ? AND key = ?", id.kind, id.key) for id in ids)
        return {each.id: each for found in rows for each in found}

    def applied_units(self, lane: str, units: Iterable[str]) -> dict[ObjectId, AppliedObject]:
        """Give the applied objects of these render units."""
        # Named, because SQLite takes the primary key (the whole lane) to be as good.
        rows = (self._applied(lane, "unit = ?", unit, index="applied_unit") for unit in units)
        return {each.id: each for found in rows for each in found}

    def applied_of(self, lane: str, kinds: Iterable[str]) -> tuple[AppliedObject, ...]:
        """Give all applied objects of some kinds."""
        return tuple(
            each for kind in sorted(kinds) for each in self._applied(lane, "kind = ?", kind)
        )

    def take_back(self, lane: str, ids: Iterable[ObjectId], paths: Iterable[str]) -> None:
        """Note that the box serves these no more, and have them worked once more.

        ``paths`` are their files, which were taken out.
        """
        with self.transaction():
            self.files.forget(lane, paths)
            for id in ids:
                for table in ("applied", "applied_requires"):
                    self._db.execute(
                        f"DELETE FROM {table} WHERE lane = ? AND kind = ? AND key = ?",  # noqa: S608
                        (lane, id.kind, id.key),
                    )
                self._pend_again(lane, id)

    def served_besides(self, lane: str, id: ObjectId, limit: int) -> tuple[ObjectId, ...]:
        """Give applied objects other than ``id``; at most ``limit``."""
        rows = self._db.execute(
            "SELECT kind, key FROM applied WHERE lane = ? AND (kind, key) <> (?, ?) LIMIT ?",
            (lane, id.kind, id.key, limit),
        )
        return tuple(ObjectId(kind, key) for kind, key in rows)

    def served(self, lane: str) -> int:
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

    def _applied(self, lane: str, where: str, *values: str, index: str = "") -> list[AppliedObject]:
        hint = f"INDEXED BY {index}" if index else ""
        rows = self._db.execute(
            "SELECT kind, key, revision, kind_version, spec, unit, (SELECT json_group_array("  # noqa: S608
            "json_array(r.needs_kind, r.needs_key)) FROM applied_requires r WHERE"
            " r.lane = a.lane AND r.kind = a.kind AND r.key = a.key) FROM applied a"
            f" {hint} WHERE lane = ? AND {where}",
            (lane, *values),
        )
        return [
            AppliedObject(ObjectId(kind, key), revision, version, spec, unit, _ids(requires))
            for kind, key, revision, version, spec, unit, requires in rows
        ]

    # --- outcomes (within a transaction) ---

    def settle(self, lane: str, done: Iterable[AppliedObject | Removed]) -> None:
        """Write what the box serves now, and wake what waited for it."""
        for each in done:
            id = each.id
            self._db.execute(
                "DELETE FROM applied_requires WHERE lane = ? AND kind = ? AND key = ?",
                (lane, id.kind, id.key),
            )
            if isinstance(each, Removed):
                self._db.execute(
                    "DELETE FROM applied WHERE lane = ? AND kind = ? AND key = ?",
                    (lane, id.kind, id.key),
                )
            else:
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
            self._not_pending(lane, id, each.revision)
            self._clear_exception(lane, id)
            self._wake(lane, id)

    def judge(self, lane: str, verdicts: Iterable[Verdict]) -> None:
        """Write outcomes other than applied."""
        for verdict in verdicts:
            each = verdict.object
            self._not_pending(lane, each.id, each.revision)
            self._clear_exception(lane, each.id)
            self._db.execute(
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
            self._db.executemany(
                "INSERT OR IGNORE INTO waits VALUES (?, ?, ?, ?, ?)",
                [(lane, n.kind, n.key, each.id.kind, each.id.key) for n in verdict.needs],
            )

    def _wake(self, lane: str, id: ObjectId) -> None:
        rows = self._db.execute(
            "SELECT kind, key FROM waits WHERE lane = ? AND needs_kind = ? AND needs_key = ?",
            (lane, id.kind, id.key),
        ).fetchall()
        for kind, key in rows:
            self._pend_again(lane, ObjectId(kind, key))

    def _pend_again(self, lane: str, id: ObjectId) -> None:
        """Have an object worked once more. Its outcome stands until there is another one."""
        self._db.execute(
            "UPDATE object SET pending = 1 WHERE lane = ? AND kind = ? AND key = ?",
            (lane, id.kind, id.key),
        )

    def _not_pending(self, lane: str, id: ObjectId, revision: int) -> None:
        self._db.execute(
            "UPDATE object SET pending = 0"
            " WHERE lane = ? AND kind = ? AND key = ? AND revision = ?",
            (lane, id.kind, id.key, revision),
        )

    def _clear_exception(self, lane: str, id: ObjectId) -> None:
        for table in ("outcome", "waits"):
            self._db.execute(
                f"DELETE FROM {table} WHERE lane = ? AND kind = ? AND key = ?",  # noqa: S608
                (lane, id.kind, id.key),
            )

    # --- the open journal (within a transaction) ---

    def open_entry(self, lane: str, phase: Phase, body: bytes) -> int:
        """Write an entry and give its id; ids grow."""
        cursor = self._db.execute(
            "INSERT INTO entry (lane, phase, body) VALUES (?, ?, ?)", (lane, phase, body)
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def mark_live(self, ids: Iterable[int]) -> None:
        """Note of entries that the daemon was seen to serve them."""
        self._db.executemany("INSERT OR IGNORE INTO live VALUES (?)", [(id,) for id in ids])

    def close_entries(self, ids: Iterable[int]) -> None:
        """Delete entries with their before-images."""
        marks = [(id,) for id in ids]
        self._db.executemany("DELETE FROM entry WHERE id = ?", marks)
        self._db.executemany("DELETE FROM live WHERE entry = ?", marks)

    def open_entries(self, lane: str) -> tuple[Entry, ...]:
        """Give what was begun and not closed, oldest first."""
        rows = self._db.execute(
            "SELECT id, phase, body, id IN (SELECT entry FROM live) FROM entry WHERE lane = ?"
            " ORDER BY id",
            (lane,),
        )
        return tuple(Entry(id, phase, body, bool(live)) for id, phase, body, live in rows)


_LANE = (
    "id, name, service_type, assigned, history, stored_revision, object_hash, condition, message,"
    " held, renderer, control_secret, drift"
)


def _lane(row: tuple[Any, ...]) -> LaneRecord:
    return LaneRecord(
        id=row[0],
        name=row[1],
        service_type=row[2],
        assigned=bool(row[3]),
        history=row[4],
        stored_revision=row[5],
        object_hash=object_hash.as_text(object_hash.from_text(row[6])),
        condition=row[7],
        message=row[8],
        held=bool(row[9]),
        renderer=row[10],
        control_secret=row[11],
        drift=row[12],
    )


def _ids(text: str) -> tuple[ObjectId, ...]:
    return tuple(ObjectId(kind, key) for kind, key in json.loads(text))


def _close_to_others(path: Path) -> None:
    """Make the file, and those that SQLite keeps beside it, its owner's: it has secrets (S14)."""
    try:
        if not path.exists():
            path.touch(mode=0o600)
        for each in (path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))):
            mode = each.stat().st_mode & 0o777 if each.exists() else 0
            if mode & 0o077:
                each.chmod(0o600)
                event("closed-to-others", level=logging.WARNING, file=each, mode=f"{mode:04o}")
    except OSError as error:
        raise JournalError(f"{error.filename}: {error.strerror}") from error


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"):
            raise DiskFullError(f"the journal cannot be written: {error}") from error
        raise
