"""A token gives one box one certificate, once; the controller proves itself before it is spoken."""

import stat
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from node_agent.enrolment import EnrolmentFailedError, enrol
from node_agent.wire.enrolment import decode_request
from node_agent.wire.framing import FrameProtocol
from node_agent.wire.messages import Assign, Welcome
from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.enrolment import Token
from pki.keys import new_key, signing_request
from pki.names import Name
from tests.fleet_cluster import CLUSTER, FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401


async def new_token(cluster: FleetCluster, box: str, lasts: str = "1 hour") -> Token:
    token = Token.new(box, cluster.authority.fingerprint)
    await cluster.run(
        "INSERT INTO enrolment_token (digest, box_id, expires_at)"
        " VALUES (%s, %s, now() + %s::interval)",
        (token.digest, box, lasts),
    )
    return token


async def enrolled(cluster: FleetCluster, token: Token, directory: Path) -> MutualTLS:
    await enrol(
        reactor,
        "127.0.0.1",
        cluster.enrolment_port,
        token=token,
        machine_id="machine-1",
        directory=directory,
    )
    return MutualTLS(
        (directory / "certificate.pem").read_bytes(),
        (directory / "key.pem").read_bytes(),
        (directory / "ca.pem").read_bytes(),
    )


@pytest_twisted.ensureDeferred
async def test_an_enrolled_box_has_a_session(cluster: FleetCluster, tmp_path: Path) -> None:
    box, agent = await cluster.add_box()
    token = await new_token(cluster, box)
    agent.tls = await enrolled(cluster, token, tmp_path / "box")
    assert stat.S_IMODE((tmp_path / "box" / "key.pem").stat().st_mode) == 0o600
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    assert await cluster.rows("SELECT box_id FROM certificate") == [(box,)]


@pytest_twisted.ensureDeferred
async def test_a_used_token_is_refused(cluster: FleetCluster, tmp_path: Path) -> None:
    box, _ = await cluster.add_box()
    token = await new_token(cluster, box)
    await enrolled(cluster, token, tmp_path / "one")
    with pytest.raises(EnrolmentFailedError, match="not valid"):
        await enrolled(cluster, token, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert await cluster.rows("SELECT count(*) FROM certificate") == [(1,)]


@pytest_twisted.ensureDeferred
async def test_an_expired_token_is_refused(cluster: FleetCluster, tmp_path: Path) -> None:
    box, _ = await cluster.add_box()
    token = await new_token(cluster, box, "-1 second")
    with pytest.raises(EnrolmentFailedError, match="not valid"):
        await enrolled(cluster, token, tmp_path / "box")


@pytest_twisted.ensureDeferred
async def test_a_token_of_another_box_is_refused(cluster: FleetCluster, tmp_path: Path) -> None:
    box, _ = await cluster.add_box()
    other, _ = await cluster.add_box()
    token = await new_token(cluster, box)
    forged = Token(other, token.secret, token.ca_fingerprint)
    with pytest.raises(EnrolmentFailedError, match="not valid"):
        await enrolled(cluster, forged, tmp_path / "box")


@pytest_twisted.ensureDeferred
async def test_enrolling_anew_revokes_the_old_certificate_and_ends_its_session(
    cluster: FleetCluster, tmp_path: Path
) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.tls = await enrolled(cluster, await new_token(cluster, box), tmp_path / "one")
    await agent.connect(reactor, cluster.agent_port)
    await cluster.change(server, {"a.test": b"1"})
    await cluster.until_settled(server)
    renewed = await enrolled(cluster, await new_token(cluster, box), tmp_path / "two")
    await agent.until_ended()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until_ended()
    assert len(agent.said(Welcome)) == 1
    agent.tls = renewed
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: len(agent.said(Assign)) == 2)
    assert agent.lanes[server].live() == {"a.test": b"1"}


@pytest_twisted.ensureDeferred
async def test_a_controller_of_another_ca_never_sees_the_token(
    cluster: FleetCluster, tmp_path: Path
) -> None:
    heard: list[object] = []

    class Thief(FrameProtocol[object]):
        def decode(self, frame: bytes) -> object:
            return decode_request(frame)

        def message_received(self, message: object) -> None:
            heard.append(message)

    other = Authority.create(tmp_path / "other", CLUSTER)
    key = new_key()
    issued = other.issue(signing_request(key), Name(CLUSTER, "controller", ""))
    tls = MutualTLS(issued.certificate_pem, key, other.certificate_pem, client_certificate="none")
    factory = Factory.forProtocol(Thief)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        TLSMemoryBIOFactory(tls, False, factory)
    )
    box, _ = await cluster.add_box()
    token = await new_token(cluster, box)
    with pytest.raises(EnrolmentFailedError, match="not the token's controller"):
        await enrol(
            reactor,
            "127.0.0.1",
            port.getHost().port,
            token=token,
            machine_id="machine-1",
            directory=tmp_path / "box",
        )
    await port.stopListening()
    assert heard == []
    assert not (tmp_path / "box").exists()
