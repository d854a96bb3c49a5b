"""Moments as commands answer them."""

from datetime import UTC, datetime


def time_text(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
