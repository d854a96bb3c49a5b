"""Announcing that something moved: NOTIFY ``hs_event``, read by panel, API and waiting clients.

A payload is a JSON object: ``{"change": ID}`` or ``{"box": NAME}``. It says only that something
moved; who hears it reads the truth from the database.
"""

from collections.abc import Iterable, Mapping

import msgspec

from controller.storage.database import Transaction

CHANNEL = "hs_event"

Event = Mapping[str, str | int]


async def publish(tx: Transaction, events: Iterable[Event]) -> None:
    """Announce ``events`` when the transaction commits; equal ones are announced once."""
    texts = sorted({msgspec.json.encode(event).decode() for event in events})
    if texts:
        await tx.rows(
            "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", (CHANNEL, texts)
        )
