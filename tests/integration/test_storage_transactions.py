"""Transactions on a real PostgreSQL."""

import contextlib
import itertools
from collections.abc import Awaitable, Callable

import psycopg2
import pytest
import pytest_twisted
from psycopg2.extras import Json
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from controller.principal import system
from controller.storage.database import (
    Database,
    DatabaseUnavailableError,
    NestedTransactionError,
    OvertakenError,
    Rollback,
    StorageError,
    Transaction,
)
from tests.conftest import LoggedErrors

PROVIDER = system("test")


async def add_account(tx: Transaction, name: str) -> int:
    (number,) = await tx.row("INSERT INTO account (name) VALUES (%s) RETURNING id", (name,))
    assert isinstance(number, int)
    return number


async def names(tx: Transaction) -> list[str]:
    return [name for (name,) in await tx.rows("SELECT name FROM account ORDER BY name")]


def adding(name: str) -> Callable[[Transaction], Awaitable[int]]:
    return lambda tx: add_account(tx, name)


@pytest_twisted.ensureDeferred
async def test_what_was_committed_is_there(database: Database) -> None:
    await database.transaction(PROVIDER, adding("acme"), name="add")
    assert await database.transaction(PROVIDER, names, name="names") == ["acme"]


@pytest_twisted.ensureDeferred
async def test_rollback_gives_its_value_and_leaves_nothing(database: Database) -> None:
    async def dry_run(tx: Transaction) -> str:
        await add_account(tx, "acme")
        raise Rollback("would add")

    assert await database.transaction(PROVIDER, dry_run, name="dry") == "would add"
    assert await database.transaction(PROVIDER, names, name="names") == []


@pytest_twisted.ensureDeferred
async def test_an_exception_leaves_nothing_and_comes_through(database: Database) -> None:
    async def failing(tx: Transaction) -> None:
        await add_account(tx, "acme")
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await database.transaction(PROVIDER, failing, name="failing")
    assert await database.transaction(PROVIDER, names, name="names") == []


@pytest_twisted.ensureDeferred
async def test_a_unique_violation_comes_through_and_the_pool_lives_on(database: Database) -> None:
    await database.transaction(PROVIDER, adding("acme"), name="first")
    for _ in range(20):
        with pytest.raises(psycopg2.errors.UniqueViolation):
            await database.transaction(PROVIDER, adding("acme"), name="second")
    assert await database.transaction(PROVIDER, names, name="names") == ["acme"]


@pytest_twisted.ensureDeferred
async def test_a_swallowed_error_is_not_taken_for_a_commit(database: Database) -> None:
    async def swallowing(tx: Transaction) -> None:
        await add_account(tx, "acme")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            await add_account(tx, "acme")

    with pytest.raises(StorageError):
        await database.transaction(PROVIDER, swallowing, name="swallowing")


@pytest_twisted.ensureDeferred
async def test_a_mistaken_argument_is_not_retried(database: Database) -> None:
    calls = itertools.count()

    async def mistaken(tx: Transaction) -> None:
        next(calls)
        await tx.rows("SELECT %s", (object(),))

    with pytest.raises(psycopg2.ProgrammingError):
        await database.transaction(PROVIDER, mistaken, name="mistaken")
    assert next(calls) == 1


@pytest_twisted.ensureDeferred
async def test_a_nested_transaction_is_refused(database: Database) -> None:
    async def nested(_: Transaction) -> None:
        await database.transaction(PROVIDER, names, name="inner")

    with pytest.raises(NestedTransactionError):
        await database.transaction(PROVIDER, nested, name="outer")
    assert await database.transaction(PROVIDER, names, name="after") == []


@pytest_twisted.ensureDeferred
async def test_two_statements_at_once_are_refused(database: Database) -> None:
    async def both(tx: Transaction) -> None:
        first = Deferred.fromCoroutine(tx.rows("SELECT pg_sleep(0.2)"))
        try:
            with pytest.raises(RuntimeError, match="still running"):
                await tx.rows("SELECT 2")
        finally:
            await first

    await database.transaction(PROVIDER, both, name="both")


@pytest_twisted.ensureDeferred
async def test_after_commit_runs_after_the_commit_and_outside_the_transaction(
    database: Database,
) -> None:
    seen: list[Deferred[list[str]]] = []

    async def hooked(tx: Transaction) -> None:
        tx.after_commit(
            lambda: seen.append(
                Deferred.fromCoroutine(database.transaction(PROVIDER, names, name="hook"))
            )
        )
        await add_account(tx, "acme")
        assert not seen

    await database.transaction(PROVIDER, hooked, name="hooked")
    assert await seen[0] == ["acme"]


@pytest.mark.parametrize("way_out", [Rollback(None), KeyError("no")])
@pytest_twisted.ensureDeferred
async def test_after_commit_never_runs_after_a_rollback(
    database: Database, way_out: Exception
) -> None:
    seen: list[str] = []

    async def hooked(tx: Transaction) -> None:
        tx.after_commit(lambda: seen.append("ran"))
        await add_account(tx, "acme")
        raise way_out

    with contextlib.suppress(KeyError):
        await database.transaction(PROVIDER, hooked, name="hooked")
    assert seen == []


@pytest_twisted.ensureDeferred
async def test_after_commit_never_runs_when_the_commit_fails(database: Database) -> None:
    seen: list[str] = []

    async def hooked(tx: Transaction) -> None:
        tx.after_commit(lambda: seen.append("ran"))
        await tx.run("CREATE TEMPORARY TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        await tx.run("INSERT INTO late VALUES (1), (1)")

    with pytest.raises(psycopg2.errors.UniqueViolation):
        await database.transaction(PROVIDER, hooked, name="hooked")
    assert seen == []


@pytest_twisted.ensureDeferred
async def test_a_deadlock_is_retried_until_both_are_done(database: Database) -> None:
    async def two(tx: Transaction) -> list[int]:
        return [await add_account(tx, "a"), await add_account(tx, "b")]

    ids = await database.transaction(PROVIDER, two, name="two")
    met: list[Deferred[None]] = []
    runs = itertools.count()

    def touching(order: list[int]) -> Callable[[Transaction], Awaitable[None]]:
        async def touch(tx: Transaction) -> None:
            next(runs)
            await tx.run("UPDATE account SET version = version + 1 WHERE id = %s", (order[0],))
            if len(met) < 2:  # both hold their first row before either asks for its second
                met.append(Deferred())
                if len(met) == 2:
                    for one in met:
                        one.callback(None)
                else:
                    await met[0]
            await tx.run("UPDATE account SET version = version + 1 WHERE id = %s", (order[1],))

        return touch

    await gatherResults(
        [
            Deferred.fromCoroutine(database.transaction(PROVIDER, touching(order), name="touch"))
            for order in (ids, ids[::-1])
        ]
    )
    versions = await database.transaction(
        PROVIDER, lambda tx: tx.rows("SELECT DISTINCT version FROM account"), name="versions"
    )
    assert versions == [(3,)]
    assert next(runs) >= 3


@pytest_twisted.ensureDeferred
async def test_a_serialization_failure_is_retried(database: Database) -> None:
    runs = itertools.count(1)

    async def unlucky(tx: Transaction) -> int:
        run = next(runs)
        if run < 4:
            await tx.run("DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END$$")
        return run

    assert await database.transaction(PROVIDER, unlucky, name="unlucky") == 4


@pytest_twisted.ensureDeferred
async def test_retries_are_bounded(database_url: str) -> None:
    database = await Database.connect(database_url, jitter=lambda: 0.0)
    runs = itertools.count()

    async def hopeless(tx: Transaction) -> None:
        next(runs)
        await tx.run("DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END$$")

    with pytest.raises(psycopg2.errors.DeadlockDetected):
        await database.transaction(PROVIDER, hopeless, name="hopeless")
    assert next(runs) == 8
    await database.close()


@pytest_twisted.ensureDeferred
async def test_what_was_read_and_is_gone_is_read_again(database: Database) -> None:
    runs = itertools.count()

    async def overtaken(tx: Transaction) -> tuple[int, list[str]]:
        number = await add_account(tx, "acme")
        run = next(runs)
        if run == 0:
            await tx.lock("SELECT 1 FROM account WHERE id = %s FOR UPDATE", (number + 1,))
        if run == 1:
            await tx.run(
                "INSERT INTO domain (owner_id, name, reversed) VALUES (%s, 'a.test', 'test.a')",
                (number + 1,),
            )
        return run, await names(tx)

    done = await database.transaction(PROVIDER, overtaken, name="overtaken")
    assert done == (2, ["acme"])


@pytest_twisted.ensureDeferred
async def test_what_is_overtaken_each_time_is_given_up(database_url: str) -> None:
    database = await Database.connect(database_url, jitter=lambda: 0.0)
    runs = itertools.count()

    async def hopeless(tx: Transaction) -> None:
        next(runs)
        await tx.lock("SELECT 1 WHERE false")

    with pytest.raises(OvertakenError):
        await database.transaction(PROVIDER, hopeless, name="hopeless")
    assert next(runs) == 8
    await database.close()


@pytest_twisted.ensureDeferred
async def test_an_exhausted_pool_gives_up_in_time(database_url: str) -> None:
    database = await Database.connect(database_url, size=1, pool_seconds=0.05)
    hold: Deferred[None] = Deferred()

    async def holding(tx: Transaction) -> None:
        await tx.rows("SELECT 1")
        await hold

    first = Deferred.fromCoroutine(database.transaction(PROVIDER, holding, name="holding"))
    with pytest.raises(DatabaseUnavailableError):
        await database.transaction(PROVIDER, names, name="waiting")
    hold.callback(None)
    await first
    assert await database.transaction(PROVIDER, names, name="after") == []
    await database.close()


@pytest_twisted.ensureDeferred
async def test_waiting_transactions_get_their_turn(database_url: str) -> None:
    database = await Database.connect(database_url, size=2)
    await gatherResults(
        [
            Deferred.fromCoroutine(database.transaction(PROVIDER, adding(f"a{n:02}"), name="add"))
            for n in range(20)
        ]
    )
    assert len(await database.transaction(PROVIDER, names, name="names")) == 20
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_cancelled_transaction_is_rolled_back_and_frees_its_place(
    database_url: str,
) -> None:
    database = await Database.connect(database_url, size=1)

    async def slow(tx: Transaction) -> None:
        await add_account(tx, "acme")
        reactor.callLater(0, running.callback, None)
        await tx.rows("SELECT pg_sleep(60)")

    running: Deferred[None] = Deferred()
    going = Deferred.fromCoroutine(database.transaction(PROVIDER, slow, name="slow"))
    await running
    going.cancel()
    with pytest.raises(CancelledError):
        await going
    assert await database.transaction(PROVIDER, names, name="names") == []
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_statement_that_takes_too_long_is_ended(database: Database) -> None:
    async def slow(tx: Transaction) -> None:
        await tx.run("SET LOCAL statement_timeout = '20ms'")
        await tx.rows("SELECT pg_sleep(60)")

    with pytest.raises(psycopg2.errors.QueryCanceled):
        await database.transaction(PROVIDER, slow, name="slow")
    assert await database.transaction(PROVIDER, names, name="names") == []


@pytest_twisted.ensureDeferred
async def test_a_statement_longer_than_a_socket_takes_at_once_is_sent_whole(
    database: Database,
) -> None:
    text = "long " * 4_000_000

    async def lengths(tx: Transaction) -> tuple[int, str]:
        (count, end) = await tx.row("SELECT length(%s), right(%s, 5)", (text, text))
        return count, end

    running = Deferred.fromCoroutine(database.transaction(PROVIDER, lengths, name="long"))
    assert await running.addTimeout(60, reactor) == (20_000_000, "long ")


@pytest_twisted.ensureDeferred
async def test_values_come_in_plain_types(database: Database) -> None:
    async def every(tx: Transaction) -> tuple[object, ...]:
        return await tx.row(
            "SELECT 'ab12ab12-0000-0000-0000-000000000001'::uuid, '10.0.0.1/8'::inet, %s::bytea,"
            " 340282366920938463463374607431768211455::numeric, 1.5::numeric, %s::jsonb,"
            " ARRAY['ab12ab12-0000-0000-0000-000000000001'::uuid], ARRAY[%s::bytea]",
            (b"\x00\xff", Json({"a": [1]}), b"\x01"),
        )

    assert await database.transaction(PROVIDER, every, name="every") == (
        "ab12ab12-0000-0000-0000-000000000001",
        "10.0.0.1/8",
        b"\x00\xff",
        2**128 - 1,
        1.5,
        {"a": [1]},
        ["ab12ab12-0000-0000-0000-000000000001"],
        [b"\x01"],
    )


@pytest.mark.parametrize("sql", ["SELECT 1 WHERE false", "SELECT generate_series(1, 2)"])
@pytest_twisted.ensureDeferred
async def test_row_wants_exactly_one(database: Database, sql: str) -> None:
    with pytest.raises(LookupError):
        await database.transaction(PROVIDER, lambda tx: tx.row(sql), name="row")


@pytest_twisted.ensureDeferred
async def test_run_counts_rows_also_in_the_first_statement(database: Database) -> None:
    count = await database.transaction(
        PROVIDER, lambda tx: tx.run("INSERT INTO account (name) VALUES ('a'), ('b')"), name="run"
    )
    assert count == 2


@pytest_twisted.ensureDeferred
async def test_notifications_arrive_in_order_and_only_after_the_commit(database: Database) -> None:
    heard: list[str] = []
    all_heard: Deferred[None] = Deferred()

    def hear(payload: str) -> None:
        heard.append(payload)
        if payload == "last":
            all_heard.callback(None)

    await database.listen("hs_change", hear)

    async def rolled_back(tx: Transaction) -> None:
        await tx.rows("SELECT pg_notify('hs_change', 'never')")
        raise Rollback(None)

    async def notify(tx: Transaction) -> None:
        for word in ("one", "two", "last"):
            await tx.rows("SELECT pg_notify('hs_change', %s)", (word,))

    await database.transaction(PROVIDER, rolled_back, name="never")
    await database.transaction(PROVIDER, notify, name="notify")
    await all_heard.addTimeout(30, reactor)
    assert heard == ["one", "two", "last"]


@pytest_twisted.ensureDeferred
async def test_close_ends_what_is_under_way(database_url: str) -> None:
    database = await Database.connect(database_url)
    going = Deferred.fromCoroutine(
        database.transaction(PROVIDER, lambda tx: tx.rows("SELECT pg_sleep(60)"), name="slow")
    )
    await deferLater(reactor, 0)
    await database.close()
    with pytest.raises(DatabaseUnavailableError):
        await going


@pytest.mark.parametrize("turns", range(8))
@pytest_twisted.ensureDeferred
async def test_close_ends_a_connection_that_is_being_opened(database_url: str, turns: int) -> None:
    database = Database(database_url)
    going = Deferred.fromCoroutine(
        database.transaction(PROVIDER, lambda tx: tx.rows("SELECT pg_sleep(60)"), name="first")
    )
    for _ in range(turns):
        await deferLater(reactor, 0)
    await database.close()
    with pytest.raises(DatabaseUnavailableError):
        await going


@pytest_twisted.ensureDeferred
async def test_a_hook_that_fails_undoes_nothing_and_is_logged(
    database: Database, logged_errors: LoggedErrors
) -> None:
    seen: list[str] = []

    async def hooked(tx: Transaction) -> str:
        tx.after_commit(lambda: seen.append("before") or 1 / 0)  # type: ignore[func-returns-value]
        tx.after_commit(lambda: seen.append("after"))
        await add_account(tx, "acme")
        return "done"

    assert await database.transaction(PROVIDER, hooked, name="hooked") == "done"
    assert seen == ["before", "after"]
    (text,) = logged_errors.flush()
    assert "ZeroDivisionError" in text


@pytest_twisted.ensureDeferred
async def test_a_listener_that_fails_costs_others_nothing(
    database: Database, logged_errors: LoggedErrors
) -> None:
    heard: Deferred[str] = Deferred()
    await database.listen("hs_event", lambda payload: int(payload) and None)
    await database.listen("hs_change", heard.callback)

    async def notify(tx: Transaction) -> None:
        await tx.rows("SELECT pg_notify('hs_event', 'no number'), pg_notify('hs_change', '1')")

    await database.transaction(PROVIDER, notify, name="notify")
    assert await heard.addTimeout(30, reactor) == "1"
    (text,) = logged_errors.flush()
    assert "no number" in text


@pytest_twisted.ensureDeferred
async def test_a_carried_statement_runs_before_the_next(database: Database) -> None:
    async def work(tx: Transaction) -> list[tuple[object, ...]]:
        tx.run_with_next("INSERT INTO account (name) VALUES (%s)", ("carried",))
        return await tx.rows("SELECT name, '100 %' FROM account")

    for _ in range(3):
        found = await database.transaction(PROVIDER, work, name="work")
        assert found == [("carried", "100 %")]
        await database.transaction(PROVIDER, forget_accounts, name="forget")


@pytest_twisted.ensureDeferred
async def test_a_carried_statement_without_a_next_runs_at_the_end(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        tx.run_with_next("INSERT INTO account (name) VALUES (%s)", ("carried",))

    await database.transaction(PROVIDER, work, name="work")
    assert await database.transaction(PROVIDER, forget_accounts, name="forget") == 1


@pytest_twisted.ensureDeferred
async def test_an_error_of_a_carried_statement_leaves_the_connection_usable(
    database_url: str,
) -> None:
    database = await Database.connect(database_url, size=1)

    async def work(tx: Transaction) -> None:
        for _ in range(2):
            tx.run_with_next("INSERT INTO account (name) VALUES (%s)", ("carried",))

    with pytest.raises(psycopg2.errors.UniqueViolation):
        await database.transaction(PROVIDER, work, name="work")
    assert await database.transaction(PROVIDER, forget_accounts, name="forget") == 0
    await database.close()


async def forget_accounts(tx: Transaction) -> int:
    return await tx.run("DELETE FROM account")
