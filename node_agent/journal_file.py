"""The journal's file: opened, brought to today's format, and written in one commit at a time.

A *durable* commit has reached the disk when it returns; any other may be lost with the power, never
in part.
"""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node_agent.effects.failures import DiskFullError
from node_agent.journal_format import FORMATS
from node_agent.logs import event


class JournalError(Exception):
    """The file cannot be used; ``args[0]`` tells the operator why and what to do."""


class JournalFile:
    """The file. One writer; readers in other processes (``hs-agent status``) do not disturb it."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            _close_to_others(path)
        self.db = sqlite3.connect(
            ":memory:" if path is None else path,
            isolation_level=None,
            check_same_thread=False,
            timeout=10.0,
        )
        with _disk():
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = FULL")
            self.db.execute("PRAGMA secure_delete = FAST")
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version > len(FORMATS):
                raise JournalError(
                    f"{path} was written by a newer agent (format {version}, this one knows"
                    f" {len(FORMATS)}): install that agent again"
                )
            for following in FORMATS[version:]:
                self.db.executescript(f"BEGIN; {following} COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Make what is written within one commit; ``durable`` waits for the disk.

        Raises `DiskFullError`; then nothing of it was written.
        """
        with _disk():
            self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """Give a number that changes when another process wrote."""
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])


def _close_to_others(path: Path) -> None:
    """Make the file, and those that SQLite keeps beside it, its owner's: it has secrets (S14)."""
    try:
        if not path.exists():
            path.touch(mode=0o600)
        for each in (path, *(path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))):
            mode = each.stat().st_mode & 0o777 if each.exists() else 0
            if mode & 0o077:
                each.chmod(0o600)
                event("closed-to-others", level=logging.WARNING, file=each, mode=f"{mode:04o}")
    except OSError as error:
        raise JournalError(f"{error.filename}: {error.strerror}") from error


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"):
            raise DiskFullError(f"the journal cannot be written: {error}") from error
        raise
