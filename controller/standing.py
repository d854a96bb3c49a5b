"""By which changes things are as they are wanted, for a write that found nothing to change.

Whoever repeats a write because its first end was not known is told how far that one is.
"""

import json
from collections.abc import Mapping
from typing import Any

from controller.storage.database import Transaction

_NEWEST = 1000
"""Changes of the same command among which the same wish is looked for."""
_MOST = 20
"""Changes that are named."""

_STANDING = """
SELECT DISTINCT last.change_id
FROM (SELECT id FROM (SELECT id, request FROM change WHERE command = %s ORDER BY id DESC LIMIT %s) c
      WHERE request = %s::jsonb ORDER BY id DESC LIMIT 1) wished
JOIN change_object o ON o.change_id = wished.id
CROSS JOIN LATERAL (SELECT n.change_id FROM change_object n
                    WHERE n.logical_server_id = o.logical_server_id AND n.kind = o.kind
                      AND n.key = o.key ORDER BY n.revision DESC LIMIT 1) last
ORDER BY last.change_id DESC LIMIT %s
"""


async def standing(tx: Transaction, command: str, request: Mapping[str, Any]) -> tuple[int, ...]:
    """Give the changes that wrote last what the same ``request`` wrote when it was made before.

    Newest first; none where it was not made lately, or touched no box. ``request`` is as changes
    keep it: `controller.changes.redacted`.
    """
    wish = json.dumps(request, default=str)
    return tuple(row[0] for row in await tx.rows(_STANDING, (command, _NEWEST, wish, _MOST)))
