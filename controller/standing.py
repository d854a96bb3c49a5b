"""By which change things are as they are wanted, for a write that found nothing to change.

Whoever repeats a write because its end was not known is told how far that one is.
"""

import json
from collections.abc import Mapping
from typing import Any

from controller.storage.database import Transaction

_STANDING = """
WITH wished AS (
    SELECT id FROM (SELECT id, request FROM change WHERE command = %s
                    AND at > now() - interval '1 day' ORDER BY id DESC LIMIT 200) lately
    WHERE request = %s::jsonb ORDER BY id DESC LIMIT 1
)
SELECT max(last.change_id)
FROM wished JOIN change_row w ON w.change_id = wished.id
CROSS JOIN LATERAL (SELECT n.change_id FROM change_row n
                    WHERE n.row_key = w.row_key AND n.relation = w.relation
                    ORDER BY n.change_id DESC LIMIT 1) last
"""


async def standing(tx: Transaction, command: str, request: Mapping[str, Any]) -> int | None:
    """Give the change that wrote last what the same ``request`` wrote when it was made before.

    It is looked for among the last 200 of its command within a day: who repeats a write does it
    soon. None where it is not there. ``request`` is as changes keep it, and without secrets.
    """
    wish = json.dumps(request, default=str)
    found: int | None
    (found,) = await tx.row(_STANDING, (command, wish))
    return found
