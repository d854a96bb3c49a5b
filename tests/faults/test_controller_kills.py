"""The controller killed at every step of its commit and dispatch, while somebody waits.

The points come from the code (`controller.crash_points`). Whoever waited is told the truth, what
was committed becomes live once the controller is started again, and nothing is done twice.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, get_args

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from controller.crash_points import CrashPoint
from controller.storage.embedded import EmbeddedPostgres
from node_agent.wire.messages import Welcome
from tests.faults.simulated_cluster import DOMAIN, SimulatedCluster, simulated_cluster

NS1, NS2 = "ns1.example.net", "ns2.example.net"
SIGKILLED = -9


async def set_record(cluster: SimulatedCluster, point: str) -> None:
    await told_truly(cluster, point, after=nothing)


async def set_record_while_a_box_returns(cluster: SimulatedCluster, point: str) -> None:
    async def cut() -> None:
        cluster.boxes["ns2"].leave()

    await told_truly(cluster, point, after=cut)


async def set_record_while_a_box_has_lost_something(cluster: SimulatedCluster, point: str) -> None:
    async def lose() -> None:
        (lane,) = (
            lane
            for (lane,) in cluster.rows(
                "SELECT id::text FROM logical_server WHERE name = %s", (NS2,)
            )
        )
        cluster.boxes["ns2"].agent.lanes[lane].drop(("zone", DOMAIN))
        cluster.boxes["ns2"].leave()

    await told_truly(cluster, point, after=lose)


async def move_zones(cluster: SimulatedCluster, point: str) -> None:
    """Swap master and slave: two phases of one zone, each a part of its own."""
    master = master_of(cluster)
    slave = NS1 if master == NS2 else NS2
    await cluster.command("dns.roles", master=slave, slave1=master)
    arm(cluster, point)
    ran = await cluster.hsctl("dns", "apply", "--no-wait")
    assert ran.returncode in (0, 5), ran
    await died(cluster)
    await cluster.start()
    await cluster.until(lambda: master_of(cluster) == slave)
    await cluster.until(
        lambda: cluster.rows("SELECT count(*) FROM zone_move WHERE ended_at IS NULL") == [(0,)]
    )
    phases = cluster.rows(
        """SELECT request->>'phase' FROM change WHERE command = 'dns.move'
           AND (request->>'move')::int = (SELECT max(id) FROM zone_move)"""
    )
    assert len(phases) == len(set(phases)), "a part was written twice"


Story = Callable[[SimulatedCluster, str], Awaitable[None]]
STORIES: dict[str, Story] = {
    **dict.fromkeys(get_args(CrashPoint), set_record),
    "greeted": set_record_while_a_box_returns,
    "compared": set_record_while_a_box_has_lost_something,
    "moved": move_zones,
}


async def nothing() -> None:
    return


@pytest_twisted.async_yield_fixture(scope="module")
async def made(postgres: EmbeddedPostgres) -> AsyncIterator[SimulatedCluster]:
    async with simulated_cluster(postgres) as cluster:
        yield cluster


@pytest_twisted.async_yield_fixture
async def cluster(made: SimulatedCluster) -> AsyncIterator[SimulatedCluster]:
    made.order.unlink(missing_ok=True)
    if made.host.controller is None:
        await made.start()
    made.switch_on()
    yield made
    await made.switch_off()


def master_of(cluster: SimulatedCluster) -> str:
    ((name,),) = cluster.rows(
        """SELECT s.name FROM zone z JOIN zone_server n ON n.zone_id = z.id AND n.role = 'master'
           JOIN logical_server s ON s.id = n.logical_server_id WHERE z.name = %s""",
        (DOMAIN,),
    )
    return str(name)


def arm(cluster: SimulatedCluster, point: str) -> None:
    cluster.order.write_text(point)


async def died(cluster: SimulatedCluster) -> None:
    """See that the point was reached: nothing else ends a controller by SIGKILL here."""
    assert await cluster.until_dead() == SIGKILLED
    assert not cluster.order.exists()


async def told_truly(
    cluster: SimulatedCluster, point: str, after: Callable[[], Awaitable[None]]
) -> None:
    name = f"at-{point}"
    arm(cluster, point)
    asked: Deferred[Any] = Deferred.fromCoroutine(
        cluster.hsctl("record", "set", DOMAIN, name, "A", "192.0.2.77", "--timeout", "60")
    )
    if after is not nothing:
        await cluster.until(lambda: cluster.changes("record.set", name))
        await after()
    await died(cluster)
    await cluster.start()
    ran = await asked
    await cluster.settled()
    changes = cluster.changes("record.set", name)
    # hsctl asks again under its key, and follows the change over the restart.
    await cluster.ended_well(ran)
    assert len(changes) == 1, (point, changes)
    assert f"change {changes[0]}" in ran.stdout + ran.stderr


@pytest.mark.parametrize("point", get_args(CrashPoint))
@pytest_twisted.ensureDeferred
async def test_killed_at_any_point_nothing_is_lost_nor_done_twice(
    cluster: SimulatedCluster, point: CrashPoint
) -> None:
    """A point that its story does not reach fails here: the controller does not die."""
    await STORIES[point](cluster, point)
    await cluster.settled()
    cluster.assert_nothing_lost_nor_twice()


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_stepped_stops_nothing(
    cluster: SimulatedCluster, step: float
) -> None:
    """Sessions last, changes become live, and what is asked by time goes on."""
    await cluster.until(lambda: all(box.agent.said(Welcome) for box in cluster.boxes.values()))
    for box in cluster.boxes.values():
        box.agent.messages.clear()
    cluster.clock.write_text(str(step))
    try:
        ran = await cluster.hsctl(
            "record", "set", DOMAIN, f"clock{step:+.0f}".replace("+", "p").replace("-", "m"), "A",
            "192.0.2.78", "--timeout", "20",
        )  # fmt: skip
        assert ran.returncode == 0, ran
        # The fleet's own look by time, whether boxes are silent, has come round in any case.
        await cluster.pause(3.0)
        await cluster.settled()
        for box in cluster.boxes.values():
            assert not box.agent.said(Welcome), f"{box.name} lost its session"
    finally:
        cluster.clock.unlink()
    cluster.assert_nothing_lost_nor_twice()
