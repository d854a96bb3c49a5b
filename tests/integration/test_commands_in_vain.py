"""A command that PostgreSQL gives up on is refused, with the way out: it is no failure of ours."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred

from controller.cluster.boxes.boxes import NamedBox
from controller.commands import Command, Registry, Work
from controller.refusal import CommandError
from controller.runner import CommandRunner
from controller.storage.database import Transaction
from tests.integration.model import OPERATOR, Model


@pytest_twisted.ensureDeferred
async def test_a_command_that_waits_in_vain_for_another_is_told_to_ask_again(model: Model) -> None:
    """It is no failure of the controller: 503, nothing written."""
    await model.box("web1", 1, ("web",))
    lock = "SELECT 1 FROM box WHERE name = 'web1' FOR UPDATE"
    held: Deferred[None] = Deferred()
    let_go: Deferred[None] = Deferred()

    async def hold(tx: Transaction) -> None:
        await tx.rows(lock)
        held.callback(None)
        await let_go

    async def wait(work: Work, request: NamedBox) -> None:
        await work.tx.rows(f"{lock} NOWAIT")

    command = Command("pserver.wait", "POST", "/w/{name}", NamedBox, "provider.write", "", wait)
    runner = CommandRunner(model.database, Registry((command,)))
    holding = ensureDeferred(model.database.transaction(OPERATOR, hold, name="hold"))
    await held
    try:
        with pytest.raises(CommandError) as caught:
            await runner.run(OPERATOR, "pserver.wait", NamedBox("web1"))
    finally:
        let_go.callback(None)
        await holding
    assert (caught.value.id, caught.value.status) == ("database.busy", 503)
    await runner.run(OPERATOR, "pserver.wait", NamedBox("web1"))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest_twisted.ensureDeferred
async def test_a_statement_that_takes_too_long_ends_its_command(model: Model, method: str) -> None:
    await model.box("web1", 1, ("web",))

    async def ponder(work: Work, request: NamedBox) -> None:
        await work.tx.run("SET LOCAL statement_timeout = 10")
        await work.tx.rows("SELECT pg_sleep(5)")

    command = Command("pserver.ponder", method, "/p/{name}", NamedBox, "provider.read", "", ponder)
    runner = CommandRunner(model.database, Registry((command,)))
    with pytest.raises(CommandError) as caught:
        await runner.run(OPERATOR, "pserver.ponder", NamedBox("web1"))
    assert (caught.value.id, caught.value.status) == ("database.slow", 503)


@pytest_twisted.ensureDeferred
async def test_a_command_that_others_overtake_each_time_is_told_to_ask_again(model: Model) -> None:
    async def lose(work: Work, request: NamedBox) -> None:
        await work.tx.lock("SELECT 1 FROM box WHERE name = %s FOR UPDATE", (request.name,))

    command = Command("pserver.lose", "POST", "/l/{name}", NamedBox, "provider.write", "", lose)
    runner = CommandRunner(model.database, Registry((command,)))
    with pytest.raises(CommandError) as caught:
        await runner.run(OPERATOR, "pserver.lose", NamedBox("web1"))
    assert (caught.value.id, caught.value.status) == ("database.busy", 503)
