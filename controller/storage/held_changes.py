"""The table of changes that are held back: ``held_change``, its row and its states."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from psycopg2.extras import Json

from controller.storage.database import Transaction

KEPT_DAYS = 7
"""So long a change is held; who still wants it then asks again."""
REMEMBERED_DAYS = 90
"""So long is told what became of one."""


@attrs.frozen
class HeldRow:
    """A change as it is held. ``hazards`` and ``plan`` are what it was last judged to come to."""

    id: int
    actor: str
    origin: str
    command: str
    request: Mapping[str, Any] = attrs.field(repr=False)
    secret_id: int | None
    reason: str
    hazards: Sequence[Mapping[str, Any]]
    plan: Sequence[str]
    state: str
    held_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_by: str


_ROWS = """
SELECT id, actor, origin, command, request, secret_id, reason, hazards, plan,
CASE WHEN state = 'held' AND expires_at <= now() THEN 'expired' ELSE state END,
held_at, expires_at, ended_at, ended_by
FROM held_change
"""


async def find(tx: Transaction, held_id: int, *, lock: bool = False) -> HeldRow | None:
    """Give a held change by its number; with its ``lock`` nobody else ends it meanwhile."""
    row = await tx.maybe(
        f"{_ROWS} WHERE id = %s{' FOR UPDATE' if lock else ''}",
        (min(held_id, 2**63 - 1),),
    )
    return None if row is None else HeldRow(*row)


async def listed(tx: Transaction, *, ended: bool, before: int, count: int) -> list[HeldRow]:
    """Give up to ``count`` held changes below a number, the newest first; ``ended`` ones too."""
    rows = await tx.rows(
        f"""{_ROWS} WHERE id < %s AND (%s OR (state = 'held' AND expires_at > now()))
            ORDER BY id DESC LIMIT %s""",
        (before, ended, count),
    )
    return [HeldRow(*row) for row in rows]


async def same(tx: Transaction, actor: str, request_hash: bytes) -> int | None:
    """Give the number of the very request of the same one, where it is held already.

    Whoever else is about to hold it waits until this transaction ends.
    """
    await tx.run("SELECT pg_advisory_xact_lock(hashtext('held changes'))")
    row = await tx.maybe(
        """SELECT id, secret_id, expires_at <= now() FROM held_change
           WHERE actor = %s AND request_hash = %s AND state = 'held' FOR UPDATE""",
        (actor, request_hash),
    )
    if row is None:
        return None
    held_id, secret_id, expired = row
    if expired:
        await _expire(tx, [(held_id, secret_id)])
        return None
    return int(held_id)


async def add(
    tx: Transaction,
    *,
    actor: str,
    origin: str,
    command: str,
    request: Mapping[str, Any],
    secret_id: int | None,
    request_hash: bytes,
    reason: str,
) -> int:
    """Hold a request, its hazards yet to be told (`judged`); give its number."""
    (held_id,) = await tx.row(
        """INSERT INTO held_change (actor, origin, command, request, secret_id, request_hash,
                                    reason, hazards, plan, expires_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, '[]', '[]', now() + make_interval(days => %s))
           RETURNING id""",
        (
            *(actor, origin, command, Json(request), secret_id, request_hash, reason),
            KEPT_DAYS,
        ),
    )
    return int(held_id)


async def judged(
    tx: Transaction, held_id: int, hazards: Sequence[Mapping[str, Any]], plan: Sequence[str]
) -> None:
    """Note what a held change was judged to come to just now."""
    await tx.run(
        "UPDATE held_change SET hazards = %s, plan = %s WHERE id = %s AND state = 'held'",
        (Json(list(hazards)), Json(list(plan)), held_id),
    )


async def end(tx: Transaction, held: HeldRow, state: str, actor: str) -> None:
    """End a held change, and forget the secrets of its request."""
    await tx.run(
        """UPDATE held_change SET state = %s, ended_at = now(), ended_by = %s, secret_id = NULL
           WHERE id = %s""",
        (state, actor, held.id),
    )
    if held.secret_id is not None:
        await tx.run("DELETE FROM secret WHERE id = %s", (held.secret_id,))


async def purge(tx: Transaction, *, limit: int = 1000) -> int:
    """End up to ``limit`` changes whose time is over, forget old ones; give how many ended."""
    due = await tx.rows(
        """SELECT id, secret_id FROM held_change
           WHERE state = 'held' AND expires_at <= now() ORDER BY id LIMIT %s FOR UPDATE""",
        (limit,),
    )
    await _expire(tx, due)
    await tx.run(
        "DELETE FROM held_change WHERE ended_at < now() - make_interval(days => %s)",
        (REMEMBERED_DAYS,),
    )
    return len(due)


async def _expire(tx: Transaction, due: Sequence[tuple[Any, ...]]) -> None:
    """End changes (number, secret) whose time is over, and forget the secrets of their requests."""
    await tx.run(
        """UPDATE held_change SET state = 'expired', ended_at = now(), secret_id = NULL
           WHERE id = ANY(%s)""",
        ([held_id for held_id, _ in due],),
    )
    await tx.run(
        "DELETE FROM secret WHERE id = ANY(%s)",
        ([secret for _, secret in due if secret is not None],),
    )
