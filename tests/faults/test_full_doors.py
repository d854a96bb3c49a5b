"""Strangers who say nothing: those of one address do not keep the others out of a door."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.fleet import enrolment, listener, strangers
from node_agent.wire.messages import Welcome
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401

pytestmark = pytest.mark.timeout(60)

ELSEWHERE = "127.0.0.2"
PLACES, SHARE = 12, 3


@pytest.fixture
def door(cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch) -> listener.AgentListener:
    monkeypatch.setattr(listener, "STRANGERS", PLACES)
    monkeypatch.setattr(listener, "CLEARING_SECONDS", 0.05)
    monkeypatch.setattr(listener, "HELLO_SECONDS", 600.0)
    monkeypatch.setattr(strangers, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(strangers, "SETTLED_SECONDS", 0.0)
    made = cluster.fleet._listener
    made.unproven.share = SHARE
    made._limit_accepting()
    return made


class Silent:
    """Connections from one address that say nothing."""

    def __init__(self) -> None:
        self.open = ExitStack()

    def come(self, port: int, count: int) -> list[socket.socket]:
        came = []
        for _ in range(count):
            connection = self.open.enter_context(socket.socket())
            connection.bind((ELSEWHERE, 0))
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            came.append(connection)
        return came


@pytest.fixture
def silent() -> Iterator[Silent]:
    made = Silent()
    with made.open:
        yield made


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        await deferLater(reactor, 0.01, lambda: None)
    raise AssertionError("it does not come")


@pytest_twisted.ensureDeferred
async def test_who_says_nothing_in_great_numbers_keeps_no_box_out(
    cluster: FleetCluster, door: listener.AgentListener, silent: Silent
) -> None:
    _, agent = await cluster.add_box()
    silent.come(cluster.agent_port, PLACES)
    await until(lambda: len(door.strangers) == PLACES)
    silent.come(cluster.agent_port, PLACES)  # they wait outside, before the box
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    # The address is known by now: however many come, they get no more than its share.
    late = silent.come(cluster.agent_port, PLACES * 3)
    await until(lambda: all(map(ended, late)))
    assert len(door.strangers) == SHARE


@pytest_twisted.ensureDeferred
async def test_one_address_does_not_fill_the_door_of_enrolment(
    cluster: FleetCluster, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "ENROLMENTS_AT_ONCE", PLACES)
    monkeypatch.setattr(enrolment, "ENROLMENTS_OF_ONE", SHARE)
    came = silent.come(cluster.enrolment_port, PLACES * 2)
    inside = cluster.fleet._enrolment.inside
    await until(lambda: sum(map(ended, came)) == len(came) - SHARE)
    assert len(inside) == SHARE
    with socket.socket() as one_of_us:
        one_of_us.connect(("127.0.0.1", cluster.enrolment_port))
        await until(lambda: len(inside) == SHARE + 1)
