"""Transactions on a real PostgreSQL."""

import pytest
import pytest_twisted

from controller.principal import Principal, system
from controller.storage.database import Database, NestedTransactionError, Rollback, Transaction

PROVIDER = system("test")


async def _add_account(tx: Transaction, name: str) -> int:
    (number,) = await tx.row("INSERT INTO account (name) VALUES (%s) RETURNING id", (name,))
    assert isinstance(number, int)
    return number


async def _names(tx: Transaction) -> list[str]:
    return [name for (name,) in await tx.rows("SELECT name FROM account ORDER BY name")]


@pytest_twisted.ensureDeferred
async def test_what_was_committed_is_there(database: Database) -> None:
    await database.transaction(PROVIDER, lambda tx: _add_account(tx, "acme"), name="add")
    assert await database.transaction(PROVIDER, _names, name="names") == ["acme"]


@pytest_twisted.ensureDeferred
async def test_rollback_gives_its_value_and_leaves_nothing(database: Database) -> None:
    async def dry_run(tx: Transaction) -> str:
        await _add_account(tx, "acme")
        raise Rollback("would add")

    assert await database.transaction(PROVIDER, dry_run, name="dry") == "would add"
    assert await database.transaction(PROVIDER, _names, name="names") == []


@pytest_twisted.ensureDeferred
async def test_a_nested_transaction_is_refused(database: Database) -> None:
    async def nested(_: Transaction) -> None:
        await database.transaction(PROVIDER, _names, name="inner")

    with pytest.raises(NestedTransactionError):
        await database.transaction(PROVIDER, nested, name="outer")
    assert await database.transaction(PROVIDER, _names, name="after") == []


@pytest_twisted.ensureDeferred
async def test_an_account_sees_only_its_own_rows(database: Database) -> None:
    async def two(tx: Transaction) -> tuple[int, int]:
        return await _add_account(tx, "acme"), await _add_account(tx, "other")

    acme, _ = await database.transaction(PROVIDER, two, name="two")
    me = Principal("account", "account:acme", account=acme)
    assert await database.transaction(me, _names, name="names") == ["acme"]
