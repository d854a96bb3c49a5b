"""What is asked of a wide model reads what it needs: counted, on a model that grows."""

from random import Random
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.cluster.rules.health import (
    AT_ONCE,
    KEPT_AS_THEY_ARE,
    KEPT_SECONDS,
    SLICE,
    Health,
    ListFindings,
)
from controller.commands import Work
from controller.storage.database import Transaction
from tests.integration.counting import counted
from tests.integration.model import OPERATOR, Model

pytest_plugins = ("tests.integration.model",)


async def _crowd(model: Model, first: int, count: int) -> None:
    """Put web servers with dedicated addresses onto every box, by SQL."""
    await model.write(
        """WITH made AS (
               INSERT INTO logical_server (name, group_name, service_type)
               SELECT 'x' || n || '-' || b.name || '.example.net', 'web', 'apache'
               FROM box b, generate_series(%s, %s) n RETURNING id, name
           ), placed AS (
               INSERT INTO lane (box_id, logical_server_id, condition)
               SELECT b.id, made.id, 'ok' FROM made
               JOIN box b ON made.name LIKE '%%-' || b.name || '.%%'
           ) INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           SELECT id, '10.0.0.0'::inet + 10000 * %s + 256 * row_number() OVER () + k, 24, 80,
                  'dedicated'
           FROM made, generate_series(1, 3) k""",
        (first, first + count - 1, first),
    )


async def _boxes(model: Model, first: int, count: int) -> None:
    await model.write(
        """INSERT INTO box (name, address, groups, first_seen_at, connected)
           SELECT 'b' || n, '10.0.0.1/8'::inet, '{web}', now(), true
           FROM generate_series(%s, %s) n""",
        (first, first + count - 1),
    )


@ensureDeferred
async def test_roles_are_assigned_without_reading_what_else_is_on_the_boxes(model: Model) -> None:
    await model.cluster()
    await _crowd(model, 1, 1)
    with counted() as few:
        await model.ask("dns.roles", master="ns1.example.net")
    await _crowd(model, 2, 60)
    with counted() as many:
        await model.ask("dns.roles", master="ns2.example.net")
    assert many.values <= few.values + 10  # one server more changes its role
    assert many.round_trips <= few.round_trips + 2


@ensureDeferred
async def test_a_list_of_servers_reads_no_address_of_others_and_no_dedicated_one(
    model: Model,
) -> None:
    await model.cluster()
    await _crowd(model, 1, 1)
    with counted() as few:
        await model.ask("lserver.list", group="dns")
    await model.write(
        """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           SELECT s.id, '11.0.0.0'::inet + row_number() OVER (), 32, 80 + k, 'dedicated'
           FROM logical_server s, generate_series(1, 40) k"""
    )
    with counted() as many:
        await model.ask("lserver.list", group="dns")
    assert (many.values, many.round_trips) == (few.values, few.round_trips)


@ensureDeferred
async def test_a_dedicated_address_at_the_tls_port_is_told_of_in_the_list(model: Model) -> None:
    await model.cluster()
    await model.write(
        """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           SELECT id, '192.0.2.77', 24, 443, 'dedicated' FROM logical_server
           WHERE name = 'web1.example.net';
           UPDATE logical_server SET settings = '{"tls_port": 443}'
           WHERE name = 'web1.example.net'"""
    )
    (web,) = (await model.ask("lserver.list", group="web"))["items"]
    assert web["warnings"] == ["web1.example.net answers plain HTTP at port 443, its TLS port"]


@ensureDeferred
async def test_status_and_the_boxes_it_shows_do_not_grow_with_the_cluster(model: Model) -> None:
    await model.cluster()
    await _boxes(model, 100, 20)
    await _crowd(model, 1, 1)
    with counted() as few:
        small = await model.ask("status.show", limit=10)
    await _boxes(model, 200, 60)
    with counted() as many:
        large = await model.ask("status.show", limit=10)
    assert (many.values, many.round_trips) == (few.values, few.round_trips)
    assert (len(small["boxes"]), large["counts"]["boxes"]) == (10, 83)
    names = [box["name"] for box in large["boxes"]]
    assert names[:3] == ["ns1", "ns2", "web1"]  # they have not connected
    assert names[3:] == sorted(names[3:])
    assert {lane["box"] for lane in large["lanes"]} <= set(names)


@ensureDeferred
@pytest.mark.parametrize("seed", range(3))
async def test_status_counts_as_the_list_of_boxes_shows_them(model: Model, seed: int) -> None:
    await model.cluster()
    await _boxes(model, 100, 60)
    await _crowd(model, 1, 2)
    draw = Random(seed)
    for (box,) in await model.rows("SELECT id::text FROM box ORDER BY name"):
        kind = draw.randrange(11)
        if kind == 0:
            await model.write("UPDATE box SET first_seen_at = NULL WHERE id = %s", (box,))
        if kind in (1, 9):
            await model.write("UPDATE box SET connected = false WHERE id = %s", (box,))
        if kind == 2:
            await model.write(
                """UPDATE lane SET condition = %s WHERE box_id = %s""",
                (draw.choice(("ahead", "held", "new", "disk-full", "ok")), box),
            )
        if kind == 3:
            await model.write(
                """UPDATE logical_server SET revision = 2 WHERE id IN
                   (SELECT logical_server_id FROM lane WHERE box_id = %s)""",
                (box,),
            )
        if kind in (4, 5):
            await model.write(
                """INSERT INTO certificate (serial, name, box_id, not_after)
                   SELECT %s, 'box', %s, to_timestamp(1800000000) + make_interval(days => d)
                   FROM unnest(%s::int[]) d""",
                (draw.randrange(2**60), box, [draw.choice((2, 13, 14, 15, 90))]),
            )
        if kind == 6:
            model.fleet.doubled.add(box)
        if kind == 10:
            await model.write("UPDATE lane SET drifted = 2 WHERE box_id = %s", (box,))
        if kind in (7, 9):
            await model.write("UPDATE box SET intent = 'maintenance' WHERE id = %s", (box,))
    status = await model.ask("status.show")
    listed = (await model.ask("pserver.list", limit=1000))["items"]
    troubled = {
        box["name"] for box in listed if box["condition"] != "connected" and not box["muted"]
    }
    counts = status["counts"]
    assert counts["boxes_in_trouble"] == len(troubled) > 0
    assert counts["boxes_never_connected"] == sum(box["never_connected"] for box in listed)
    first = status["boxes"][: len(troubled)]
    assert {box["name"] for box in first} == troubled
    assert {box["name"]: box for box in status["boxes"]} == {box["name"]: box for box in listed}
    muted = {box["name"] for box in listed if box["muted"]}
    behind = {
        (lane["logical_server"], lane["box"])
        for lane in status["lanes"]
        if lane["box"] not in muted
        and (lane["condition"] not in ("ok", "new") or lane["settled_revision"] < lane["revision"])
    }
    named = {(lane["logical_server"], lane["box"]) for lane in status["behind"]}
    assert named <= behind
    assert len(named) == min(20, len(behind))


@ensureDeferred
async def test_a_large_model_is_judged_in_slices_and_what_was_found_is_kept(model: Model) -> None:
    await model.cluster()
    now, turns = 1000.0, 0
    since: list[int] = []

    async def pause() -> None:
        nonlocal turns
        turns += 1

    health = Health(lambda: now, pause)

    async def ask(*, kept: bool) -> Any:
        async def read(tx: Transaction) -> Any:
            return await health.list(Work(tx, OPERATOR, None), ListFindings(kept=kept))

        with counted() as asked:
            answer = await model.database.transaction(OPERATOR, read, name="test", reads=True)
        since.append(asked.round_trips)
        return answer

    assert (await ask(kept=True))["counts"] == {"refuse": 0, "warn": 0}
    await _crowd(model, 1, AT_ONCE // 3 + 1)
    await model.ask("pserver.edit", name="ns1", description="touched")
    few, turns = turns, 0
    first = await ask(kept=True)  # a small one is judged at once, whoever asks
    found = sum(first["counts"].values())
    assert found > AT_ONCE
    assert turns >= few + found // (2 * SLICE)
    assert first["current"]
    await model.ask("pserver.edit", name="ns1", description="touched again")
    turns, now = 0, now + KEPT_SECONDS + 1
    second = await ask(kept=True)
    assert (turns, since[-1], second["current"]) == (0, 2, False)
    assert (second["items"], second["judged_at"]) == (first["items"], first["judged_at"])
    assert (await ask(kept=False))["current"]
    assert turns
    await model.ask("pserver.edit", name="ns1", description="and again")
    turns, now = 0, now + KEPT_AS_THEY_ARE
    assert (await ask(kept=True))["current"]  # nobody sees what is older
