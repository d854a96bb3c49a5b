"""A new key for all secrets: sealed anew in the database, while a controller runs on.

Each step is one transaction with the table to itself: of two rotations one waits for the other, and
for whoever is just storing a secret. Secrets can be read all the while. The file is written before
the commit: what breaks off leaves a key too many, never one too few.
"""

import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs

from controller.principal import Principal
from controller.storage import key_file
from controller.storage.database import Database, Transaction
from controller.storage.key_file import KeyFile, SecretError
from controller.storage.secrets import Secrets


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
    if rows and not opened:
        raise SecretError(f"the keys of {path} open none of {len(rows)} secrets: nothing was done")
    another = file.with_another()
    key_file.write(path, another)
    secrets = Secrets(another.by_name, another.digest)
    for row in opened:
        assert row.clear is not None
        await tx.run(
            "UPDATE secret SET sealed = %s WHERE id = %s",
            (secrets.seal(row.id, row.clear), row.id),
        )
    closed = (f"{row.id} {row.name}".strip() for row in rows if row.clear is None)
    return Rotated(len(opened), tuple(closed))


async def _forget(path: Path, tx: Transaction) -> int:
    file, rows = await _locked(path, tx)
    newest = Secrets(file.by_name, file.digest)
    left = sum(row.clear is not None and not newest.is_newest(row.sealed) for row in rows)
    if left:
        raise SecretError(f"{left} of the secrets are sealed with a former key: rotate first")
    key_file.write(path, file.with_newest_alone())
    return len(file.keys) - 1


async def _locked(path: Path, tx: Transaction) -> tuple[KeyFile, list[_Row]]:
    """Keep others from storing secrets; give the keys and the secrets as they are then."""
    await tx.run("LOCK TABLE secret IN EXCLUSIVE MODE")
    for left in path.parent.glob(f".{path.name}.*"):  # of a rotation that was killed
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
