"""Transactions of one reading statement, on a real PostgreSQL."""

import psycopg2
import pytest
import pytest_twisted

from controller.principal import Principal, system
from controller.storage.database import Database, Transaction

PROVIDER = system("test")
NOBODY = Principal("account", "account:7", account=7, origin="test")


async def count(tx: Transaction) -> int:
    (found,) = await tx.row("SELECT count(*) FROM account")
    return int(found)


async def add(tx: Transaction) -> None:
    await tx.run("INSERT INTO account (name) VALUES ('acme')")


@pytest_twisted.ensureDeferred
async def test_a_single_statement_sees_what_its_principal_may_see(database: Database) -> None:
    await database.transaction(PROVIDER, add, name="add")
    assert await database.transaction(PROVIDER, count, name="count", single=True) == 1
    assert await database.transaction(NOBODY, count, name="count", single=True) == 0


@pytest_twisted.ensureDeferred
async def test_the_principal_of_a_single_statement_ends_with_it(database_url: str) -> None:
    database = await Database.connect(database_url, size=1)

    async def principal(tx: Transaction) -> str | None:
        (found,) = await tx.row("SELECT nullif(current_setting('hs.account', true), '')")
        return None if found is None else str(found)

    assert await database.transaction(NOBODY, principal, name="a", single=True) == "7"
    assert await database.transaction(PROVIDER, principal, name="b", single=True) is None
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_second_statement_is_refused(database: Database) -> None:
    async def twice(tx: Transaction) -> None:
        await count(tx)
        await count(tx)

    with pytest.raises(RuntimeError, match="has ended"):
        await database.transaction(PROVIDER, twice, name="twice", single=True)


@pytest_twisted.ensureDeferred
async def test_a_failed_single_statement_leaves_the_connection_usable(database_url: str) -> None:
    database = await Database.connect(database_url, size=1)

    async def fails(tx: Transaction) -> None:
        await tx.row("SELECT 1/0")

    with pytest.raises(psycopg2.errors.DivisionByZero):
        await database.transaction(PROVIDER, fails, name="fails", single=True)
    assert await database.transaction(PROVIDER, count, name="count", single=True) == 0
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_reading_transaction_may_not_write(database_url: str) -> None:
    database = await Database.connect(database_url, size=1)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        await database.transaction(PROVIDER, add, name="add", reads=True)
    assert await database.transaction(PROVIDER, count, name="count", reads=True) == 0
    await database.transaction(PROVIDER, add, name="add")
    assert await database.transaction(PROVIDER, count, name="count") == 1
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_reading_transaction_answers_before_its_end(database: Database) -> None:
    kept: list[Transaction] = []

    async def read(tx: Transaction) -> int:
        kept.append(tx)
        return await count(tx)

    await database.transaction(PROVIDER, read, name="read", reads=True)
    assert not kept[0].open
    with pytest.raises(RuntimeError, match="has ended"):
        await count(kept[0])
