"""The SQL of what boxes say: many sessions' words in one transaction.

Every write is conditional on the session's epoch, under a lock of the box's row: what an ended
session still had to say is dropped, never written.
"""

from collections.abc import Iterable, Mapping, Sequence

from controller.fleet.drift_rows import write_drift
from controller.fleet.events import publish
from controller.fleet.lane_store import LaneKey
from controller.fleet.words import (
    ConditionWord,
    DriftWord,
    ObservedWord,
    OutcomeWord,
    Said,
    StoredWord,
    Written,
)
from controller.storage.database import Transaction
from node_agent.wire.messages import Outcome
from node_agent.wire.object_hash import MODULUS

EXCEPTIONS = frozenset(("waiting", "quarantined", "failed", "held"))


async def write(tx: Transaction, batch: Sequence[Said]) -> Written:
    """Write words whose session is still the box's own."""
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
    stored = [(s, s.word) for s in current if isinstance(s.word, StoredWord)]
    hashes = await _write_stored(tx, stored)
    outcomes = [(s, s.word) for s in current if isinstance(s.word, OutcomeWord)]
    events += [{"change": change} for change in await _write_outcomes(tx, outcomes)]
    conditions = [(s, s.word) for s in current if isinstance(s.word, ConditionWord)]
    events += [{"box": name} for name in await _write_conditions(tx, conditions)]
    drifts = [(s, s.word) for s in current if isinstance(s.word, DriftWord)]
    events += [{"box": name} for name in await write_drift(tx, drifts)]
    seen = [(s, s.word) for s in current if isinstance(s.word, ObservedWord)]
    events += [{"change": change} for change in await _write_observations(tx, seen)]
    await publish(tx, events)
    return Written(fresh, hashes)


def _unique_sessions(batch: Iterable[Said]) -> tuple[list[str], list[int]]:
    sessions = sorted({(said.lane[0], said.epoch) for said in batch})
    return [box for box, _ in sessions], [epoch for _, epoch in sessions]


_STORED = f"""
WITH said AS (
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::numeric[], %s::bool[],
                         %s::bool[]) AS s(box, server, through, told, trusted, repaired)
), given AS (
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bigint[],
                         %s::numeric[]) AS g(box, server, kind, key, revision, share)
), moved AS (
    SELECT g.box, g.server, sum(coalesce(g.share, 0) - coalesce(o.share, 0)) AS by,
           bool_and(o.kind IS NULL OR o.share IS NOT NULL) AS known
    FROM given g LEFT JOIN lane_object o ON o.logical_server_id = g.server AND o.box_id = g.box
         AND o.kind = g.kind AND o.key = g.key
    GROUP BY g.box, g.server
), kept AS (
    INSERT INTO lane_object (box_id, logical_server_id, kind, key, revision, share)
    SELECT * FROM given WHERE share IS NOT NULL
    ON CONFLICT (logical_server_id, box_id, kind, key)
    DO UPDATE SET revision = excluded.revision, share = excluded.share
), gone AS (
    DELETE FROM lane_object o USING given g
    WHERE g.share IS NULL AND o.box_id = g.box AND o.logical_server_id = g.server
      AND o.kind = g.kind AND o.key = g.key
)
UPDATE lane SET stored_revision = s.through,
       expected_hash = CASE WHEN s.trusted OR NOT coalesce(m.known, true) THEN s.told
           ELSE mod(mod(lane.expected_hash + coalesce(m.by, 0), {MODULUS}) + {MODULUS}, {MODULUS})
           END,
       repairing = lane.repairing AND NOT s.repaired
FROM said s LEFT JOIN moved m ON m.box = s.box AND m.server = s.server
WHERE lane.box_id = s.box AND lane.logical_server_id = s.server
RETURNING lane.box_id::text, lane.logical_server_id::text, lane.expected_hash
"""  # noqa: S608 - the modulus is a number of ours
"""One statement, hence one snapshot: ``moved`` sees the shares that ``kept`` and ``gone`` replace.
A replaced share that nobody knows leaves the hash to the box's own word."""


async def _write_stored(
    tx: Transaction, words: Sequence[tuple[Said, StoredWord]]
) -> dict[LaneKey, int]:
    """Write what was stored; give the expected hash of each lane since."""
    if not words:
        return {}
    last = {said.lane: word for said, word in words}
    repaired = {said.lane for said, word in words if word.repaired}
    # Later words win: one object may have come twice within this transaction.
    objects = {(s.lane, o.kind, o.key): o for s, word in words for o in word.objects}
    rows = await tx.rows(
        _STORED,
        (
            [lane[0] for lane in last],
            [lane[1] for lane in last],
            [word.through for word in last.values()],
            [word.told for word in last.values()],
            [word.trusted for word in last.values()],
            [lane in repaired for lane in last],
            *_names(list(objects)),
            [item.revision for item in objects.values()],
            [item.share for item in objects.values()],
        ),
    )
    return {(box, server): int(total) for box, server, total in rows}


async def _write_outcomes(tx: Transaction, words: Sequence[tuple[Said, OutcomeWord]]) -> set[int]:
    """Write outcomes; give the changes that moved."""
    if not words:
        return set()
    moved = {change for _, word in words for change in word.changes}
    settled: dict[LaneKey, int] = {}
    complete: set[LaneKey] = set()
    for said, word in words:
        known = 0 if word.complete else settled.get(said.lane, 0)
        settled[said.lane] = max(known, word.settled)
        if word.complete:
            complete.add(said.lane)
    lanes = (
        [lane[0] for lane in settled],
        [lane[1] for lane in settled],
        list(settled.values()),
        [lane in complete for lane in settled],
    )
    rows = await tx.rows(
        """SELECT DISTINCT d.change_id
           FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bool[])
                AS q(box, server, settled, complete)
           JOIN lane l ON l.box_id = q.box AND l.logical_server_id = q.server
           JOIN desired_object d ON d.logical_server_id = q.server
                AND d.revision > CASE WHEN q.complete THEN least(l.settled_revision, q.settled)
                                      ELSE l.settled_revision END
                AND d.revision <= greatest(l.settled_revision, q.settled)""",
        lanes,
    )
    moved.update(row[0] for row in rows)
    # An older version's exception ends where a newer one is settled, whether it is named or not.
    await tx.run(
        """DELETE FROM object_outcome o
           USING unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS q(box, server, settled), lane l,
                 desired_object d
           WHERE l.box_id = q.box AND l.logical_server_id = q.server
             AND d.logical_server_id = q.server AND d.revision > l.settled_revision
             AND d.revision <= q.settled AND o.box_id = q.box AND o.logical_server_id = q.server
             AND o.kind = d.kind AND o.key = d.key AND o.revision < d.revision""",
        lanes[:3],
    )
    if complete:
        # A box that tells of less than it once told may have lost what it applied early as well.
        await tx.run(
            """DELETE FROM applied_early a
               USING unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bool[])
                     AS q(box, server, settled, complete), lane l
               WHERE l.box_id = q.box AND l.logical_server_id = q.server AND q.complete
                 AND q.settled < l.settled_revision
                 AND a.box_id = q.box AND a.logical_server_id = q.server""",
            lanes,
        )
    await tx.run(
        """UPDATE lane SET settled_revision = q.settled
           FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::bool[])
                AS q(box, server, settled, complete)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server
             AND (lane.settled_revision < q.settled
                  OR q.complete AND lane.settled_revision <> q.settled)""",
        lanes,
    )
    newest = {(s.lane, o.kind, o.key): o for s, word in words for o in word.outcomes}
    await _upsert_exceptions(
        tx, [(name, o) for name, o in newest.items() if o.outcome in EXCEPTIONS], moved
    )
    await _clear_exceptions(
        tx, [name for name, o in newest.items() if o.outcome not in EXCEPTIONS], moved
    )
    if complete:
        moved.update(await _forget_unnamed(tx, complete, list(newest)))
    early = [
        (name, outcome)
        for name, outcome in newest.items()
        if outcome.outcome == "applied" and outcome.revision > settled[name[0]]
    ]
    moved.update(await _mark_early(tx, early))
    overtaken = {said.lane for said, word in words if word.overtaken}
    if overtaken:
        await _forget_early(tx, {lane: settled[lane] for lane in overtaken})
    return moved


async def _mark_early(
    tx: Transaction, applied: Sequence[tuple[tuple[LaneKey, str, str], Outcome]]
) -> set[int]:
    """Remember what lanes applied before older objects; give the changes that moved.

    Only versions that there were: a box cannot fill the table with names of its own.
    """
    if not applied:
        return set()
    rows = await tx.rows(
        """WITH known AS (
               SELECT q.*, c.change_id
               FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bigint[])
                    AS q(box, server, kind, key, revision)
               JOIN change_object c ON c.logical_server_id = q.server AND c.kind = q.kind
                    AND c.key = q.key AND c.revision = q.revision),
           written AS (
               INSERT INTO applied_early AS a (box_id, logical_server_id, kind, key, revision)
               SELECT box, server, kind, key, revision FROM known
               ON CONFLICT (box_id, logical_server_id, kind, key) DO UPDATE
               SET revision = excluded.revision WHERE a.revision < excluded.revision)
           SELECT DISTINCT change_id FROM known""",
        (*_names([name for name, _ in applied]), [outcome.revision for _, outcome in applied]),
    )
    return {row[0] for row in rows}


async def _forget_early(tx: Transaction, lanes: Mapping[LaneKey, int]) -> None:
    """Forget what each lane applied early, up to a revision: it is settled in its turn."""
    await tx.run(
        """DELETE FROM applied_early a
           USING unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS q(box, server, through)
           WHERE a.box_id = q.box AND a.logical_server_id = q.server AND a.revision <= q.through""",
        ([lane[0] for lane in lanes], [lane[1] for lane in lanes], list(lanes.values())),
    )


async def _forget_unnamed(
    tx: Transaction, lanes: Iterable[LaneKey], named: Sequence[tuple[LaneKey, str, str]]
) -> set[int]:
    """Forget the exceptions of ``lanes`` but those ``named``; give the changes that moved."""
    lanes = list(lanes)
    rows = await tx.rows(
        """DELETE FROM object_outcome o
           USING unnest(%s::uuid[], %s::uuid[]) AS q(box, server)
           WHERE o.box_id = q.box AND o.logical_server_id = q.server
             AND NOT EXISTS (
                 SELECT FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[])
                             AS n(box, server, kind, key)
                 WHERE n.box = o.box_id AND n.server = o.logical_server_id
                   AND n.kind = o.kind AND n.key = o.key)
           RETURNING (SELECT d.change_id FROM desired_object d
                      WHERE d.logical_server_id = o.logical_server_id AND d.kind = o.kind
                        AND d.key = o.key)""",
        ([lane[0] for lane in lanes], [lane[1] for lane in lanes], *_names(named)),
    )
    return {row[0] for row in rows if row[0] is not None}


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
