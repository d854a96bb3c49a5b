"""What hazards of a change are judged by, read inside its transaction once it is written.

A change that comes near none of them costs no round trip: all that is asked of the database here
is asked for the few that may.
"""

from collections.abc import Iterator, Sequence

from controller.change_plan import PlannedObject
from controller.changes import ChangedRow, ChangeWriter
from controller.fleet.repair import MASS_DELETE_COUNT
from controller.hazards import Facts, Removal
from controller.storage.database import Transaction

RELOAD_BOXES = 10
"""Boxes on which one change may reload a daemon at once, unless the configuration says another."""


async def facts_of(
    tx: Transaction, change: ChangeWriter, *, reload_boxes: int = RELOAD_BOXES
) -> Facts:
    """Give the facts of a change that was closed."""
    now = reloading(change.planned) if len(change.reach) > reload_boxes else ()
    later = change.foreseen.reloading
    return Facts(
        removals=await _removals(tx, change),
        redelegated=redelegated(change.rows),
        redelegated_later=change.foreseen.redelegated,
        unserved=await _unserved(tx, change.rows),
        reloading=now if len(now) > len(later) else later,
        reload_boxes=reload_boxes,
    )


_HELD = """
SELECT s.id::text, s.name,
       (SELECT count(*) FROM desired_object o WHERE o.logical_server_id = s.id AND NOT o.deleted)
FROM logical_server s WHERE s.id = ANY(%s::uuid[])
"""


async def _removals(tx: Transaction, change: ChangeWriter) -> tuple[Removal, ...]:
    """Give the logical servers that lose many objects, now or to a job, with what they had."""
    counts = change.counts
    gone = {server: removed for server, (_, removed) in counts.items()}
    for server, removed in change.foreseen.removals.items():
        gone[server] = gone.get(server, 0) + removed
    many = [server for server, removed in gone.items() if removed >= MASS_DELETE_COUNT]
    if not many:
        return ()
    found = []
    for server, name, live in await tx.rows(_HELD, (many,)):
        added, removed = counts.get(server, (0, 0))
        found.append(Removal(name, gone[server], live - added + removed))
    return tuple(found)


def redelegated(rows: Sequence[ChangedRow]) -> tuple[str, ...]:
    """Give the zones whose own NS records lose a name. Pure.

    One that comes to its first servers, or goes as a whole, changes nothing at its parent; nor does
    a further name server beside those that the parent names.
    """
    gone: dict[str, set[str]] = {}
    for row in rows:
        zone, _, record = row.key.partition(" ")
        if row.relation != "record" or record != "@ NS":
            continue
        names = gone.setdefault(zone, set())
        if row.before is not None:
            names.add(str(row.before["data"]))
    for row in rows:
        if row.relation == "record" and row.after is not None:
            gone.get(row.key.partition(" ")[0], set()).discard(str(row.after["data"]))
    return tuple(sorted(zone for zone, names in gone.items() if names))


def reloading(objects: Sequence[PlannedObject]) -> tuple[str, ...]:
    """Give the boxes on which a daemon that serves already reloads or restarts. Pure."""
    boxes = {
        box
        for each in objects
        if each.disturbs != "nothing" and (each.kind, each.action) != ("server", "add")
        for box in each.boxes
    }
    return tuple(sorted(boxes))


_LEFT_ALONE = """
SELECT z.name FROM zone z
WHERE z.id IN (SELECT n.zone_id FROM box b JOIN lane l ON l.box_id = b.id
               JOIN zone_server n ON n.logical_server_id = l.logical_server_id
               WHERE b.name = ANY(%s)
               UNION ALL SELECT f.id FROM zone f WHERE f.name = ANY(%s))
  AND NOT EXISTS (SELECT 1 FROM zone_server n JOIN lane l USING (logical_server_id)
                  JOIN box b ON b.id = l.box_id
                  WHERE n.zone_id = z.id AND b.retired_at IS NULL)
ORDER BY z.name
"""


async def _unserved(tx: Transaction, rows: Sequence[ChangedRow]) -> tuple[str, ...]:
    """Give the zones that nobody answers any more, though nobody deleted their domain."""
    last = {(row.relation, row.key): row.after for row in rows}
    gone = {
        key
        for (relation, key), after in last.items()
        if relation == "zone" and after is None and ("domain", key) not in last
    }
    retired = sorted(_retired(rows))
    fewer = list(redelegated(rows))
    if retired or fewer:
        # Of two boxes that are retired at once, the second is judged when the first is committed.
        await tx.run("SELECT pg_advisory_xact_lock(hashtext('retired boxes'))")
        gone |= {name for (name,) in await tx.rows(_LEFT_ALONE, (retired, fewer))}
    return tuple(sorted(gone))


def _retired(rows: Sequence[ChangedRow]) -> Iterator[str]:
    for row in rows:
        if row.relation != "box" or row.before is None or row.after is None:
            continue
        if row.after.get("retired") and not row.before.get("retired"):
            yield row.key
