"""The cluster at a glance: the command ``status.show``."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from controller.cluster.boxes.boxes import Boxes
from controller.cluster.servers.logical_servers import NOT_RUN
from controller.commands import Command, Work
from controller.fleet.conditions import CERTIFICATE_DAYS, LANES
from controller.pages import MAX_LIMIT, limit
from templates.registry import SERVICE_TYPES

SHOWN = 100
"""Boxes that are shown where nothing else is asked: those that need a look first."""


@attrs.frozen
class ShowStatus:
    """How many boxes are shown at most."""

    limit: int = SHOWN


MOST_BEHIND = 20
"""Lanes in trouble that are named."""

_LANE = """
SELECT s.name, s.group_name, s.service_type, b.name, b.connected, l.condition, l.message,
       s.revision, l.stored_revision, l.settled_revision,
       (SELECT host(i.address) FROM ip_address i WHERE i.logical_server_id = s.id
        AND i.type <> 'dedicated' ORDER BY i.id LIMIT 1),
       (SELECT i.port FROM ip_address i WHERE i.logical_server_id = s.id
        AND i.type <> 'dedicated' ORDER BY i.id LIMIT 1),
       -- Counted up to here: somebody must look long before.
       (SELECT count(*) FROM (SELECT 1 FROM object_outcome o WHERE o.box_id = l.box_id
                              AND o.logical_server_id = l.logical_server_id LIMIT 1000) f)
FROM lane l JOIN logical_server s ON s.id = l.logical_server_id JOIN box b ON b.id = l.box_id
"""

# The words of `controller.fleet.conditions` that are not "connected", asked of all boxes at once.
_BOXES = """
WITH judged AS (
    SELECT b.id, b.name, b.first_seen_at IS NULL AS fresh,
           b.intent = 'maintenance' OR b.retired_at IS NOT NULL AS muted,
           b.first_seen_at IS NULL OR NOT b.connected OR b.id = ANY(%s::uuid[])
           OR coalesce(c.ends < %s, false) OR coalesce(l.troubled, false) AS troubled
    FROM box b
    LEFT JOIN (SELECT box_id, max(not_after) AS ends FROM certificate
               WHERE revoked_at IS NULL GROUP BY box_id) c ON c.box_id = b.id
    LEFT JOIN (SELECT l.box_id, bool_or(l.condition = ANY(%s)
                                        OR l.settled_revision < s.revision
                                        OR l.drifted > 0) AS troubled
               FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
               GROUP BY l.box_id) l ON l.box_id = b.id
)
SELECT count(*), count(*) FILTER (WHERE troubled AND NOT muted), count(*) FILTER (WHERE fresh),
       array(SELECT id::text FROM judged ORDER BY troubled AND NOT muted DESC, name LIMIT %s)
FROM judged
"""

_BEHIND = """
WHERE NOT (b.intent = 'maintenance' OR b.retired_at IS NOT NULL) AND s.service_type = ANY(%s)
AND (l.condition NOT IN ('ok', 'new') OR l.settled_revision < s.revision)
ORDER BY s.name, b.name LIMIT %s
"""

_COUNTED = 10000
"""What grows with customers is counted up to here, and above by the planner's statistics."""

_COUNTS = """
SELECT (SELECT count(*) FROM logical_server),
       (SELECT count(*) FROM (SELECT 1 FROM object_outcome LIMIT %s) o),
       (SELECT count(*) FROM (SELECT 1 FROM account LIMIT %s) a),
       (SELECT count(*) FROM (SELECT 1 FROM domain LIMIT %s) d),
       (SELECT reltuples::bigint FROM pg_class WHERE oid = 'account'::regclass),
       (SELECT reltuples::bigint FROM pg_class WHERE oid = 'domain'::regclass)
"""


@attrs.frozen
class Status:
    """The command on the cluster as a whole."""

    boxes: Boxes

    async def show(self, work: Work, request: ShowStatus) -> dict[str, Any]:
        """Show boxes with their intent and condition, lanes, and counts.

        Of many boxes, up to ``limit`` are given with their lanes: those that need a look first.
        ``behind`` names lanes of any box that have not what they should have.
        """
        cluster_id, service_domain = await work.tx.row(
            "SELECT id::text, service_domain FROM cluster"
        )
        servers, faults, accounts, domains, many_accounts, many_domains = await work.tx.row(
            _COUNTS, (_COUNTED,) * 3
        )
        boxes, troubled, fresh, first = await work.tx.row(
            _BOXES, (self.boxes.fleet.duplicated(), self._soon(), list(LANES), limit(request.limit))
        )
        lanes = await work.tx.rows(
            f"{_LANE} WHERE b.id = ANY(%s::uuid[]) ORDER BY s.name, b.name LIMIT %s",
            (first, MAX_LIMIT),
        )
        behind = await work.tx.rows(f"{_LANE} {_BEHIND}", (list(SERVICE_TYPES), MOST_BEHIND))
        return {
            "cluster": cluster_id,
            "service_domain": service_domain,
            "counts": {
                "boxes": boxes,
                "boxes_in_trouble": troubled,
                "boxes_never_connected": fresh,
                "logical_servers": servers,
                "faults": faults,
                "accounts": max(accounts, many_accounts) if accounts == _COUNTED else accounts,
                "domains": max(domains, many_domains) if domains == _COUNTED else domains,
            },
            "boxes": await self.boxes.these(work.tx, first),
            "lanes": [_lane(row) for row in lanes],
            "behind": [_lane(row) for row in behind],
        }

    def _soon(self) -> datetime:
        """Give the moment before which a certificate is called expiring."""
        now = datetime.fromtimestamp(self.boxes.clock(), UTC)
        return now + timedelta(days=CERTIFICATE_DAYS)

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "status.show",
                "GET",
                "/status",
                ShowStatus,
                "provider.read",
                "Show the cluster at a glance",
                self.show,
            ),
        )


def _lane(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "logical_server": row[0],
        "group": row[1],
        "type": row[2],
        "box": row[3],
        "connected": row[4],
        "condition": row[5] if row[2] in SERVICE_TYPES else NOT_RUN,
        "message": row[6],
        "revision": row[7],
        "stored_revision": row[8],
        "settled_revision": row[9],
        "address": row[10],
        "port": row[11],
        "faults": row[12],
    }
