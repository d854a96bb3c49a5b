"""Prepared statements on a real PostgreSQL: the same answers, without planning anew."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg2
import pytest
import pytest_twisted

from controller.principal import Principal, system
from controller.progress import change_states
from controller.storage.database import Database, Transaction

PROVIDER = system("test")
BY_NAME = "SELECT id FROM account WHERE name = %s"
PREPARED = "SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements"


@pytest_twisted.async_yield_fixture
async def one(database_url: str) -> AsyncIterator[Database]:
    """A database with one connection, so that all transactions meet what it has prepared."""
    database = await Database.connect(database_url, size=1)
    yield database
    await database.close()


async def ask(
    database: Database, sql: str, *parameters: object, principal: Principal = PROVIDER
) -> list[tuple[object, ...]]:
    async def work(tx: Transaction) -> list[tuple[object, ...]]:
        return await tx.rows(sql, parameters)

    return await database.transaction(principal, work, name="ask")


async def run(database: Database, sql: str, *parameters: object) -> int:
    async def work(tx: Transaction) -> int:
        return await tx.run(sql, parameters)

    return await database.transaction(PROVIDER, work, name="run")


async def prepared(database: Database) -> dict[object, object]:
    """Give how often each prepared statement ran, by what follows ``AS``."""
    return {
        str(statement).split(" AS ", 1)[1]: count
        for statement, count in await ask(database, PREPARED)
    }


@pytest_twisted.ensureDeferred
async def test_a_statement_asked_twice_is_prepared_and_then_executed(one: Database) -> None:
    for _ in range(4):
        assert await ask(one, BY_NAME, "acme") == []
    found = await prepared(one)
    assert [count for text, count in found.items() if "account" in str(text)] == [2]


@pytest_twisted.ensureDeferred
async def test_a_prepared_statement_shows_each_principal_only_its_own(one: Database) -> None:
    await run(one, "INSERT INTO account (name) VALUES ('acme'), ('other')")
    ((acme,),) = await ask(one, BY_NAME, "acme")
    assert isinstance(acme, int)
    own = Principal("account", f"account:{acme}", account=acme, origin="test")
    other = Principal("account", f"account:{acme + 1}", account=acme + 1, origin="test")
    # More often than PostgreSQL plans for the values at hand: the plan of all values too.
    for _ in range(12):
        assert len(await ask(one, "SELECT name FROM account")) == 2
        assert await ask(one, "SELECT name FROM account", principal=own) == [("acme",)]
        assert await ask(one, "SELECT name FROM account", principal=other) == [("other",)]


@pytest_twisted.ensureDeferred
async def test_the_statements_of_one_text_are_prepared_apart(one: Database) -> None:
    text = "SELECT 1 FROM account WHERE name = %s FOR UPDATE; SELECT %s::int + 1"
    for number in range(4):
        assert await ask(one, text, "acme", number) == [(number + 1,)]
    assert len(await prepared(one)) == 2


@pytest_twisted.ensureDeferred
async def test_only_what_can_be_prepared_of_a_text_is(one: Database) -> None:
    text = "SELECT 1 FROM account WHERE name = %s FOR UPDATE; SELECT json_build_array(%s)"
    for _ in range(4):
        assert await ask(one, text, "acme", 7) == [([7],)]
    assert len(await prepared(one)) == 1


@pytest.mark.parametrize(
    ("sql", "value", "answer"),
    [
        ("SELECT %s", 7, 7),
        ("SELECT %s + 1", 2**40, 2**40 + 1),
        ("SELECT json_build_array(%s)", 7, [7]),
        ("SELECT 1 WHERE 5 IN %s", (4, 5), 1),
        ("SELECT %s::text", "100 % it's;", "100 % it's;"),
        ("SELECT 'a;b%%' || %s", "c", "a;b%c"),
        ("SELECT '; SELECT 1; ' || %s", "c", "; SELECT 1; c"),
        ("SELECT count(*)::int FROM account WHERE id = ANY(%s)", [], 0),
        ("SELECT cardinality(%s::uuid[])", ["00000000-0000-0000-0000-000000000001"], 1),
        ("SELECT (%s::bytea[])[1]", [b"\x00\xff"], b"\x00\xff"),
        ("SELECT (%s::text[])[1]", [None], None),
        ("SELECT %s::character(3)", "abc", "abc"),
        ("SELECT 1 WHERE %s IS NULL", None, 1),
        ("SELECT 1 WHERE now() > %s", datetime(2020, 1, 1, tzinfo=UTC), 1),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_value_means_the_same_at_each_time(
    one: Database, sql: str, value: object, answer: object
) -> None:
    for _ in range(4):
        assert await ask(one, sql, value) == [(answer,)]


@pytest_twisted.ensureDeferred
async def test_a_text_without_parameters_keeps_its_percent_signs(one: Database) -> None:
    for _ in range(4):
        assert await ask(one, "SELECT 7 % 4") == [(3,)]
        assert await ask(one, "SELECT 'a%%b'") == [("a%%b",)]


@pytest_twisted.ensureDeferred
async def test_rows_touched_are_counted_as_ever(one: Database) -> None:
    for name in ("a", "b", "c", "d"):
        assert await run(one, "INSERT INTO account (name) VALUES (%s)", name) == 1
    for _ in range(4):
        assert await run(one, "UPDATE account SET name = name WHERE name <> %s", "d") == 3


@pytest_twisted.ensureDeferred
async def test_an_error_of_a_prepared_statement_comes_through(one: Database) -> None:
    for name in ("a", "b", "c"):
        await run(one, "INSERT INTO account (name) VALUES (%s)", name)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        await run(one, "INSERT INTO account (name) VALUES (%s)", "a")
    assert await run(one, "INSERT INTO account (name) VALUES (%s)", "e") == 1


@pytest_twisted.ensureDeferred
async def test_statements_that_somebody_discarded_are_prepared_anew(one: Database) -> None:
    for _ in range(3):
        await ask(one, BY_NAME, "acme")
    await ask(one, "DEALLOCATE ALL; SELECT 1")
    assert await ask(one, BY_NAME, "acme") == []


@pytest_twisted.ensureDeferred
async def test_a_changed_table_below_a_prepared_statement_is_no_error(
    one: Database, database_url: str
) -> None:
    for _ in range(3):
        await ask(one, "SELECT * FROM account WHERE name = %s", "acme")
    owner = psycopg2.connect(database_url)
    with owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE account ADD COLUMN extra int")
    owner.close()
    assert await ask(one, "SELECT * FROM account WHERE name = %s", "acme") == []


@pytest_twisted.ensureDeferred
async def test_how_far_a_change_is_is_not_planned_anew_for_each_question(one: Database) -> None:
    """PostgreSQL keeps to plans for the values at hand where those look cheaper: 3 ms each here."""

    async def look(tx: Transaction) -> None:
        await change_states(tx, [1])

    for _ in range(12):
        await one.transaction(PROVIDER, look, name="look")
    kept = await ask(
        one,
        "SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE '%stored_revision%'",
    )
    assert len(kept) == 2
    assert all(times for (times,) in kept)
