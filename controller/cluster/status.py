"""The cluster at a glance: the command ``status.show``."""

from typing import Any

import attrs

from controller.cluster.boxes import Boxes, ListBoxes
from controller.cluster.logical_servers import NOT_RUN
from controller.commands import Command, Work
from controller.pages import MAX_LIMIT
from templates.registry import SERVICE_TYPES


@attrs.frozen
class ShowStatus:
    """Nothing is asked for."""


_LANES = """
SELECT s.name, s.group_name, s.service_type, b.name, b.connected, l.condition, l.message,
       s.revision, l.stored_revision, l.settled_revision,
       (SELECT host(i.address) FROM ip_address i WHERE i.logical_server_id = s.id
        AND i.type <> 'dedicated' ORDER BY i.id LIMIT 1),
       (SELECT i.port FROM ip_address i WHERE i.logical_server_id = s.id
        AND i.type <> 'dedicated' ORDER BY i.id LIMIT 1)
FROM lane l JOIN logical_server s ON s.id = l.logical_server_id JOIN box b ON b.id = l.box_id
ORDER BY s.name, b.name LIMIT %s
"""

_COUNTED = 10000
"""What grows with customers is counted up to here, and above by the planner's statistics."""

_COUNTS = """
SELECT (SELECT count(*) FROM box), (SELECT count(*) FROM logical_server),
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
        """Show boxes with their intent and condition, lanes, and counts."""
        cluster_id, service_domain = await work.tx.row(
            "SELECT id::text, service_domain FROM cluster"
        )
        boxes, servers, faults, accounts, domains, many_accounts, many_domains = await work.tx.row(
            _COUNTS, (_COUNTED,) * 3
        )
        listed = await self.boxes.list(work, ListBoxes(limit=MAX_LIMIT))
        lanes = await work.tx.rows(_LANES, (MAX_LIMIT,))
        return {
            "cluster": cluster_id,
            "service_domain": service_domain,
            "counts": {
                "boxes": boxes,
                "logical_servers": servers,
                "faults": faults,
                "accounts": max(accounts, many_accounts) if accounts == _COUNTED else accounts,
                "domains": max(domains, many_domains) if domains == _COUNTED else domains,
            },
            "boxes": listed["items"],
            "lanes": [
                {
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
                }
                for row in lanes
            ],
        }

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
