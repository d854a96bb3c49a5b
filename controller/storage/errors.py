"""What storage refuses or cannot do, in exceptions of our own.

psycopg2's own errors (``psycopg2.errors.UniqueViolation`` ...) come through transactions as they
are: whoever wrote the statement knows what they mean.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import psycopg2
import psycopg2.errors

Plight = Literal["away", "busy", "crowded", "full", "read-only"]
PLIGHTS: Mapping[Plight, str] = MappingProxyType(
    {
        "away": "the database is away",
        "busy": "all connections of the controller to its database are busy",
        "crowded": "others hold all connections that the database allows (max_connections)",
        "full": "the disk of the database is full",
        "read-only": "the database only answers and takes no writes, as a standby does",
    }
)
"""What keeps the database from its work, in the words that people are told."""


POISON = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.errors.ProgramLimitExceeded,
    psycopg2.errors.StatementTooComplex,
    ValueError,
)
"""The values themselves are what the database does not take: the same will be refused again. A
program's limit is one of them: a text that is too long for its index (SQLSTATE 54000)."""


class StorageError(Exception):
    """The database cannot do what was asked; nothing was written unless the text says otherwise."""


class DatabaseUnavailableError(StorageError):
    """The database could not be used in time; nothing was written. ``plight`` says why."""

    def __init__(self, message: str, plight: Plight = "away") -> None:
        super().__init__(message)
        self.plight: Plight = plight


class CommitUnknownError(StorageError):
    """The connection died during the commit: it may or may not have happened.

    Never retried here; the command's idempotency key tells which.
    """


class OvertakenError(StorageError):
    """Another transaction has taken away or changed what this one had read: it is run again."""


class NestedTransactionError(RuntimeError):
    """A transaction was asked for inside a transaction: a deadlock of the pool in the making."""
