"""The job that renumbers goes on part after part, whatever befalls it, beside other jobs."""

from random import Random

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.hosting import address_mover, zone_mover
from controller.hosting.address_mover import PART, AddressMover, advance
from controller.principal import system
from controller.storage.database import Rollback, Transaction
from tests.integration.address_moves import (
    LATER,
    NEW,
    OLD,
    WEB1,
    WEB_NEW,
    WEB_OLD,
    listening,
    peers,
    phase,
    published,
    renumbering,
    step,
    to_the_end,
    until,
)
from tests.integration.applying import applied
from tests.integration.hosted import NS1, NS2, hosted
from tests.integration.model import NOW, Model


@pytest_twisted.ensureDeferred
async def test_a_zone_that_a_box_refuses_holds_the_switch_and_is_named(model: Model) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await until(model, move, "announced")
    await step(model)
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, s.id, 'zone', 'z0.test', 1000000, 'quarantined', 'out of memory'
           FROM logical_server s JOIN lane l ON l.logical_server_id = s.id WHERE s.name = %s""",
        (NS2,),
    )
    await to_the_end(model)
    shown = await model.ask("ip.progress", id=move)
    assert (shown["phase"], shown["failed"], shown["waiting"]) == (
        "announced",
        1,
        "ns2: out of memory",
    )
    assert await published(model, "example.net", "ns1") == [OLD]
    await model.write("DELETE FROM object_outcome")
    await until(model, move, "outlasting")


@pytest_twisted.ensureDeferred
async def test_many_zones_go_in_parts_of_a_bounded_size(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PART * 6 <= 500
    monkeypatch.setattr(address_mover, "PART", 2)
    await hosted(model, 6)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await until(model, move, "announced")
    await step(model)
    await step(model)
    assert await step(model) == "waiting"  # no more than two parts are on their way
    assert (await model.ask("ip.progress", id=move))["passed"] == 4
    await until(model, move, "outlasting")
    for number in range(6):
        assert (await peers(model, f"z{number}.test"))[NS2] == [NEW]


@pytest_twisted.ensureDeferred
async def test_zones_that_are_made_meanwhile_know_both_addresses(model: Model) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await until(model, move, "listening")
    await model.ask("domain.add", name="new.test", account="acme")
    assert (await peers(model, "new.test"))[NS2] == [OLD, NEW]
    await model.ask("record.add", domain="z0.test", name="a", type="A", values=("192.0.2.7",))
    await until(model, move, "outlasting")
    assert (await peers(model, "new.test"))[NS2] == [NEW]
    await model.ask("domain.add", name="late.test", account="acme")
    assert (await peers(model, "late.test"))[NS2] == [NEW]


@pytest_twisted.ensureDeferred
async def test_a_phase_waits_for_who_read_the_rows_of_before(
    model: Model, database_url: str
) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await applied(model)
    await step(model)
    await applied(model)
    earlier = psycopg2.connect(database_url)
    try:
        with earlier.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
        assert await step(model) == "moved"
        assert await phase(model, move) == "announced"
        for _ in range(3):
            assert await step(model) == "waiting"
        earlier.rollback()
        while await step(model) != "moved":
            pass
        assert (await model.ask("ip.progress", id=move))["passed"] == 2
    finally:
        earlier.close()


@pytest_twisted.ensureDeferred
async def test_two_moves_go_beside_each_other(model: Model) -> None:
    await hosted(model)
    await model.ask("ip.move", ip=OLD, new=NEW)
    await model.ask("ip.move", ip="192.0.2.2", new="192.0.2.102")
    await model.ask("ip.move", ip=WEB_OLD, new=WEB_NEW)
    await to_the_end(model)
    await to_the_end(model, LATER)
    assert await listening(model, NS1) == [NEW]
    assert await listening(model, NS2) == ["192.0.2.102"]
    assert await listening(model, WEB1) == [WEB_NEW]
    assert await peers(model, "z0.test") == {NS1: ["192.0.2.102"], NS2: [NEW]}


@pytest_twisted.ensureDeferred
async def test_zones_move_between_servers_while_one_is_renumbered(model: Model) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    await until(model, move, "announced")
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")

    async def roles(tx: Transaction) -> str:
        return await zone_mover.advance(tx, now=NOW, draw=Random(3))

    for _ in range(20):
        await applied(model)
        await model.database.transaction(system("test"), roles, name="test")
        await step(model)
    await to_the_end(model, LATER)
    assert await peers(model, "z0.test") == {NS1: ["192.0.2.2"], NS2: [NEW]}
    assert await listening(model, NS1) == [NEW]


@pytest_twisted.ensureDeferred
async def test_a_part_that_was_not_committed_never_was(model: Model) -> None:
    """What a kill -9 within a part leaves: the transaction is rolled back, and done anew."""
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    tables = "SELECT m::text FROM address_move m UNION ALL SELECT p::text FROM address_move_part p"
    seen = []
    while await phase(model, move) != "outlasting":
        await applied(model)

        async def killed(tx: Transaction) -> None:
            await advance(tx, renumbering(model), now=NOW)
            raise Rollback(None)

        before = (await model.footprint(), await model.rows(tables))
        await model.database.transaction(system("test"), killed, name="test")
        assert (await model.footprint(), await model.rows(tables)) == before
        assert await step(model) == "moved"
        seen.append(await phase(model, move))
    assert set(seen) == {"listening", "announced", "switched", "following", "outlasting"}


@pytest_twisted.ensureDeferred
async def test_another_controller_goes_on_where_the_first_was_killed(model: Model) -> None:
    await hosted(model)
    move = (await model.ask("ip.move", ip=OLD, new=NEW))["move"]
    assert await step(model) == "moved"  # the one that is killed now
    second = AddressMover(model.database, reactor, lambda: float(NOW), renumbering(model))
    await second.start()
    try:
        while await phase(model, move) != "outlasting":
            await applied(model)
            await deferLater(reactor, 0.01, lambda: None)
    finally:
        await second.stop()
    assert (await peers(model, "z0.test"))[NS2] == [NEW]
