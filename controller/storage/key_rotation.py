"""A new key for all secrets: sealed anew in the database, while a controller runs on.

Each step is one transaction with the table to itself: of two rotations one waits for the other, and
for whoever is just storing a secret. Secrets can be read all the while. The file is written before
the commit: what breaks off leaves a key too many, never one too few.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs

from controller.principal import Principal
from controller.storage import key_file
from controller.storage.database import Database, Transaction
from controller.storage.key_file import KeyFile, SecretError
from controller.storage.secrets import Secrets

BATCH = 500
"""Secrets that are sealed anew by one statement."""


@attrs.frozen
class Rotated:
    """What came of a rotation: how many were sealed anew, and which could not even be opened."""

    sealed: int
    closed: tuple[str, ...]


@attrs.frozen
class _Row:
    id: int
    name: str
    sealed: bytes
    clear: bytes | None
    """None: it cannot be opened with the keys of the file."""


async def rotate(database: Database, principal: Principal, path: Path) -> Rotated:
    """Add a key to the file ``path`` and seal every secret with it; the former keys stay there.

    A controller that runs takes the key up by itself (see `Secrets`). What cannot be opened stays
    as it is. Raises `SecretError` where nothing can be, and for a file of another user.
    """
    work = partial(_rotate, _real(path))
    return await database.transaction(principal, work, name="secrets.rotate")


async def forget(database: Database, principal: Principal, path: Path) -> int:
    """Take the former keys out of the file ``path``; give how many there were.

    Raises `SecretError` for a file of another user, and where something is sealed with one still.
    """
    return await database.transaction(
        principal, partial(_forget, _real(path)), name="secrets.forget"
    )


def _real(path: Path) -> Path:
    """Give the file behind links, which is replaced: its controller could not read another's."""
    real = path.resolve(strict=True)
    if real.stat().st_uid != os.geteuid():
        raise SecretError(f"{real} belongs to another user: run this as the controller's user")
    return real


async def _rotate(path: Path, tx: Transaction) -> Rotated:
    file, rows = await _locked(path, tx)
    opened = [row for row in rows if row.clear is not None]
    if not opened:
        raise SecretError(f"the keys of {path} open none of {len(rows)} secrets: nothing was done")
    another = file.with_another()
    key_file.write(path, another)
    secrets = Secrets(another.by_name, another.digest)
    for some in _batches(opened):
        await tx.run(
            """UPDATE secret SET sealed = n.sealed
               FROM unnest(%s::bigint[], %s::bytea[]) AS n (id, sealed) WHERE secret.id = n.id""",
            (
                [row.id for row in some],
                [secrets.seal(row.id, row.clear or b"") for row in some],
            ),
        )
    closed = (f"{row.id} {row.name}".strip() for row in rows if row.clear is None)
    return Rotated(len(opened), tuple(closed))


async def _forget(path: Path, tx: Transaction) -> int:
    file, rows = await _locked(path, tx)
    newest = Secrets(file.by_name, file.digest)
    opened = [row for row in rows if row.clear is not None]
    left = sum(not newest.is_newest(row.sealed) for row in opened)
    if left:
        raise SecretError(f"{left} of the secrets are sealed with a former key: rotate first")
    if len(file.keys) > 1 and not opened:
        raise SecretError(f"no secret here is sealed with a key of {path}: nothing was done")
    key_file.write(path, file.with_newest_alone())
    return len(file.keys) - 1


def _batches(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    return (rows[first : first + BATCH] for first in range(0, len(rows), BATCH))


async def _locked(path: Path, tx: Transaction) -> tuple[KeyFile, list[_Row]]:
    """Keep others from storing secrets; give the keys and the secrets as they are then."""
    await tx.run("LOCK TABLE secret IN EXCLUSIVE MODE")
    candidate = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}")
    for left in path.parent.iterdir():
        if candidate.fullmatch(left.name):  # of a rotation that was killed
            left.unlink()
    file = key_file.read(path)
    secrets = Secrets(file.by_name, file.digest)
    rows = []
    for id_, name, sealed in await tx.rows("SELECT id, name, sealed FROM secret ORDER BY id"):
        clear = None
        with suppress(SecretError):
            clear = secrets.open(id_, sealed)
        rows.append(_Row(id_, name or "", sealed, clear))
    return file, rows
