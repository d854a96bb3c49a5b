"""A draw among many servers reads a few of them, and each is still as likely as any other (R38)."""

from collections import Counter
from random import Random

import pytest
from pytest_twisted import ensureDeferred

from controller.cluster.placement.candidates import WebServerCandidate, web_server_candidates
from controller.cluster.placement.placement import draw_web_server
from controller.cluster.placement.rows import SAMPLE, SMALL, read_for_draw, read_group
from controller.storage.database import Transaction
from tests.integration.counting import counted
from tests.integration.model import OPERATOR, Model
from tests.integration.test_placement import farm

pytest_plugins = ("tests.integration.model",)

LOST, DRAINING, CLOSED, HELD = "lost", "draining", "closed", "held"


async def crowd(model: Model, count: int, **kinds: int) -> None:
    """Make ``count`` good web servers by SQL, each on its own box, and some of other kinds."""
    names = [f"good{number:03}" for number in range(count)]
    names += [f"{kind}{number:03}" for kind, many in kinds.items() for number in range(many)]
    await model.write(
        """WITH boxes AS (
               INSERT INTO box (name, address, groups, first_seen_at, connected, intent)
               SELECT n, '10.0.0.1/8', '{web}', now(), n NOT LIKE 'lost%%',
                      CASE WHEN n LIKE 'draining%%' THEN 'draining' ELSE 'open' END
               FROM unnest(%s::text[]) n RETURNING id, name
           ), servers AS (
               INSERT INTO logical_server (name, group_name, service_type, signup)
               SELECT n || '.example.net', 'web', 'apache', n NOT LIKE 'closed%%'
               FROM unnest(%s::text[]) n RETURNING id, name
           ), lanes AS (
               INSERT INTO lane (box_id, logical_server_id, condition)
               SELECT b.id, s.id, CASE WHEN b.name LIKE 'held%%' THEN 'held' ELSE 'ok' END
               FROM boxes b JOIN servers s ON s.name = b.name || '.example.net'
           ) INSERT INTO ip_address (logical_server_id, address, prefix, port, type, tag)
           SELECT id, '10.1.0.0'::inet + row_number() OVER (ORDER BY name), 8, 80, 'shared', 2
           FROM servers""",
        (names, names),
    )


async def drawn(model: Model, draw: Random) -> WebServerCandidate:
    """Draw the web server of a new site as ``domain.add`` does."""

    async def read(tx: Transaction) -> WebServerCandidate:
        group = await read_for_draw(tx, "web", draw)
        return draw_web_server(web_server_candidates(group), draw, group.policy)

    return await model.database.transaction(OPERATOR, read, name="draw")


async def read(model: Model, draw: Random) -> int:
    async def count(tx: Transaction) -> int:
        return len((await read_for_draw(tx, "web", draw)).servers)

    return await model.database.transaction(OPERATOR, count, name="draw")


@ensureDeferred
async def test_r38_among_many_each_good_server_is_drawn_and_no_other(model: Model) -> None:
    await crowd(model, 40, lost=20, held=10, draining=20, closed=30)
    draw = Random(11)
    assert await read(model, Random(1)) <= SAMPLE
    found = Counter([(await drawn(model, draw)).name for _ in range(400)])
    assert set(found) == {f"good{number:03}.example.net" for number in range(40)}
    assert max(found.values()) <= 25  # of ten on average


@ensureDeferred
async def test_the_same_seed_draws_the_same(model: Model) -> None:
    await crowd(model, SMALL + 20)
    seeds = range(12)
    one = [(await drawn(model, Random(seed))).name for seed in seeds]
    assert one == [(await drawn(model, Random(seed))).name for seed in seeds]
    assert len(set(one)) > 6


@ensureDeferred
async def test_the_only_good_one_of_many_is_found(model: Model) -> None:
    await crowd(model, 1, lost=SMALL, draining=SMALL)
    assert {(await drawn(model, Random(seed))).name for seed in range(8)} == {"good000.example.net"}


@pytest.mark.parametrize("connected", [True, False])
@ensureDeferred
async def test_where_none_is_well_one_that_is_fit_is_drawn(model: Model, connected: bool) -> None:
    await crowd(model, 0, lost=SMALL, draining=SMALL)
    if not connected:
        await model.write("UPDATE box SET connected = false")
        assert await read(model, Random(3)) <= SAMPLE
    for seed in range(8):
        assert (await drawn(model, Random(seed))).name.startswith("lost")


@ensureDeferred
async def test_a_domain_reads_no_more_of_a_larger_cluster(model: Model) -> None:
    await farm(model)
    await crowd(model, SMALL + 20)
    for name in ("warm.test", "warmer.test"):  # statements are prepared when they are met again
        await model.ask("domain.add", name=name, account="acme")
    with counted() as few:
        await model.ask("domain.add", name="one.test", account="acme")
    await model.write("UPDATE logical_server SET name = 'a' || name WHERE name LIKE 'good%'")
    await model.write("UPDATE box SET name = 'a' || name WHERE name LIKE 'good%'")
    await model.write(
        "UPDATE ip_address SET address = address + 1000 WHERE address << '10.1.0.0/16'"
    )
    await crowd(model, 400)
    with counted() as many:
        await model.ask("domain.add", name="two.test", account="acme")
    assert many.round_trips <= few.round_trips + 2
    assert many.values <= few.values + 21 * SAMPLE  # as many servers, not always as many differ


@ensureDeferred
async def test_few_open_servers_are_read_whole_and_drawn_as_ever(model: Model) -> None:
    await farm(model)
    await crowd(model, SMALL - 5, closed=40)

    async def both(tx: Transaction) -> tuple[list[WebServerCandidate], list[WebServerCandidate]]:
        whole, some = await read_group(tx, "web"), await read_for_draw(tx, "web", Random(1))
        return web_server_candidates(whole), web_server_candidates(some)

    whole, some = await model.database.transaction(OPERATOR, both, name="read")
    assert whole == some
    assert len(some) == SMALL - 2


@ensureDeferred
async def test_the_other_policies_look_at_all_that_are_open(model: Model) -> None:
    await crowd(model, SMALL + 20, closed=5)
    emptiest, heavy = "good050.example.net", "good070.example.net"
    await model.write("UPDATE logical_server SET holds = 9 WHERE name <> %s", (emptiest,))
    await model.ask("placement.set", group="web", policy="least-used")
    assert (await drawn(model, Random(1))).name == emptiest
    await model.ask("placement.set", group="web", policy="pinned", pinned=heavy)
    assert (await drawn(model, Random(1))).name == heavy
    await model.ask("placement.set", group="web", policy="weighted", weights={heavy: 1000})
    found = Counter([(await drawn(model, Random(seed))).name for seed in range(20)])
    assert found[heavy] > 12
