"""Idempotency keys: a request that is sent twice is done once."""

from typing import Any

import attrs
from psycopg2.extras import Json

from controller.refusal import CommandError
from controller.storage.database import Transaction

MAX_KEY = 200
KEPT_DAYS = 7


@attrs.frozen
class Replay:
    """The answer that the first request got."""

    change_id: int | None
    response: Any
    held_id: int | None = None
    """The change as which it was held back."""


async def claim(tx: Transaction, actor: str, key: str, request_hash: bytes) -> Replay | None:
    """Take ``key`` for this request; the first thing that a command's transaction does.

    None: the key is new, go on and `record` the answer before the end. A `Replay`: this was done
    already, here is what it answered. A second request with the same key waits here until the first
    has ended: one of them does the work. Raises `CommandError` 409 where the key was used for
    another request, 422 where it is no key.
    """
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise CommandError(
            "idempotency.key.invalid",
            "This is not an idempotency key.",
            field="Idempotency-Key",
            value=key[:MAX_KEY],
            allowed=f"1 to {MAX_KEY} printable characters",
        )
    new = await tx.run(
        "INSERT INTO idempotency (actor, key, request_hash) VALUES (%s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        (actor, key, request_hash),
    )
    if new:
        return None
    row = await tx.maybe(
        "SELECT request_hash, change_id, response, held_id FROM idempotency"
        " WHERE actor = %s AND key = %s",
        (actor, key),
    )
    if row is None or row[0] != request_hash:  # None: just purged, so it was used long ago
        raise CommandError(
            "idempotency.key.reused",
            "This idempotency key was used for another request.",
            field="Idempotency-Key",
            value=key,
            allowed="a new key for a new request",
            status=409,
        )
    return Replay(row[1], row[2], row[3])


def record(tx: Transaction, actor: str, key: str, *, change_id: int | None, response: Any) -> None:
    """Keep the answer for replays, with the next statement of the transaction that did the work."""
    tx.run_with_next(
        "UPDATE idempotency SET change_id = %s, response = %s WHERE actor = %s AND key = %s",
        (change_id, Json(response), actor, key),
    )


def record_held(tx: Transaction, actor: str, key: str, held_id: int) -> None:
    """Keep for replays that the request was held back."""
    tx.run_with_next(
        "UPDATE idempotency SET held_id = %s WHERE actor = %s AND key = %s", (held_id, actor, key)
    )


async def purge(tx: Transaction, *, limit: int = 1000, ahead: float = 0.0) -> int:
    """Forget at most ``limit`` keys older than `KEPT_DAYS` days; give how many.

    ``ahead``: so many seconds the database's clock was set ahead since these keys may have been
    used: they are no older for that, and a request that is sent again must find its own.
    """
    return await tx.run(
        "DELETE FROM idempotency WHERE (actor, key) IN (SELECT actor, key FROM idempotency"
        " WHERE at < now() - make_interval(days => %s, secs => %s) ORDER BY at LIMIT %s)",
        (KEPT_DAYS, ahead, limit),
    )
