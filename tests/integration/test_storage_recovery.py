"""PostgreSQL is killed: what was committed stays, and work goes on by itself when it is back."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from controller.principal import system
from controller.storage.database import (
    CommitUnknownError,
    Database,
    DatabaseUnavailableError,
    Transaction,
)
from controller.storage.embedded import EmbeddedPostgres
from controller.storage.migrations import migrate

PROVIDER = system("test")


@pytest.fixture
def state(short_directory: Path) -> Path:
    """The state directory of this test's own server."""
    return Path(tempfile.mkdtemp(prefix="own-", dir=short_directory))


@pytest.fixture
def server(state: Path) -> Iterator[EmbeddedPostgres]:
    """A server of this test's own, to be killed."""
    state.chmod(0o711)
    own = EmbeddedPostgres(state, settings={"fsync": "off"})
    migrate(own.start())
    yield own
    own.start()  # what a killed one left of shared memory goes with the next
    own.stop()


def kill(server: EmbeddedPostgres) -> None:
    """Kill the postmaster, and wait for its children, which notice and end."""
    pid = server.pid
    assert pid is not None
    process = psutil.Process(pid)
    children = process.children()
    os.kill(pid, signal.SIGKILL)
    _, alive = psutil.wait_procs([process, *children], timeout=30)
    assert not alive


async def add(tx: Transaction) -> None:
    await tx.run("INSERT INTO account (name) VALUES ('a' || gen_random_uuid())")


async def count(tx: Transaction) -> int:
    (number,) = await tx.row("SELECT count(*) FROM account")
    return int(number)


@pytest_twisted.ensureDeferred
async def test_after_a_kill_transactions_work_again_by_themselves(
    server: EmbeddedPostgres,
) -> None:
    database = await Database.connect(server.url, pool_seconds=30)
    await database.transaction(PROVIDER, add, name="before")
    kill(server)
    # Asked for while the server is away: waits, then works.
    waiting = Deferred.fromCoroutine(database.transaction(PROVIDER, add, name="meanwhile"))
    await deferToThread(server.start)
    await waiting
    assert await database.transaction(PROVIDER, count, name="count") == 2
    await database.close()


@pytest_twisted.ensureDeferred
async def test_while_the_server_is_away_transactions_give_up_in_time(
    server: EmbeddedPostgres,
) -> None:
    database = await Database.connect(server.url, pool_seconds=0.05)
    kill(server)
    with pytest.raises(DatabaseUnavailableError):
        await database.transaction(PROVIDER, add, name="away")
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_transaction_killed_half_way_is_done_once(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url, pool_seconds=30)
    runs: list[int] = []

    async def interrupted(tx: Transaction) -> None:
        runs.append(1)
        await add(tx)
        if len(runs) == 1:
            kill(server)
            await deferToThread(server.start)
        await tx.rows("SELECT 1")

    await database.transaction(PROVIDER, interrupted, name="interrupted")
    assert len(runs) == 2
    assert await database.transaction(PROVIDER, count, name="count") == 1
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_commit_cut_off_is_unknown_and_not_retried(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url, pool_seconds=30)
    runs: list[int] = []
    hooks: list[int] = []

    async def cut(tx: Transaction) -> None:
        runs.append(1)
        tx.after_commit(lambda: hooks.append(1))
        await add(tx)
        kill(server)

    with pytest.raises(CommitUnknownError):
        await database.transaction(PROVIDER, cut, name="cut")
    assert (runs, hooks) == ([1], [])
    await database.close()


@pytest_twisted.ensureDeferred
async def test_listening_goes_on_after_a_kill(server: EmbeddedPostgres) -> None:
    database = await Database.connect(server.url, pool_seconds=30)
    heard: Deferred[str] = Deferred()
    back: Deferred[None] = Deferred()
    await database.listen("hs_change", heard.callback, recovered=lambda: back.callback(None))
    kill(server)
    await deferToThread(server.start)
    await back.addTimeout(60, reactor)
    await database.transaction(
        PROVIDER, lambda tx: tx.rows("SELECT pg_notify('hs_change', '7')"), name="notify"
    )
    assert await heard.addTimeout(30, reactor) == "7"
    await database.close()


def test_a_running_server_is_taken_over(server: EmbeddedPostgres, state: Path) -> None:
    successor = EmbeddedPostgres(state)
    assert successor.pid == server.pid
    assert successor.start() == server.url
    assert successor.pid == server.pid
    successor.stop()
    assert server.pid is None


def test_a_stale_lock_file_does_not_hinder_the_start(server: EmbeddedPostgres, state: Path) -> None:
    lock = state / "postgresql" / "data" / "postmaster.pid"
    kill(server)
    lines = lock.read_text().split("\n")
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))  # the pid lives, but is another's
    assert server.pid is None
    server.start()
    assert server.pid is not None


def test_stopping_twice_is_no_error(server: EmbeddedPostgres) -> None:
    server.stop()
    server.stop()
    assert server.pid is None
