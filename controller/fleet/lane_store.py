"""The SQL of lanes: what a session begins with, what is to be sent, what a repair compares.

Every function works within a transaction of the caller. Reads take many lanes at once, because one
change may touch a thousand of them.
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from controller.fleet.committed import Pending, Watch
from controller.fleet.lanes import LaneRow
from controller.fleet.repair import Desired, ObjectName
from controller.storage.database import Transaction
from templates.registry import drift_policy

BATCH_OBJECTS = 500
BATCH_BYTES = 1024 * 1024
"""A batch holds at most this many objects, and stops growing after this many bytes of specs."""
SMALL_CHANGE = 50
"""A change of at most this many objects is what a person waits for: it may overtake a fill."""

LaneKey = tuple[str, str]
"""(box id, logical server id)."""


@attrs.frozen
class Backlog:
    """What one lane is to be sent next: complete through ``through``, with more to come or not."""

    through: int
    more: bool
    objects: tuple[Pending, ...]


@attrs.frozen
class Touched:
    """One logical server that a change touched, and its last revision of that change."""

    change_id: int
    server: str
    revision: int


async def lanes_of_boxes(tx: Transaction, boxes: Sequence[str]) -> list[LaneRow]:
    """Give the lanes of boxes."""
    rows = await tx.rows(
        """SELECT l.box_id::text, l.logical_server_id::text, s.name, s.service_type, s.revision,
                  l.stored_revision, l.settled_revision, l.expected_hash, l.condition, l.message,
                  b.intent = 'maintenance', s.settings ->> 'drift', l.repairing,
                  coalesce(l.adopted_history = (SELECT history FROM cluster), false)
           FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
           JOIN box b ON b.id = l.box_id
           WHERE l.box_id = ANY(%s::uuid[]) ORDER BY s.id""",
        (list(boxes),),
    )
    return [LaneRow(*(*row[:11], drift_policy(row[3], row[11]), *row[12:])) for row in rows]


async def touched_by(tx: Transaction, changes: Sequence[int]) -> tuple[list[Touched], list[Watch]]:
    """Give the logical servers and the watches of changes, in one read."""
    rows = await tx.rows(
        """SELECT change_id, logical_server_id::text, max(revision), NULL, NULL FROM change_object
           WHERE change_id = ANY(%s::bigint[]) GROUP BY 1, 2
           UNION ALL
           SELECT change_id, logical_server_id::text, NULL, zone, serial FROM change_watch
           WHERE change_id = ANY(%s::bigint[])""",
        (list(changes), list(changes)),
    )
    touched = [
        Touched(change, server, revision)
        for change, server, revision, zone, _ in rows
        if zone is None
    ]
    watches = [
        Watch(change, server, zone, serial)
        for change, server, _, zone, serial in rows
        if zone is not None
    ]
    return touched, watches


async def behind(tx: Transaction, lanes: Mapping[LaneKey, int]) -> set[LaneKey]:
    """Give those of ``lanes`` (with what they stored) whose logical server has moved on."""
    rows = await tx.rows(
        """SELECT q.box, q.server FROM unnest(%s::text[], %s::text[], %s::bigint[])
               AS q(box, server, stored)
           JOIN logical_server s ON s.id = q.server::uuid WHERE s.revision > q.stored""",
        _columns(lanes),
    )
    return {(box, server) for box, server in rows}


async def backlogs(tx: Transaction, lanes: Mapping[LaneKey, int]) -> dict[LaneKey, Backlog]:
    """Give what each of ``lanes`` is to be sent, after the revision that it stored.

    One statement, so that ``through`` and the objects are of one snapshot: revisions are given
    under the logical server's row lock, hence none below ``through`` can still appear.
    """
    rows = await tx.rows(
        """SELECT q.box, q.server, s.revision,
                  d.kind, d.key, d.revision, d.kind_version, d.spec, d.requires, d.secrets,
                  d.change_id, d.deleted
           FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS q(box, server, stored)
           JOIN logical_server s ON s.id = q.server::uuid
           LEFT JOIN LATERAL (
               SELECT first.*, sum(coalesce(octet_length(spec), 0)) OVER w
                      - coalesce(octet_length(spec), 0) AS bytes_before
               FROM (SELECT * FROM desired_object
                     WHERE logical_server_id = s.id AND revision > q.stored
                     ORDER BY revision LIMIT %s) AS first
               WINDOW w AS (ORDER BY revision)
           ) d ON d.bytes_before < %s
           ORDER BY q.box, q.server, d.revision""",
        (*_columns(lanes), BATCH_OBJECTS + 1, BATCH_BYTES),
    )
    found: dict[LaneKey, list[Pending]] = {}
    revisions: dict[LaneKey, int] = {}
    for row in rows:
        lane = (row[0], row[1])
        objects = found.setdefault(lane, [])
        revisions[lane] = row[2]
        if row[3] is not None:
            objects.append(_pending(row[3:11], deleted=row[11]))
    return {lane: _cut(objects, revisions[lane]) for lane, objects in found.items()}


def _cut(objects: list[Pending], server_revision: int) -> Backlog:
    """End a batch where it is full. The read stops at the same limits, so the last is certain."""
    if len(objects) > BATCH_OBJECTS:
        kept = objects[:BATCH_OBJECTS]
        return Backlog(kept[-1].revision, True, tuple(kept))
    if objects and objects[-1].revision < server_revision:
        # Either the bytes ended the read, or only superseded revisions lie beyond: look again.
        return Backlog(objects[-1].revision, True, tuple(objects))
    return Backlog(server_revision, False, tuple(objects))


async def named(tx: Transaction, server: str, names: Sequence[ObjectName]) -> list[Pending]:
    """Give objects by name; ones that are not there any more are left out."""
    rows = await tx.rows(
        """SELECT d.kind, d.key, d.revision, d.kind_version, d.spec, d.requires, d.secrets,
                  d.change_id, d.deleted
           FROM unnest(%s::text[], %s::text[]) AS q(kind, key)
           JOIN desired_object d ON d.logical_server_id = %s AND d.kind = q.kind AND d.key = q.key
           ORDER BY d.revision""",
        ([kind for kind, _ in names], [key for _, key in names], server),
    )
    return [_pending(row[:8], deleted=row[8]) for row in rows]


async def named_in_bytes(
    tx: Transaction, server: str, names: Sequence[ObjectName]
) -> tuple[tuple[Pending, ...], tuple[ObjectName, ...]]:
    """Give objects by name, as many as a batch may hold by their bytes, and the names left over."""
    rows = await tx.rows(
        """SELECT q.kind, q.key FROM (
               SELECT d.kind, d.key, sum(coalesce(octet_length(d.spec), 0)) OVER w
                      - coalesce(octet_length(d.spec), 0) AS bytes_before
               FROM unnest(%s::text[], %s::text[]) AS q(kind, key)
               JOIN desired_object d
                    ON d.logical_server_id = %s AND d.kind = q.kind AND d.key = q.key
               WINDOW w AS (ORDER BY d.revision)
           ) q WHERE q.bytes_before >= %s""",
        ([kind for kind, _ in names], [key for _, key in names], server, BATCH_BYTES),
    )
    over = {(kind, key) for kind, key in rows}
    left = tuple(name for name in names if name in over)
    return tuple(await named(tx, server, [name for name in names if name not in over])), left


async def small_changes(
    tx: Transaction, changes: Sequence[int]
) -> dict[str, dict[ObjectName, int]]:
    """Give what the small ones among ``changes`` touched on each server, with its revision."""
    rows = await tx.rows(
        f"""SELECT o.logical_server_id::text, o.kind, o.key, o.revision
            FROM unnest(%s::bigint[]) AS c(id)
            JOIN change_object o ON o.change_id = c.id
            WHERE {_SMALL} ORDER BY o.revision""",  # noqa: S608 - a text of ours
        (list(changes), SMALL_CHANGE + 1, SMALL_CHANGE),
    )
    found: dict[str, dict[ObjectName, int]] = {}
    for server, kind, key, revision in rows:
        found.setdefault(server, {})[kind, key] = revision
    return found


async def newest_small(tx: Transaction, server: str, after: int) -> dict[ObjectName, int]:
    """Give the newest objects after a revision that small changes touched, a batch at most."""
    rows = await tx.rows(
        f"""WITH newest AS (
                SELECT kind, key, revision, change_id FROM desired_object
                WHERE logical_server_id = %s AND revision > %s ORDER BY revision DESC LIMIT %s)
            SELECT n.kind, n.key, n.revision
            FROM (SELECT DISTINCT change_id AS id FROM newest) AS c
            JOIN newest n ON n.change_id = c.id
            WHERE {_SMALL} ORDER BY n.revision""",  # noqa: S608 - a text of ours
        (server, after, BATCH_OBJECTS, SMALL_CHANGE + 1, SMALL_CHANGE),
    )
    return {(kind, key): revision for kind, key, revision in rows}


_SMALL = """(SELECT count(*) FROM (
    SELECT FROM change_object s WHERE s.change_id = c.id LIMIT %s) AS few) <= %s"""


async def desired(tx: Transaction, server: str) -> dict[ObjectName, Desired]:
    """Give the newest version of every object of a logical server: only for a repair."""
    rows = await tx.rows(
        "SELECT kind, key, revision, deleted FROM desired_object WHERE logical_server_id = %s",
        (server,),
    )
    return {(kind, key): Desired(revision, deleted) for kind, key, revision, deleted in rows}


async def missed_watches(tx: Transaction, lanes: Iterable[LaneKey]) -> list[Watch]:
    """Give the watches among the newest changes that ``lanes`` were not yet seen to fulfil."""
    boxes, servers = zip(*lanes, strict=True)
    rows = await tx.rows(
        """SELECT DISTINCT w.change_id, w.logical_server_id::text, w.zone, w.serial
           FROM unnest(%s::uuid[], %s::uuid[]) AS q(box, server)
           JOIN change_watch w ON w.logical_server_id = q.server
                AND w.change_id > (SELECT coalesce(max(id), 0) FROM change) - 1000
           LEFT JOIN zone_observation o ON o.box_id = q.box
                AND o.logical_server_id = q.server AND o.zone = w.zone
           WHERE NOT coalesce(hs_serial_reached(o.serial, w.serial), false)
           ORDER BY w.change_id""",
        (list(boxes), list(servers)),
    )
    return [Watch(*row) for row in rows]


async def open_watches(tx: Transaction, boxes: Sequence[str]) -> list[tuple[str, Watch, bool]]:
    """Give the watches of boxes' lanes that may be open, by box, and whether each has been seen.

    The margin covers changes that were committed out of the order of their ids.
    """
    rows = await tx.rows(
        """SELECT l.box_id::text, w.change_id, w.logical_server_id::text, w.zone, w.serial,
                  coalesce(hs_serial_reached(o.serial, w.serial), false)
           FROM lane l
           JOIN change_watch w ON w.logical_server_id = l.logical_server_id
                AND w.change_id > l.watched_through - 1000
           LEFT JOIN zone_observation o ON o.box_id = l.box_id
                AND o.logical_server_id = l.logical_server_id AND o.zone = w.zone
           WHERE l.box_id = ANY(%s::uuid[]) ORDER BY w.change_id""",
        (list(boxes),),
    )
    return [(row[0], Watch(*row[1:5]), row[5]) for row in rows]


def _columns(lanes: Mapping[LaneKey, int]) -> tuple[list[str], list[str], list[int]]:
    return [box for box, _ in lanes], [server for _, server in lanes], list(lanes.values())


def _pending(row: Sequence[object], *, deleted: bool) -> Pending:
    kind, key, revision, version, spec, requires, secrets, change_id = row
    assert isinstance(kind, str)
    assert isinstance(key, str)
    assert isinstance(requires, list)
    assert isinstance(secrets, list)
    return Pending(
        kind,
        key,
        _integer(revision),
        _integer(version),
        None if deleted or spec is None else _bytes(spec),
        tuple((str(need[0]), str(need[1])) for need in requires),
        tuple(secrets),
        _integer(change_id),
    )


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes | memoryview)
    return bytes(value)
