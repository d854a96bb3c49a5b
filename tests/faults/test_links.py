"""Links that are cut without a word, or slow, between a controller and its boxes."""

import ctypes
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory

from controller.fleet.fleet import Fleet
from node_agent.wire.messages import Alive, Batch, SystemReport, Welcome
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.integration.in_namespace import Namespace, needs_namespaces, two_machines
from tests.simulated_agent import SimulatedAgent, SimulatedProtocol

INTERVAL = 1.0
"""Seconds between heartbeats here: sessions end after three of them without a word."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h


@pytest.fixture(autouse=True)
def fast_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.fleet.fleet.interval", lambda boxes: INTERVAL)
    monkeypatch.setattr("controller.fleet.fleet.SHORTEST_INTERVAL", INTERVAL)


@pytest.fixture
def hearts() -> Iterator[Callable[[SimulatedAgent], None]]:
    """Have boxes say that they live as often as they must, until the test ends."""
    beating: list[LoopingCall] = []

    def begin(agent: SimulatedAgent) -> None:
        heart = LoopingCall(lambda: agent.protocol is not None and agent.send(Alive()))
        beating.append(heart)
        heart.start(INTERVAL * 0.9)

    yield begin
    for heart in beating:
        heart.stop()


def inside(namespace: Namespace, function: Callable[[], socket.socket]) -> socket.socket:
    """Make a socket in a namespace, where it stays. To be called on a thread that is not kept."""
    with (
        Path(f"/run/netns/{namespace.name}").open("rb") as there,
        Path("/proc/thread-self/ns/net").open("rb") as here,
    ):
        assert _LIBC.setns(there.fileno(), _NEW_NETWORK) == 0
        try:
            return function()
        finally:
            assert _LIBC.setns(here.fileno(), _NEW_NETWORK) == 0


def door(fleet: Fleet) -> TLSMemoryBIOFactory:
    """The agents' door of a fleet, to be opened at one more place."""
    wrapped = TLSMemoryBIOFactory(fleet._agent_tls, False, fleet._listener)
    wrapped.noisy = False
    return wrapped


async def dial_inside(agent: SimulatedAgent, namespace: Namespace, port: int) -> None:
    """Have a box dial 192.0.2.1 from within a namespace."""
    made = await deferToThread(
        inside, namespace, lambda: socket.create_connection(("192.0.2.1", port), timeout=5)
    )
    made.setblocking(False)
    factory = Factory.forProtocol(lambda: SimulatedProtocol(agent))
    factory.noisy = False
    agent.end_reason = None
    reactor.adoptStreamConnection(
        made.fileno(), socket.AF_INET, Dialled(TLSMemoryBIOFactory(agent.tls, True, factory))
    )
    made.close()


class Dialled(ClientFactory):
    """Builds what another factory builds, for a socket that is connected already."""

    noisy = False

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def buildProtocol(self, addr: Any) -> Any:
        return self._wrapped.buildProtocol(addr)


@pytest.mark.root
@needs_namespaces
@pytest_twisted.ensureDeferred
async def test_a_link_that_is_cut_ends_the_session_and_nothing_is_lost(
    cluster: FleetCluster, hearts: Callable[[SimulatedAgent], None]
) -> None:
    """Two machines and a cable: pulled, no side hears of the other's end."""
    box, agent = await cluster.add_box()
    hearts(agent)
    server = await cluster.add_server(box)
    with two_machines() as (controller, machine):
        listening = await deferToThread(
            inside, controller, lambda: socket.create_server(("192.0.2.1", 0))
        )
        listening.setblocking(False)
        port = reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, door(cluster.fleet))
        try:
            await dial_inside(agent, machine, listening.getsockname()[1])
            await agent.until(lambda: bool(agent.said(Welcome)))
            await cluster.change(server, {"first.test": b"1"})
            await cluster.until_settled(server)
            machine.ip("link", "set", "eth0", "down")
            await cluster.change(server, {"first.test": b"2", "cut.test": b"1"})
            await cluster.until("SELECT NOT connected FROM box WHERE id = %s", (box,))
            assert not cluster.fleet.connected(box)
            assert "cut.test" not in agent.lanes[server].live()
            machine.ip("link", "set", "eth0", "up")
            # The box's own end of the old connection still stands: it dials beside it.
            agent.messages.clear()
            again = cluster.agent(box, lanes=agent.lanes)
            hearts(again)
            await dial_inside(again, machine, listening.getsockname()[1])
            await cluster.until_settled(server)
            assert again.lanes[server].live() == {"first.test": b"2", "cut.test": b"1"}
            revisions = [i.revision for batch in again.said(Batch) for i in batch.items]
            assert len(revisions) == len(set(revisions)), "sent twice"
        finally:
            await agent.leave()
            for each in cluster.agents:
                await each.leave()
            await port.stopListening()
            listening.close()


class Slow(Protocol):
    """One side of a slow link: what comes is handed on later, a few bytes at a time."""

    def __init__(self, peer: "Slow | None" = None) -> None:
        self.peer = peer
        self._kept = bytearray()
        self._busy = False

    def dataReceived(self, data: bytes) -> None:
        self._kept += data
        self.hand_on()

    def hand_on(self) -> None:
        if self._busy or self.peer is None or self.peer.transport is None or not self._kept:
            return
        self._busy = True
        piece, self._kept = bytes(self._kept[:700]), self._kept[700:]

        def later() -> None:
            self._busy = False
            if self.peer is not None and self.peer.transport is not None:
                self.peer.transport.write(piece)
                self.hand_on()

        reactor.callLater(0.02, later)

    def connectionLost(self, reason: Any = None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.loseConnection()


@pytest_twisted.async_yield_fixture
async def slow_port(cluster: FleetCluster) -> AsyncIterator[int]:
    """A port from which everything reaches the fleet slowly: 700 bytes in 20 ms each way."""

    class Near(Slow):
        def connectionMade(self) -> None:
            self.peer = Slow(self)
            factory = ClientFactory()
            factory.noisy = False
            factory.buildProtocol = lambda addr: self.peer  # type: ignore[method-assign]
            reactor.connectTCP("127.0.0.1", cluster.agent_port, factory)
            reactor.callLater(0.05, self.hand_on)

    factory = Factory.forProtocol(Near)
    factory.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    yield port.getHost().port
    for agent in cluster.agents:
        await agent.leave()
    await port.stopListening()
    await deferLater(reactor, 0.1)


@pytest_twisted.ensureDeferred
async def test_a_slow_link_keeps_its_session_whatever_it_carries(
    cluster: FleetCluster, slow_port: int, hearts: Callable[[SimulatedAgent], None]
) -> None:
    """A frame takes longer than silence may last: the bytes that come are a sign of life."""
    box, agent = await cluster.add_box()
    hearts(agent)
    server = await cluster.add_server(box)
    await agent.connect(reactor, slow_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    await cluster.change(server, {f"z{n}.test": b"x" * 3000 for n in range(60)})
    agent.send(SystemReport(sampled_at=1.0, facts={"packages": "x" * 180_000}))
    await agent.until(lambda: agent.end_reason is not None or server in agent.lanes)
    await agent.until(lambda: agent.end_reason is not None or len(agent.lanes[server].live()) == 60)
    assert agent.end_reason is None
    await cluster.until_settled(server)
    await cluster.until("SELECT facts IS NOT NULL FROM box")
    assert [w.session_epoch for w in agent.said(Welcome)] == [1]
