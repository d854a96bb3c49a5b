"""What a box must have on its disk for a change, written by hand: a journal's entry, a zone's file.

The limit writes it, and the skeleton. It imports nothing of the product.
"""

import os
import sqlite3
from pathlib import Path

ROW = "x" * 600
"""As many bytes as the row of a change has, and an agent's journal entry."""


class Journal:
    """What an agent must have on its disk before it may act: one commit of a WAL, synced."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, body TEXT)")

    def write(self) -> None:
        self._db.execute("INSERT INTO entry (body) VALUES (?)", (ROW,))

    def close(self) -> None:
        self._db.close()


def write_file(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all: sync, then rename."""
    candidate = path.with_name(f"{path.name}.new")
    handle = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(candidate, path)


def zone_text(zone: str, serial: int) -> str:
    """Give a zone whose one record changes with its serial."""
    return (
        f"$ORIGIN {zone}.\n$TTL 3600\n"
        f"@ SOA ns1.limit.test. root.limit.test. {serial} 10800 3600 1209600 3600\n"
        "@ NS ns1.limit.test.\n@ NS ns2.limit.test.\n"
        f"@ A 192.0.2.1\nwww A 192.0.2.1\nchanged A 192.0.2.{serial % 250 + 1}\n"
    )
