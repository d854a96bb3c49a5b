"""The real agent, a real named: killed with SIGKILL at random places, held, left alone."""

import json
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from node_agent.effects.zone_probe import zone_serial
from node_agent.wire.messages import Hello, Item, LaneAssignment, LaneState, Outcomes, Stored
from templates.bind.objects import (
    BindSettings,
    MasterZone,
    Record,
    ServerSpec,
    StartOfAuthority,
)
from templates.objects import encode_spec
from templates.service_type import Endpoint
from tests.agent_process import AgentProcess
from tests.free_ports import free_port
from tests.integration.named_lane import TRANSFER_KEY
from tests.scripted_controller import ScriptedController

LANE = "aaaaaaaa-0000-4000-8000-000000000001"
REACHED = 30


class Cluster:
    def __init__(self, controller: ScriptedController, agent: AgentProcess) -> None:
        self.controller = controller
        self.agent = agent
        self.endpoint = Endpoint(address="127.0.0.1", port=free_port())
        self.control_port = free_port()

    def server(self, revision: int) -> Item:
        spec = ServerSpec(
            name="ns1.cluster.test",
            endpoints=(self.endpoint,),
            settings=BindSettings(control_port=self.control_port),
            transfer_key=TRANSFER_KEY,
        )
        return Item("server", "", revision, 1, bytes(encode_spec(spec)))

    def zone(self, name: str, revision: int, serial: int) -> Item:
        spec = MasterZone(
            serial=serial,
            soa=StartOfAuthority(primary="ns1.cluster.test.", contact="host.cluster.test."),
            records=(Record(owner="@", ttl=60, type="NS", data="ns1.cluster.test."),),
            secondaries=(),
        )
        return Item("zone", name, revision, 1, bytes(encode_spec(spec)))

    async def settled(self, revision: int) -> None:
        await self.controller.until(lambda: self.controller.settled(LANE) >= revision)

    async def serial(self, zone: str) -> int | None:
        return await zone_serial(reactor, self.endpoint, zone)


@pytest_twisted.async_yield_fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    controller = ScriptedController(tmp_path, (LaneAssignment(LANE, "ns1", "bind"),))
    await controller.listen()
    agent = AgentProcess([controller.port])
    controller.enrol(agent.state)
    agent.start()
    yield Cluster(controller, agent)
    await agent.sweep()
    await controller.close()


@pytest_twisted.ensureDeferred
async def test_killed_again_and_again_every_change_becomes_live(cluster: Cluster) -> None:
    controller, agent = cluster.controller, cluster.agent
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, cluster.server(1), cluster.zone("a.test", 2, serial=1))
    await cluster.settled(2)
    assert await cluster.serial("a.test") == 1
    draw = random.Random(7)
    for life in range(6):
        revision = 3 + life
        controller.send_batch(
            LANE,
            *(cluster.zone(f"z{n}.test", revision, serial=revision) for n in range(1)),
            cluster.zone("a.test", revision, serial=revision),
        )
        await deferLater(reactor, draw.uniform(0.0, 0.02))
        await agent.kill()
        controller.messages.clear()
        agent.start()
        await controller.until(lambda: controller.said(Outcomes))
        report = controller.messages[0].lanes[0]
        if report.stored_revision < revision:
            controller.send_batch(
                LANE,
                cluster.zone("z0.test", revision, serial=revision),
                cluster.zone("a.test", revision, serial=revision),
            )
        await cluster.settled(revision)
        assert await cluster.serial("a.test") == revision
        assert await cluster.serial("z0.test") == revision


@pytest_twisted.ensureDeferred
async def test_a_dead_daemon_is_started_again_without_a_controller(cluster: Cluster) -> None:
    controller, agent = cluster.controller, cluster.agent
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, cluster.server(1), cluster.zone("a.test", 2, serial=1))
    await cluster.settled(2)
    assert await agent.terminate() == 0
    await controller.close()
    (named,) = agent.daemons()
    assert await cluster.serial("a.test") == 1, "the daemon serves on without its agent"
    named.kill()
    psutil.wait_procs([named], timeout=5)
    agent.start()
    for _ in range(600):
        if agent.daemons():
            break
        await deferLater(reactor, 0.05)
    for _ in range(600):
        try:
            assert await cluster.serial("a.test") == 1
            break
        except Exception:
            await deferLater(reactor, 0.05)
    else:
        pytest.fail("the zone is not answered")


@pytest_twisted.ensureDeferred
async def test_hold_touches_nothing_until_release(cluster: Cluster) -> None:
    controller, agent = cluster.controller, cluster.agent
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, cluster.server(1), cluster.zone("a.test", 2, serial=1))
    await cluster.settled(2)
    status, words = await agent.run("hold", "ns1")
    assert (status, words) == (0, "ns1 held\n")
    await controller.until(lambda: any(m.condition == "held" for m in controller.said(LaneState)))
    controller.send_batch(LANE, cluster.zone("a.test", 3, serial=2))
    await controller.until(lambda: controller.said(Stored)[-1].stored_revision == 3)
    status, words = await agent.run("status", "-o", "json")
    found = json.loads(words)
    assert found["running"]
    (lane,) = found["lanes"]
    assert (lane["condition"], lane["stored_revision"], lane["settled_revision"]) == ("held", 3, 2)
    assert await cluster.serial("a.test") == 1
    await agent.kill()
    controller.messages.clear()
    agent.start()
    await controller.until(lambda: controller.said(Outcomes))
    assert controller.messages[0].lanes[0].condition == "held"
    assert await cluster.serial("a.test") == 1
    status, words = await agent.run("release", "ns1")
    assert (status, words) == (0, "ns1 released\n")
    await cluster.settled(3)
    assert await cluster.serial("a.test") == 2
    assert (await agent.run("faults"))[1] == "none\n"


@pytest_twisted.ensureDeferred
async def test_an_agent_is_small(cluster: Cluster) -> None:
    controller, agent = cluster.controller, cluster.agent
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, cluster.server(1))
    await cluster.settled(1)
    revision = 1
    for _ in range(2):
        zones = [cluster.zone(f"s{revision + n}.test", revision + n + 1, 1) for n in range(500)]
        revision += 500
        controller.send_batch(LANE, *zones)
    await cluster.settled(revision)
    rss = psutil.Process(agent.pid).memory_info().rss
    assert rss <= 80 << 20, f"{rss / 2**20:.0f} MiB"


@pytest_twisted.ensureDeferred
async def test_two_copies_of_a_box_on_one_kernel_are_told_apart(cluster: Cluster) -> None:
    """As two containers are: all that is on the disk is the same, and so is the boot."""
    controller = cluster.controller
    (own,) = await controller.until(lambda: controller.said(Hello))
    copy = AgentProcess([controller.port])
    try:
        shutil.copytree(cluster.agent.state, copy.state)
        copy.start()
        await controller.until(
            lambda: [each for each in controller.said(Hello) if each.boot_id != own.boot_id]
        )
        other = controller.said(Hello)[-1]
        assert (other.machine_id, other.boot) == (own.machine_id, own.boot)
    finally:
        await copy.sweep()
