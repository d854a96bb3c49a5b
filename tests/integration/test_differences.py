"""A dry run with differences: what is asked of which box, and that nothing is kept."""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controller.fleet.committed import Committed, Pending, ServerChange
from controller.fleet.differences import (
    BEHIND,
    MAINTENANCE,
    NUMBERS,
    SERIALS,
    Concerned,
    Differences,
    LaneDifferences,
)
from controller.fleet.questions import NoAnswerError
from controller.principal import Principal
from controller.refusal import CommandError
from controller.runner import CommandRunner
from controller.storage.database import Transaction
from node_agent.wire.messages import PROTOCOL_MAX, Question, Welcome
from node_agent.wire.questions import (
    MOST_PREVIEWED,
    MOST_PREVIEWED_BYTES,
    AnyAsk,
    AnyFound,
    AskPreview,
    Preview,
)
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster
from tests.integration.model import OPERATOR, Model, model

__all__ = ["fleet_cluster", "model"]

NOTHING = Preview(files=(), effects=(), refused=(), pending=0, cut=False)
RECORD: dict[str, Any] = {
    "domain": "shop.test",
    "name": "www2",
    "type": "A",
    "values": ("192.0.2.7",),
}


async def settled(model: Model) -> None:
    """Have all boxes told that they stored all."""
    await model.write(
        """UPDATE lane l SET stored_revision = s.revision, condition = 'ok' FROM logical_server s
           WHERE s.id = l.logical_server_id"""
    )


async def told(model: Model, command: str, **fields: Any) -> dict[str, LaneDifferences]:
    model.fleet.answering = lambda ask: NOTHING
    done = await model.run(command, dry_run=True, differences=True, **fields)
    assert done.change_id is None
    assert done.plan is not None
    assert done.plan.differences is not None
    return {each.logical_server: each for each in done.plan.differences}


@ensureDeferred
async def test_the_boxes_concerned_are_asked_with_what_they_would_be_sent(model: Model) -> None:
    await model.shop()
    await settled(model)
    before = await model.footprint()
    found = await told(model, "record.add", **RECORD)
    assert await model.footprint() == before
    ask = model.fleet.questions[0]
    assert isinstance(ask, AskPreview)
    (wanted,) = ask.objects
    assert (wanted.kind, wanted.key) == ("zone", "shop.test")
    assert wanted.spec is not None
    assert b"192.0.2.7" in wanted.spec
    (master,) = found.values()
    assert (master.known, master.words) == (True, (SERIALS,))


@ensureDeferred
async def test_without_diff_nobody_is_asked_and_a_real_run_asks_nobody(model: Model) -> None:
    await model.shop()
    done = await model.run("record.add", dry_run=True, **RECORD)
    assert done.plan is not None
    assert done.plan.differences is None
    await model.run("record.add", **RECORD)
    assert model.fleet.questions == []


@ensureDeferred
async def test_a_box_is_asked_when_no_transaction_is_open(model: Model) -> None:
    await model.shop()
    locks: list[Any] = []

    class Watching:
        async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
            locks.extend(
                await model.rows(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND state LIKE 'idle in transaction%%'"
                )
            )
            # Waits for ever where the dry run still holds the server's row.
            await model.write("UPDATE logical_server SET revision = revision")
            raise NoAnswerError("nobody answers")

    asking = Differences(Watching(), reactor, model.secrets.inline)
    model.runner = CommandRunner(model.database, model.registry, differences=asking)
    done = await model.run("record.add", dry_run=True, differences=True, **RECORD)
    assert done.plan is not None
    assert done.plan.differences
    assert set(locks) == {(0,)}


@ensureDeferred
async def test_secrets_are_opened_on_the_way_to_the_box_and_shown_nowhere(model: Model) -> None:
    await model.cluster()
    await settled(model)
    found = await told(
        model, "lserver.set", name="ns1.example.net", settings={"control_port": 9953}
    )
    (ask,) = model.fleet.questions
    assert isinstance(ask, AskPreview)
    spec = msgspec.msgpack.decode(ask.objects[0].spec)
    assert not spec["transfer_key"]["secret"].startswith("secret:")
    assert spec["transfer_key"]["secret"] not in repr(found)


@ensureDeferred
async def test_a_new_sites_number_is_said_to_be_drawn_later(model: Model) -> None:
    await model.shop()
    await settled(model)
    found = await told(model, "domain.add", name="other.test", account="acme")
    assert NUMBERS in found["web1.example.net"].words
    assert NUMBERS not in found["ns1.example.net"].words


@pytest.mark.parametrize(
    ("sql", "known", "words"),
    [
        ("UPDATE lane SET condition = 'held'", False, "held on the box"),
        ("UPDATE lane SET condition = 'ahead'", False, "recover"),
        ("UPDATE lane SET stored_revision = 0", True, BEHIND),
        ("UPDATE box SET intent = 'maintenance'", True, MAINTENANCE),
        ("UPDATE secret SET sealed = '\\x00'", False, "a secret cannot be opened"),
    ],
)
@ensureDeferred
async def test_how_a_box_stands_is_said(model: Model, sql: str, known: bool, words: str) -> None:
    await model.cluster()
    await settled(model)
    await model.write(sql)
    found = await told(
        model, "lserver.set", name="ns1.example.net", settings={"control_port": 9953}
    )
    lane = found["ns1.example.net"]
    assert lane.known is known
    assert words in " ".join(lane.words)


def pending(number: int, size: int) -> Pending:
    spec = msgspec.msgpack.encode({"text": "x" * size})
    return Pending("zone", f"d{number}.test", 2 + number, 1, spec, (), (), 0)


@pytest.mark.parametrize(
    ("count", "size", "asked"),
    [
        (MOST_PREVIEWED + 2, 1, MOST_PREVIEWED),
        (5, MOST_PREVIEWED_BYTES // 3, 2),
        (1, MOST_PREVIEWED_BYTES, 0),
    ],
)
@ensureDeferred
async def test_a_wide_change_is_asked_in_part_and_says_so(
    model: Model, count: int, size: int, asked: int
) -> None:
    await model.cluster()
    await settled(model)
    ((id,),) = await model.rows(
        "SELECT id::text FROM logical_server WHERE name = 'ns1.example.net'"
    )
    objects = tuple(pending(number, size) for number in range(count))
    change = Committed(0, (ServerChange(id, 1, objects),), ())
    differences = Differences(model.fleet, reactor, model.secrets.inline)

    async def read(tx: Transaction) -> tuple[Concerned, ...]:
        return await differences.concerned(tx, change, ())

    (lane,) = await model.database.transaction(OPERATOR, read, name="test")
    assert len(lane.objects) == asked
    if asked:
        assert lane.notes == (f"{count - asked} of {count} objects are too many to be asked for",)
        assert lane.unasked == ""
    else:
        assert "too large" in lane.unasked


@ensureDeferred
async def test_secrets_are_opened_for_those_alone_that_are_asked(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.cluster()
    await settled(model)
    monkeypatch.setattr("controller.fleet.differences.MOST_LANES", 1)
    servers = await model.rows(
        "SELECT id::text FROM logical_server WHERE group_name = 'dns' ORDER BY name"
    )
    object_ = attrs.evolve(pending(1, 1), secrets=(1,))
    changes = tuple(ServerChange(id, 1, (object_,)) for (id,) in servers)
    opened: list[bytes] = []

    async def inline(tx: Transaction, spec: bytes, ids: Sequence[int]) -> bytes:
        opened.append(spec)
        return spec

    differences = Differences(model.fleet, reactor, inline)

    async def read(tx: Transaction) -> tuple[Concerned, ...]:
        return await differences.concerned(tx, Committed(0, changes, ()), ())

    lanes = await model.database.transaction(OPERATOR, read, name="test")
    assert [len(lane.objects) for lane in lanes] == [1, 0]
    assert len(opened) == 1
    told = {each.box: each.words for each in await differences.ask(lanes)}
    assert told["ns2"] == (
        "ns2: too many servers are touched to ask all; its differences are not known",
    )


@ensureDeferred
async def test_a_command_that_touches_no_box_has_no_differences(model: Model) -> None:
    assert await told(model, "account.add", name="acme") == {}
    assert model.fleet.questions == []


@ensureDeferred
async def test_a_refused_dry_run_asks_nobody(model: Model) -> None:
    await model.shop()
    with pytest.raises(CommandError):
        await told(model, "record.add", **{**RECORD, "values": ("nonsense",)})
    assert model.fleet.questions == []


@ensureDeferred
async def test_an_account_sees_nothing_of_a_box(model: Model) -> None:
    await model.shop()
    ((id,),) = await model.rows("SELECT id FROM account WHERE name = 'acme'")
    customer = Principal("account", "customer:acme", account=id)
    planned = await model.run_as(customer, "record.add", dry_run=True, **RECORD)
    assert planned.plan is not None
    with pytest.raises(CommandError) as caught:
        await model.run_as(customer, "record.add", dry_run=True, differences=True, **RECORD)
    assert (caught.value.id, caught.value.field) == ("permission.denied", "diff")
    assert model.fleet.questions == []


@ensureDeferred
async def test_an_older_agent_is_never_sent_the_question(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    agent.protocol_max = 1
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    assert [welcome.protocol for welcome in agent.said(Welcome)] == [1]
    with pytest.raises(NoAnswerError, match="older"):
        await cluster.fleet.ask(box, AskPreview(lane="x", objects=()), 1.0)
    assert agent.said(Question) == []


@ensureDeferred
async def test_an_agent_of_this_protocol_is_sent_it(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    agent.protocol_max = 7
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    assert [welcome.protocol for welcome in agent.said(Welcome)] == [PROTOCOL_MAX]
    asking = Deferred.fromCoroutine(cluster.fleet.ask(box, AskPreview(lane="x", objects=()), 60.0))
    asking.addErrback(lambda failure: failure.trap(NoAnswerError))
    await agent.until(lambda: bool(agent.said(Question)))
    await agent.leave()
