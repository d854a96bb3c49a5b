"""A backend of PostgreSQL that hangs: another one is asked, and nobody waits without an end."""

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted

from controller.principal import system
from controller.storage import link
from controller.storage.database import (
    CommitUnknownError,
    Database,
    DatabaseUnavailableError,
    Transaction,
)

pytestmark = pytest.mark.timeout(60)

TEST = system("test")


class Stopped:
    """Backends that were stopped with SIGSTOP."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    async def stop(self, tx: Transaction) -> None:
        """Stop the backend that works a transaction."""
        (pid,) = await tx.row("SELECT pg_backend_pid()")
        self.pids.append(pid)
        os.kill(pid, signal.SIGSTOP)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopped]:
    monkeypatch.setattr(link, "ANSWER_SECONDS", 3.0)
    made = Stopped()
    yield made
    for pid in made.pids:
        os.kill(pid, signal.SIGCONT)


@pytest_twisted.async_yield_fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = await Database.connect(database_url, size=2)
    yield made
    await made.close()


@pytest_twisted.ensureDeferred
async def test_another_backend_is_asked_where_one_hangs(
    database: Database, stopped: Stopped
) -> None:
    async def ask(tx: Transaction) -> str:
        if not stopped.pids:
            await stopped.stop(tx)
        (answer,) = await tx.row("SELECT 'well'")
        return str(answer)

    assert await database.transaction(TEST, ask, name="test.hang") == "well"
    assert len(stopped.pids) == 1


@pytest_twisted.ensureDeferred
async def test_a_database_whose_backends_all_hang_is_told_as_away(
    database: Database, stopped: Stopped
) -> None:
    async def ask(tx: Transaction) -> None:
        await stopped.stop(tx)
        await tx.row("SELECT 1")

    with pytest.raises(DatabaseUnavailableError, match=r"no answer within 3 seconds") as caught:
        await database.transaction(TEST, ask, name="test.hang")
    assert caught.value.plight == "away"
    assert len(stopped.pids) == 2


@pytest_twisted.ensureDeferred
async def test_a_commit_without_an_answer_is_not_known_and_not_tried_again(
    database: Database, stopped: Stopped, database_url: str
) -> None:
    async def write(tx: Transaction) -> None:
        await tx.run("INSERT INTO account (name) VALUES ('hangs')")
        await stopped.stop(tx)

    with pytest.raises(CommitUnknownError):
        await database.transaction(TEST, write, name="test.hang")
    assert len(stopped.pids) == 1

    # Whoever needs what the hanging one holds is refused in the time of a lock, and others go on.
    async def others(tx: Transaction) -> int:
        return len(await tx.rows("SELECT 1 FROM account"))

    assert await database.transaction(TEST, others, name="test.others", single=True) == 0


@pytest_twisted.ensureDeferred
async def test_a_slow_answer_within_the_limit_is_waited_for(
    database: Database, stopped: Stopped
) -> None:
    async def slow(tx: Transaction) -> None:
        await tx.row("SELECT pg_sleep(0.2)")

    await database.transaction(TEST, slow, name="test.slow")
    assert stopped.pids == []
