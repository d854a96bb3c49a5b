"""The job that moves zones goes on part after part, whatever befalls it."""

from random import Random
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.hosting import zone_mover
from controller.hosting.zone_mover import PART, ZoneMover, advance
from controller.principal import system
from controller.storage.database import Rollback, Transaction
from tests.integration.applying import applied
from tests.integration.hosted import NS1, NS2, hosted
from tests.integration.model import NOW, Model
from tests.integration.zone_moves import served, step, to_the_end


@pytest_twisted.ensureDeferred
async def test_a_wide_move_goes_in_parts_of_a_bounded_size(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PART * 6 <= 500
    monkeypatch.setattr(zone_mover, "PART", 2)
    await hosted(model, 5)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    begun = await model.approved("dns.apply")
    await step(model)
    assert await step(model) == "waiting"  # no more than a part is on its way
    assert (await model.ask("dns.progress", id=begun["move"]))["under_way"] == 2
    await to_the_end(model)
    shown = (await model.ask("dns.moves"))["items"]
    assert [(one["id"], one["moved"], one["state"]) for one in shown] == [
        (begun["move"], 5, "done")
    ]
    parts = await model.rows(
        """SELECT request->>'phase', (request->>'zones')::int FROM change
           WHERE command = 'dns.move' AND request->>'move' = %s ORDER BY id""",
        (str(begun["move"]),),
    )
    assert parts == [(phase, n) for n in (2, 2, 1) for phase in ("promoted", "following")]


@pytest_twisted.ensureDeferred
async def test_zones_that_a_box_refuses_do_not_hold_back_the_others(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_mover, "PART", 2)
    await hosted(model, 5)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    await step(model)
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome)
           SELECT l.box_id, s.id, 'zone', zone, 1000000, 'quarantined'
           FROM unnest(ARRAY['z0.test', 'z1.test']) AS zone, logical_server s
           JOIN lane l ON l.logical_server_id = s.id WHERE s.name = %s""",
        (NS2,),
    )
    await applied(model)
    assert await step(model) == "waiting"  # it is noted now
    await to_the_end(model)
    shown = await model.ask("dns.progress", id=move)
    assert (shown["moved"], shown["failed"], shown["state"]) == (3, 2, "running")


@pytest_twisted.ensureDeferred
async def test_a_part_that_was_not_committed_never_was(model: Model) -> None:
    """What a kill -9 within a part leaves: the transaction is rolled back, and done anew."""
    await hosted(model, 2)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    for _ in range(3):  # each of the phases, and the end

        async def killed(tx: Transaction) -> None:
            await advance(tx, now=NOW, draw=Random(3))
            raise Rollback(None)

        tables = "SELECT * FROM zone_move_zone ORDER BY zone_id"
        before = (await model.footprint(), await model.rows(tables))
        await model.database.transaction(system("test"), killed, name="test")
        assert (await model.footprint(), await model.rows(tables)) == before
        assert await step(model) == "moved"
        await applied(model)
    await to_the_end(model)
    assert (await model.ask("dns.progress", id=move))["moved"] == 2


async def until(condition: Any) -> None:
    while not await condition():
        await deferLater(reactor, 0.01, lambda: None)


@pytest_twisted.ensureDeferred
async def test_another_controller_goes_on_where_the_first_was_killed(model: Model) -> None:
    await hosted(model)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    move = (await model.approved("dns.apply"))["move"]
    assert await step(model) == "moved"  # the one that is killed now
    await applied(model)
    second = ZoneMover(model.database, reactor, lambda: float(NOW), Random(4))
    await second.start()
    try:

        async def followed() -> bool:
            return (await served(model, "z0.test"))[NS1] == f"from {NS2}"

        await until(followed)
        await applied(model)

        async def ended() -> bool:
            return bool((await model.ask("dns.progress", id=move))["ended_at"])

        await until(ended)
    finally:
        await second.stop()


@pytest_twisted.ensureDeferred
async def test_one_controller_moves_at_a_time(model: Model, database_url: str) -> None:
    await hosted(model)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.approved("dns.apply")
    other = psycopg2.connect(database_url)  # as another controller that writes a part now
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (zone_mover.LOCK,))
        before = await model.footprint()
        assert await step(model) == "idle"
        assert await model.footprint() == before
    finally:
        other.close()
    while await step(model) != "moved":  # once the server has noticed the end of that connection
        pass
