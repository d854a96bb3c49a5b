"""What the journal knows of the lanes themselves: assigned, held, how they stood, whose history.

Part of the journal, called on its worker thread; each write is a commit of its own.
"""

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from node_agent.journal_file import JournalFile
from node_agent.records import LaneRecord
from node_agent.wire import object_hash
from node_agent.wire.messages import DriftPolicy, LaneCondition


class LaneTable:
    """The table ``lane``."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._db = file.db

    def all(self) -> tuple[LaneRecord, ...]:
        """Give all lanes, also those that are assigned no more."""
        rows = self._db.execute(f"SELECT {_LANE} FROM lane ORDER BY name, id")  # noqa: S608
        return tuple(_lane(row) for row in rows)

    def get(self, lane: str) -> LaneRecord:
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
        with self._file.transaction():
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
        with self._file.transaction(durable=False):
            self._db.execute(
                "UPDATE lane SET condition = ?, message = ? WHERE id = ?",
                (condition, message, lane),
            )

    def set_held(self, lane: str, held: bool) -> None:
        """Set the operator's hold; it survives a restart."""
        with self._file.transaction():
            self._db.execute("UPDATE lane SET held = ? WHERE id = ?", (int(held), lane))

    def set_renderer(self, lane: str, renderer: str) -> bool:
        """Remember which renderer works the lane; tell whether it is another than before."""
        with self._file.transaction():
            changed = self._db.execute(
                "UPDATE lane SET renderer = ? WHERE id = ? AND renderer <> ?",
                (renderer, lane, renderer),
            )
            return changed.rowcount > 0

    def adopt(self, lane: str, history: str) -> None:
        """Take over the controller's history: what it sends from now on is newer than all here."""
        with self._file.transaction():
            self._db.execute(
                "UPDATE lane SET history = ?, era = era + 1, stored_revision = 0 WHERE id = ?",
                (history, lane),
            )


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
