"""A new key for all secrets: sealed anew in the database, while a controller runs on."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from controller.principal import Principal
from controller.storage.database import Database, Transaction
from controller.storage.secrets import SecretError, Secrets


async def rotate(
    database: Database,
    principal: Principal,
    path: Path,
    told: Callable[[int], None] = lambda sealed: None,
) -> None:
    """Add a key to the file ``path`` and seal every secret with it; ``told`` how many until now.

    A controller that runs takes the key up by itself (see `Secrets`). What breaks off can be begun
    again: the former keys stay in the file.

    Raises `SecretError` for a file of another user.
    """
    _see_owner(path)
    Secrets.add_key(path)
    secrets, sealed = Secrets.load(path), 0
    while count := await database.transaction(
        principal, partial(_reseal, secrets), name="secrets.rotate"
    ):
        sealed += count
        told(sealed)


async def forget(database: Database, principal: Principal, path: Path) -> int:
    """Take the former keys out of the file ``path``; give how many there were.

    Raises `SecretError` for a file of another user, and where something is sealed with one still.
    """
    _see_owner(path)
    secrets = Secrets.load(path)
    left = await database.transaction(principal, partial(_left, secrets), name="secrets.forget")
    if left:
        raise SecretError(f"{left} secrets are sealed with a former key: rotate once more")
    return Secrets.forget_former_keys(path)


def _see_owner(path: Path) -> None:
    """The file is replaced: its controller could not read one of another user."""
    if path.stat().st_uid != os.geteuid():
        raise SecretError(f"{path} belongs to another user: run this as the controller's user")


async def _reseal(secrets: Secrets, tx: Transaction) -> int:
    return await secrets.reseal(tx)


async def _left(secrets: Secrets, tx: Transaction) -> int:
    # Whoever is sealing now is waited for.
    await tx.run("LOCK TABLE secret IN SHARE MODE")
    return await secrets.former(tx)
