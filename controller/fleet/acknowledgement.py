"""What boxes said, on its way into the database: many sessions' words in one transaction.

Under load everything that arrived during one transaction goes into the next, so a thousand
acknowledgements cost a handful of commits. Every write is conditional on the session's epoch, under
a lock of the box's row: what an ended session still had to say is dropped, never written.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from controller.fleet.events import publish
from controller.fleet.lane_store import LaneKey
from controller.principal import system
from controller.storage.database import Database, Transaction
from node_agent.wire.messages import Outcome

log = Logger()

FLEET = system("fleet")
RETRY_SECONDS = (0.1, 0.5, 2.0, 5.0)
"""Waits between attempts while the database is away; the last one repeats."""
GATHER_SECONDS = 0.004
"""The first word waits so long for others: that a change was stored and that it is live are mostly
written together then, and the database has its time for the change itself."""
MAX_BATCH = 2000
"""Words written in one transaction, at most."""

EXCEPTIONS = frozenset(("waiting", "quarantined", "failed", "held"))


@attrs.frozen
class Acknowledged:
    """One object of a stored batch; ``share`` None with ``live`` True is a share nobody knows."""

    kind: str
    key: str
    revision: int
    live: bool
    share: int | None


@attrs.frozen
class StoredWord:
    """A lane stored a batch."""

    through: int
    expected_hash: int
    objects: tuple[Acknowledged, ...]


@attrs.frozen
class OutcomeWord:
    """What became of objects. ``complete`` names every exception that the lane has."""

    settled: int
    outcomes: tuple[Outcome, ...]
    complete: bool
    changes: tuple[int, ...] = ()
    """Changes known to be touched by this, beside those that the objects belong to."""


@attrs.frozen
class ConditionWord:
    """The condition of a lane changed."""

    condition: str
    message: str


@attrs.frozen
class ObservedWord:
    """A zone was seen with a serial; ``changes`` waited for it."""

    zone: str
    serial: int
    changes: tuple[int, ...]
    watched_through: int | None
    """All watches of changes up to here are seen; None where some are still open."""


Word = StoredWord | OutcomeWord | ConditionWord | ObservedWord


@attrs.frozen(eq=False)
class Said:
    """One word of a lane's session, and what to do once it is written (or dropped as stale)."""

    lane: LaneKey
    box_name: str
    epoch: int
    word: Word
    written: Callable[[], None]
    stale: Callable[[], None]


class AcknowledgementWriter:
    """Writes what sessions say, in the order it was said, one transaction at a time."""

    def __init__(self, database: Database, reactor: IReactorTime) -> None:
        self._database = database
        self._reactor = reactor
        self._said: list[Said] = []
        self._running = False
        self._closed = False
        self._idle: list[Deferred[None]] = []

    def say(self, said: Said) -> None:
        """Take one word; it is written soon."""
        self._said.append(said)
        if not self._running and not self._closed:
            self._running = True
            self._reactor.callLater(GATHER_SECONDS, lambda: ensureDeferred(self._write_all()))

    async def drained(self) -> None:
        """Wait until everything said so far is written."""
        if self._running:
            waiting: Deferred[None] = Deferred()
            self._idle.append(waiting)
            await waiting

    def close(self) -> None:
        """Take and write nothing more; boxes say it again on their next session."""
        self._closed = True
        self._said.clear()

    async def _write_all(self) -> None:
        attempt = 0
        while self._said:
            batch = self._said[:MAX_BATCH]
            try:
                fresh = await self._database.transaction(
                    FLEET, partial(write, batch=batch), name="fleet.acknowledge"
                )
            except Exception as error:
                # Whatever kept the database from taking it, the words must not be lost nor the
                # writer die: it tries again until the controller stops.
                if self._closed:
                    break
                wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
                attempt += 1
                log.error(
                    "acknowledgements cannot be written, again in {wait} s: {error}",
                    wait=wait,
                    error=error,
                )
                await _sleep(self._reactor, wait)
                continue
            attempt = 0
            del self._said[: len(batch)]
            for said in batch:
                if said.lane[0] in fresh.get(said.epoch, ()):
                    said.written()
                else:
                    said.stale()
        self._running = False
        waiting, self._idle = self._idle, []
        for deferred in waiting:
            deferred.callback(None)


def _sleep(reactor: IReactorTime, seconds: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting


async def write(tx: Transaction, batch: Sequence[Said]) -> dict[int, set[str]]:
    """Write words whose session is still the box's own; give those boxes by epoch."""
    rows = await tx.rows(
        """SELECT b.id::text, b.session_epoch
           FROM unnest(%s::uuid[], %s::bigint[]) AS q(box, epoch)
           JOIN box b ON b.id = q.box AND b.session_epoch = q.epoch
           ORDER BY b.id FOR SHARE OF b""",
        _unique_sessions(batch),
    )
    fresh: dict[int, set[str]] = {}
    for box, epoch in rows:
        fresh.setdefault(epoch, set()).add(box)
    current = [said for said in batch if said.lane[0] in fresh.get(said.epoch, ())]
    events: list[dict[str, str | int]] = []
    await _write_stored(tx, [(s, s.word) for s in current if isinstance(s.word, StoredWord)])
    outcomes = [(s, s.word) for s in current if isinstance(s.word, OutcomeWord)]
    events += [{"change": change} for change in await _write_outcomes(tx, outcomes)]
    conditions = [(s, s.word) for s in current if isinstance(s.word, ConditionWord)]
    events += [{"box": name} for name in await _write_conditions(tx, conditions)]
    seen = [(s, s.word) for s in current if isinstance(s.word, ObservedWord)]
    events += [{"change": change} for change in await _write_observations(tx, seen)]
    await publish(tx, events)
    return fresh


def _unique_sessions(batch: Iterable[Said]) -> tuple[list[str], list[int]]:
    sessions = sorted({(said.lane[0], said.epoch) for said in batch})
    return [box for box, _ in sessions], [epoch for _, epoch in sessions]


async def _write_stored(tx: Transaction, words: Sequence[tuple[Said, StoredWord]]) -> None:
    if not words:
        return
    last = {said.lane: word for said, word in words}
    await tx.run(
        """UPDATE lane SET stored_revision = q.stored, expected_hash = q.total
           FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::numeric[])
                AS q(box, server, stored, total)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server""",
        (
            [lane[0] for lane in last],
            [lane[1] for lane in last],
            [word.through for word in last.values()],
            [word.expected_hash for word in last.values()],
        ),
    )
    # Later words win: one object may have come twice within this transaction.
    objects = {(s.lane, o.kind, o.key): o for s, word in words for o in word.objects}
    live = [(name, item) for name, item in objects.items() if item.live]
    gone = [name for name, item in objects.items() if not item.live]
    if live:
        await tx.run(
            """INSERT INTO lane_object (box_id, logical_server_id, kind, key, revision, share)
               SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bigint[],
                                    %s::numeric[])
               ON CONFLICT (logical_server_id, box_id, kind, key)
               DO UPDATE SET revision = excluded.revision, share = excluded.share""",
            (
                [lane[0] for (lane, _, _), _ in live],
                [lane[1] for (lane, _, _), _ in live],
                [kind for (_, kind, _), _ in live],
                [key for (_, _, key), _ in live],
                [item.revision for _, item in live],
                [item.share for _, item in live],
            ),
        )
    if gone:
        await tx.run(
            """DELETE FROM lane_object o
               USING unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
                     AS q(box, server, kind, key)
               WHERE o.box_id = q.box AND o.logical_server_id = q.server
                 AND o.kind = q.kind AND o.key = q.key""",
            (
                [lane[0] for lane, _, _ in gone],
                [lane[1] for lane, _, _ in gone],
                [kind for _, kind, _ in gone],
                [key for _, _, key in gone],
            ),
        )


async def _write_outcomes(tx: Transaction, words: Sequence[tuple[Said, OutcomeWord]]) -> set[int]:
    """Write outcomes; give the changes that moved."""
    if not words:
        return set()
    moved = {change for _, word in words for change in word.changes}
    settled: dict[LaneKey, int] = {}
    for said, word in words:
        settled[said.lane] = max(settled.get(said.lane, 0), word.settled)
    boxes, servers = [lane[0] for lane in settled], [lane[1] for lane in settled]
    revisions = list(settled.values())
    rows = await tx.rows(
        """SELECT d.change_id FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[])
               AS q(box, server, settled)
           JOIN lane l ON l.box_id = q.box AND l.logical_server_id = q.server
           JOIN desired_object d ON d.logical_server_id = q.server
                AND d.revision > l.settled_revision AND d.revision <= q.settled""",
        (boxes, servers, revisions),
    )
    moved.update(row[0] for row in rows)
    await tx.run(
        """UPDATE lane SET settled_revision = q.settled
           FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS q(box, server, settled)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server
             AND lane.settled_revision < q.settled""",
        (boxes, servers, revisions),
    )
    newest = {(s.lane, o.kind, o.key): o for s, word in words for o in word.outcomes}
    await _upsert_exceptions(
        tx, [(name, o) for name, o in newest.items() if o.outcome in EXCEPTIONS], moved
    )
    await _clear_exceptions(
        tx, [name for name, o in newest.items() if o.outcome not in EXCEPTIONS], moved
    )
    complete = {said.lane for said, word in words if word.complete}
    for lane, revision in settled.items():
        named = [(k, y) for (of, k, y), o in newest.items() if of == lane]
        gone = await tx.rows(
            """DELETE FROM object_outcome o
               WHERE o.box_id = %s AND o.logical_server_id = %s
                 AND (o.kind, o.key) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))
                 AND (%s OR NOT EXISTS (
                     SELECT 1 FROM desired_object d
                     WHERE d.logical_server_id = o.logical_server_id AND d.kind = o.kind
                       AND d.key = o.key AND (d.revision = o.revision OR d.revision > %s)))
               RETURNING (SELECT d.change_id FROM desired_object d
                          WHERE d.logical_server_id = o.logical_server_id AND d.kind = o.kind
                            AND d.key = o.key)""",
            (
                *lane,
                [kind for kind, _ in named],
                [key for _, key in named],
                lane in complete,
                revision,
            ),
        )
        moved.update(row[0] for row in gone if row[0] is not None)
    return moved


async def _upsert_exceptions(
    tx: Transaction, exceptions: Sequence[tuple[tuple[LaneKey, str, str], Outcome]], moved: set[int]
) -> None:
    if not exceptions:
        return
    # Only objects that the model knows: a box cannot fill the table with names of its own.
    rows = await tx.rows(
        """WITH q AS (
               SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bigint[],
                                    %s::text[], %s::text[])
                    AS q(box, server, kind, key, revision, outcome, message)),
           known AS (
               SELECT q.*, d.change_id FROM q JOIN desired_object d
                    ON d.logical_server_id = q.server AND d.kind = q.kind AND d.key = q.key
                    AND d.revision >= q.revision),
           written AS (
               INSERT INTO object_outcome AS o (box_id, logical_server_id, kind, key, revision,
                                                outcome, message)
               SELECT box, server, kind, key, revision, outcome, message FROM known
               ON CONFLICT (box_id, logical_server_id, kind, key) DO UPDATE
               SET revision = excluded.revision, outcome = excluded.outcome,
                   message = excluded.message,
                   since = CASE WHEN o.revision = excluded.revision AND o.outcome = excluded.outcome
                                THEN o.since ELSE now() END
               WHERE o.revision <= excluded.revision)
           SELECT DISTINCT change_id FROM known""",
        (
            *_names([name for name, _ in exceptions]),
            [o.revision for _, o in exceptions],
            [o.outcome for _, o in exceptions],
            [o.message for _, o in exceptions],
        ),
    )
    moved.update(row[0] for row in rows)


async def _clear_exceptions(
    tx: Transaction, names: Sequence[tuple[LaneKey, str, str]], moved: set[int]
) -> None:
    if not names:
        return
    rows = await tx.rows(
        """WITH q AS (SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
                          AS q(box, server, kind, key)),
           cleared AS (
               DELETE FROM object_outcome o USING q
               WHERE o.box_id = q.box AND o.logical_server_id = q.server
                 AND o.kind = q.kind AND o.key = q.key
               RETURNING o.logical_server_id, o.kind, o.key)
           SELECT DISTINCT d.change_id FROM cleared c JOIN desired_object d
               USING (logical_server_id, kind, key)""",
        _names(names),
    )
    moved.update(row[0] for row in rows)


async def _write_conditions(
    tx: Transaction, words: Sequence[tuple[Said, ConditionWord]]
) -> set[str]:
    if not words:
        return set()
    last = {said.lane: word for said, word in words}
    await tx.run(
        """UPDATE lane SET condition = q.condition, message = q.message
           FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
                AS q(box, server, condition, message)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server""",
        (
            [lane[0] for lane in last],
            [lane[1] for lane in last],
            [word.condition for word in last.values()],
            [word.message for word in last.values()],
        ),
    )
    return {said.box_name for said, _ in words}


async def _write_observations(
    tx: Transaction, words: Sequence[tuple[Said, ObservedWord]]
) -> set[int]:
    if not words:
        return set()
    last = {(said.lane, word.zone): word.serial for said, word in words}
    await tx.run(
        """INSERT INTO zone_observation AS o (box_id, logical_server_id, zone, serial)
           SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[])
           ON CONFLICT (box_id, logical_server_id, zone) DO UPDATE
           SET serial = excluded.serial, seen_at = now()
           WHERE hs_serial_reached(excluded.serial, o.serial)""",
        (
            [lane[0] for lane, _ in last],
            [lane[1] for lane, _ in last],
            [zone for _, zone in last],
            list(last.values()),
        ),
    )
    reached = {
        said.lane: word.watched_through for said, word in words if word.watched_through is not None
    }
    if reached:
        await tx.run(
            """UPDATE lane SET watched_through = q.through
               FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS q(box, server, through)
               WHERE lane.box_id = q.box AND lane.logical_server_id = q.server
                 AND lane.watched_through < q.through""",
            (
                [lane[0] for lane in reached],
                [lane[1] for lane in reached],
                list(reached.values()),
            ),
        )
    return {change for _, word in words for change in word.changes}


def _names(
    names: Sequence[tuple[LaneKey, str, str]],
) -> tuple[list[str], list[str], list[str], list[str]]:
    return (
        [lane[0] for lane, _, _ in names],
        [lane[1] for lane, _, _ in names],
        [kind for _, kind, _ in names],
        [key for _, _, key in names],
    )
