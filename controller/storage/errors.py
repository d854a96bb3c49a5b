"""What storage refuses or cannot do, in exceptions of our own.

psycopg2's own errors (``psycopg2.errors.UniqueViolation`` ...) come through transactions as they
are: whoever wrote the statement knows what they mean.
"""


class StorageError(Exception):
    """The database cannot do what was asked; nothing was written unless the text says otherwise."""


class DatabaseUnavailableError(StorageError):
    """No connection to the database could be had in time; nothing was written."""


class CommitUnknownError(StorageError):
    """The connection died during the commit: it may or may not have happened.

    Never retried here; the command's idempotency key tells which.
    """


class NestedTransactionError(RuntimeError):
    """A transaction was asked for inside a transaction: a deadlock of the pool in the making."""
