"""The last name server of a zone goes only when somebody accepts that."""

from typing import Any

import attrs
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from controller.changes import ChangeWriter
from controller.commands import Registry, Work
from controller.hazard_facts import facts_of
from controller.hazards import Facts
from controller.holding import HeldBackError, Holding
from controller.runner import CommandRunner
from controller.storage.database import Transaction
from tests.integration.holding import NS2, approve, ids, not_approved, zones
from tests.integration.model import OPERATOR, Model


@ensureDeferred
async def test_the_last_name_server_goes_only_when_somebody_accepts_it(model: Model) -> None:
    await model.cluster()
    one = await model.held("ip.delete", ip="192.0.2.2")
    assert ids(one) == {"root-ns": 1}
    assert "example.net" in one.message
    done = await approve(model, one.held, root_ns=1)
    last = await model.held("ip.delete", ip="192.0.2.1")
    assert ids(last) == {"last-name-server": 1}
    assert "removes the last name server of 1 zone: example.net" in last.message
    await model.ask("change.withdraw", id=last.held)
    error = await not_approved(model, last.held, last_name_server=1)
    assert (error.id, error.message) == (
        "change.held.ended",
        "ip.delete is not held any more: it was withdrawn by operator:ada",
    )

    # As undoable as if it had never been held.
    await model.ask("change.undo", id=done.change_id)
    assert (await model.ask("ip.show", ip="192.0.2.2"))["logical_server"] == NS2


@ensureDeferred
async def test_a_box_with_the_last_name_server_is_retired_only_on_acceptance(model: Model) -> None:
    await zones(model, 2)
    await model.ask("pserver.retire", name="ns2", box_is_gone=True)
    held = await model.held("pserver.retire", name="ns1", box_is_gone=True)
    assert ids(held) == {"last-name-server": 2}
    assert "z0.test, z1.test" in held.message
    assert model.fleet.revoked == []
    await approve(model, held.held, last_name_server=2)
    assert (await model.ask("pserver.show", name="ns1"))["intent"] == "draining"


_WAITING = """
SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND d.datname = current_database()
"""


@ensureDeferred
async def test_of_two_boxes_retired_at_once_the_second_takes_the_last_name_server(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is judged while the first is not committed: it must wait for what that left."""
    await zones(model, 1)
    retire = model.registry["pserver.retire"]
    retired: dict[str, Deferred[None]] = {"ns1": Deferred(), "ns2": Deferred()}
    first_judged: Deferred[None] = Deferred()
    judged: list[Facts] = []

    async def together(work: Work, request: Any) -> Any:
        answer = await retire.function(work, request)
        retired[request.name].callback(None)
        await (retired["ns2"] if request.name == "ns1" else first_judged)
        return answer

    async def in_turn(tx: Transaction, change: ChangeWriter, **more: Any) -> Facts:
        facts = await facts_of(tx, change, **more)
        judged.append(facts)
        if len(judged) == 1:
            first_judged.callback(None)
            while len(judged) == 1 and not await tx.rows(_WAITING):
                await deferLater(reactor, 0)
        return facts

    monkeypatch.setattr("controller.runner.facts_of", in_turn)
    registry = Registry((attrs.evolve(retire, function=together),))
    runner = CommandRunner(model.database, registry, holding=Holding(model.secrets))
    outcomes: dict[str, dict[str, int]] = {}

    async def attempt(box: str) -> None:
        try:
            await runner.run(OPERATOR, "pserver.retire", retire.request(box, True))
            outcomes[box] = {}
        except HeldBackError as error:
            outcomes[box] = ids(error)

    await gatherResults([Deferred.fromCoroutine(attempt(box)) for box in retired])
    assert outcomes == {"ns1": {}, "ns2": {"last-name-server": 1}}


@ensureDeferred
async def test_as_many_others_are_not_what_was_shown(model: Model) -> None:
    """Of many zones the words name a few: one of the rest is another one by now."""
    await zones(model, 6)
    await model.ask("pserver.retire", name="ns2", box_is_gone=True)
    held = await model.held("pserver.retire", name="ns1", box_is_gone=True)
    words = "removes the last name server of 6 zones: z0.test, z1.test, z2.test and 3 more"
    assert words in held.message
    await model.write("UPDATE zone SET name = 'z9.test' WHERE name = 'z5.test'")
    error = await not_approved(model, held.held, last_name_server=6)
    assert f"last-name-server is about others than it was: it {words}" in error.message
    await approve(model, held.held, last_name_server=6)


@ensureDeferred
async def test_servers_on_boxes_that_were_retired_before_answer_nobody(model: Model) -> None:
    await model.cluster()
    await model.ask("pserver.retire", name="ns2", box_is_gone=True)
    held = await model.held("ip.delete", ip="192.0.2.1")
    assert ids(held) == {"root-ns": 1, "last-name-server": 1}
    assert "removes the last name server of 1 zone: example.net" in held.message
