"""S1: nothing on the agents' door answers before a certificate and a Hello."""

from typing import get_args

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol

from node_agent.wire.messages import (
    Alive,
    Answer,
    Drift,
    FromAgent,
    Inventory,
    LaneState,
    Observed,
    Outcomes,
    RenewalRequest,
    Sample,
    Stored,
    SystemReport,
    Welcome,
)
from node_agent.wire.questions import LogLines
from pki.contexts import EnrolmentTLS
from pki.keys import new_key, signing_request
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401

EARLY = [
    Stored(lane="x", batch=1, stored_revision=1, object_hash="0"),
    Outcomes(lane="x", settled_revision=1, outcomes=()),
    LaneState(lane="x", condition="ok"),
    Observed(lane="x", zone="a.test", serial=1),
    Drift(lane="x", files=0, total=0, findings=(), verified_ago=-1.0),
    Inventory(lane="x", items=(), last=True),
    SystemReport(sampled_at=1.0, facts={}),
    Sample(
        processor=1.0,
        load=1.0,
        memory_used=1,
        memory_total=1,
        disk_used=1,
        disk_total=1,
        disk_read=1.0,
        disk_written=1.0,
        net_received=1.0,
        net_sent=1.0,
    ),
    Answer(id=1, found=LogLines(lines=(), cut=False)),
    RenewalRequest(csr=b""),
    Alive(),
]


def test_every_message_but_the_hello_is_tried() -> None:
    assert {type(message).__name__ for message in EARLY} == {
        kind.__name__ for kind in get_args(FromAgent)
    } - {"Hello"}


@pytest.mark.parametrize("message", EARLY, ids=lambda message: type(message).__name__)
@pytest_twisted.ensureDeferred
async def test_nothing_is_taken_before_the_hello(
    cluster: FleetCluster, message: msgspec.Struct
) -> None:
    _, agent = await cluster.add_box()
    agent.greet = False
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: agent.protocol is not None)
    agent.send(message)
    agent.send(agent.hello())  # too late: nothing that follows is heard
    await agent.until(lambda: agent.end_reason is not None or bool(agent.messages))
    assert agent.messages == []
    assert await cluster.rows("SELECT session_epoch FROM box") == [(0,)]


@pytest_twisted.ensureDeferred
async def test_a_revoked_certificate_has_no_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    agent.tls, serial = cluster.certificate(box)
    cluster.fleet.revoke([serial])
    await agent.connect(reactor, cluster.agent_port)
    await agent.until_ended()
    assert agent.messages == []


@pytest_twisted.ensureDeferred
async def test_a_certificate_revoked_in_the_database_alone_has_no_session(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    agent.tls, serial = cluster.certificate(box)
    await cluster.run(
        "INSERT INTO certificate (serial, name, box_id, not_after, revoked_at)"
        " VALUES (%s, 'x', %s, now(), now())",
        (serial, box),
    )
    await agent.connect(reactor, cluster.agent_port)
    await agent.until_ended()
    assert not agent.said(Welcome)


@pytest_twisted.ensureDeferred
async def test_a_revocation_ends_the_live_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    agent.tls, serial = cluster.certificate(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    cluster.fleet.revoke([serial])
    await agent.until_ended()


@pytest_twisted.ensureDeferred
async def test_a_revocation_by_another_process_ends_the_live_session(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    agent.tls, serial = cluster.certificate(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    await cluster.run(
        "INSERT INTO certificate (serial, name, box_id, not_after, revoked_at)"
        " VALUES (%s, 'x', %s, now(), now())",
        (serial, box),
    )
    await cluster.fleet._rescan()
    await agent.until_ended()


class _Ended(Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"\0\0\0\1\xc0" * 100)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_peer_without_a_certificate_hears_nothing(cluster: FleetCluster) -> None:
    protocol = _Ended()
    tls = EnrolmentTLS(cluster.authority.fingerprint)
    endpoint = wrapClientTLS(tls, HostnameEndpoint(reactor, "127.0.0.1", cluster.agent_port))
    await endpoint.connect(Factory.forProtocol(lambda: protocol))
    await protocol.ended
    assert protocol.heard == b""


@pytest_twisted.ensureDeferred
async def test_a_session_is_not_given_on_the_enrolment_port(cluster: FleetCluster) -> None:
    _, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.enrolment_port)
    await agent.until_ended()
    assert agent.messages == []


@pytest_twisted.ensureDeferred
async def test_a_renewal_is_for_the_name_of_the_session_alone(cluster: FleetCluster) -> None:
    _, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    agent.send(RenewalRequest(csr=signing_request(new_key())))
    await cluster.until("SELECT count(*) = 1 FROM certificate")
    assert await cluster.rows("SELECT name FROM certificate") == [(agent.tls.name.uri,)]
