"""S6: whoever is not exactly the expected member is refused, in both directions, over real TLS."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from pki.authority import Authority
from pki.contexts import EnrolmentTLS, MutualTLS
from pki.keys import load_key, new_key, signing_request
from pki.names import Name, Role
from pki.policy import ClientCertificate, peer, server_context
from pki.revocation import DenyList
from tests.unit.pki.forge import BOTH, BOX, CLIENT, CLUSTER, SERVER, Bundle, forged, issued, p256
from tests.unit.pki.meeting import Hostile, meet

CONTROLLER = Name(CLUSTER, "controller")
A_BOX = Name(CLUSTER, "box", BOX)
ANN = Name(CLUSTER, "operator", "ann")
NOW = datetime.now(UTC)


class Cluster:
    """Two CAs of the same cluster id, the true one and another."""

    def __init__(self, directory: Path) -> None:
        self.ca = Authority.create(directory / "ca", CLUSTER)
        self.other = Authority.create(directory / "other", CLUSTER)
        self.denied = DenyList.load(directory / "denied")

    def listener(
        self,
        roles: tuple[Role, ...] = ("box",),
        client_certificate: ClientCertificate = "required",
    ) -> MutualTLS:
        bundle = issued(self.ca, CONTROLLER)
        return MutualTLS(
            bundle.certificate_pem,
            bundle.key_pem,
            self.ca.certificate_pem,
            roles=roles,
            client_certificate=client_certificate,
            denied=self.denied,
        )

    def member(self, name: Name = A_BOX) -> MutualTLS:
        return self.using(issued(self.ca, name))

    def using(self, bundle: Bundle) -> MutualTLS:
        return MutualTLS(bundle.certificate_pem, bundle.key_pem, self.ca.certificate_pem)

    def signed(self, *, uris: tuple[str, ...], **options: object) -> Bundle:
        """Give what only the holder of the true CA's key could have made."""
        return forged(
            self.ca.certificate,
            self.ca.key,
            uris=uris,
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


Usages = tuple[x509.ObjectIdentifier, ...]


def below_a_leaf(cluster: Cluster, uri: str, usages: Usages) -> Bundle:
    """Sign with a box's own key, as if the box were a CA."""
    box = issued(cluster.ca, A_BOX)
    return below(cluster, box, uri, usages)


def below_another_authority(cluster: Cluster, uri: str, usages: Usages) -> Bundle:
    """Sign with an intermediate CA that the true CA signed in spite of its path length."""
    middle = cluster.signed(uris=(), authority=True, usages=(), common_name="middle")
    return below(cluster, middle, uri, usages)


def below(cluster: Cluster, issuer: Bundle, uri: str, usages: Usages) -> Bundle:
    bundle = forged(issuer.certificate, load_key(issuer.key_pem), uris=[uri], usages=usages)
    chain = (issuer.certificate, cluster.ca.certificate)
    return Bundle(bundle.certificate_pem, bundle.key_pem, chain)


@attrs.frozen
class Fault:
    """One way to be nearly right, and the word of the refusal that it must meet."""

    reason: str
    forge: Callable[[Cluster, str, Usages], Bundle]


def signed(reason: str, uri: str = "{}", **options: object) -> Fault:
    """Give a fault of what the true CA's key signed; ``{}`` is the right URI."""

    def forge(cluster: Cluster, right: str, usages: Usages) -> Bundle:
        fields: dict[str, object] = {"usages": usages, **options}
        return cluster.signed(uris=tuple(filter(None, [uri.replace("{}", right)])), **fields)

    return Fault(reason, forge)


NEARLY: dict[str, Fault] = {
    "self-signed": Fault("self-signed", lambda c, uri, usages: forged(
        None, None, uris=[uri], usages=usages)),
    "other-ca": Fault("another CA", lambda c, uri, usages: forged(
        c.other.certificate, c.other.key, uris=[uri], usages=usages)),
    # It names the true CA as its issuer, and sends the CA's certificate along.
    "forged-signature": Fault("signature", lambda c, uri, usages: forged(
        c.ca.certificate, p256(), uris=[uri], usages=usages, issuer_id=c.ca.key)),
    "below-a-leaf": Fault("not signed by a CA", below_a_leaf),
    "below-another-authority": Fault("one below it", below_another_authority),
    "expired": signed("expired", start=NOW - timedelta(days=91)),
    "not-yet-valid": signed("not valid yet", start=NOW + timedelta(days=1)),
    "no-name": signed("lacks a name", ""),
    "name-in-the-subject-only": signed("lacks a name", "", common_name=CONTROLLER.uri),
    "name-as-dns": signed("0 URI names", "", dns=("controller",)),
    "two-names": Fault("2 URI names", lambda c, uri, usages: c.signed(
        uris=(uri, ANN.uri), usages=usages)),
    "cluster-in-capitals": Fault("cluster id 'C1'", lambda c, uri, usages: c.signed(
        uris=(uri.replace(":c1:", ":C1:"),), usages=usages)),
    "name-with-a-dot": signed(".'", "{}."),
    "rsa-1024": signed("weak", key=rsa.generate_private_key(65537, 1024)),
    "rsa-2048": signed("P-256", key=rsa.generate_private_key(65537, 2048)),
    "p-384": signed("P-256", key=ec.generate_private_key(ec.SECP384R1())),
    "no-usage": signed("lacks a name, a usage", usages=()),
    "a-ca": signed("CA's", authority=True),
    "not-strictly-x509": signed("issuer's key", names_its_issuer=False),
}  # fmt: skip
ELSEWHERE = {
    "other-cluster": Fault("another cluster", lambda c, uri, usages: c.signed(
        uris=(uri.replace(":c1:", ":c2:"),), usages=usages)),
}  # fmt: skip
AS_A_CLIENT = NEARLY | ELSEWHERE | {
    "an-operator": Fault("role box", lambda c, uri, usages: issued(c.ca, ANN)),
    "a-controller": Fault("role box", lambda c, uri, usages: issued(c.ca, CONTROLLER)),
    "a-box-with-a-servers-usage": signed("server's usage", usages=BOTH),
    "a-server-only": signed("purpose", usages=SERVER),
}  # fmt: skip
AS_A_SERVER = (
    NEARLY
    | ELSEWHERE
    | {
        "a-box": Fault("purpose", lambda c, uri, usages: issued(c.ca, A_BOX)),
        "an-operator": Fault("purpose", lambda c, uri, usages: issued(c.ca, ANN)),
        "a-controller-without-a-servers-usage": signed("purpose", usages=CLIENT),
        "a-box-with-a-servers-usage": signed("role controller", A_BOX.uri),
    }
)
# A box that enrols knows the CA but not yet the cluster's id; a CA is of one cluster. It takes the
# pinned CA directly above the leaf and nowhere else.
TO_ENROL = {fault: AS_A_SERVER[fault] for fault in AS_A_SERVER if fault not in ELSEWHERE} | {
    "below-a-leaf": Fault("another CA", below_a_leaf),
    "below-another-authority": Fault("another CA", below_another_authority),
}


@pytest_twisted.ensureDeferred
async def test_a_box_and_its_controller_meet(cluster: Cluster) -> None:
    meeting = await meet(cluster.listener(), cluster.member())
    assert meeting.accepted
    assert (meeting.server.peer, meeting.client.peer) == (A_BOX, CONTROLLER)


@pytest_twisted.ensureDeferred
async def test_a_forged_certificate_with_nothing_wrong_is_accepted(cluster: Cluster) -> None:
    """The forge is able: what the tests below refuse is refused for its one fault."""
    box = cluster.signed(uris=(A_BOX.uri,), usages=CLIENT)
    controller = cluster.signed(uris=(CONTROLLER.uri,))
    assert (await meet(cluster.listener(), Hostile(box))).accepted
    assert (await meet(Hostile(controller), cluster.member())).accepted


@pytest.mark.parametrize("fault", AS_A_CLIENT)
@pytest_twisted.ensureDeferred
async def test_a_client_that_is_nearly_a_box_is_refused(cluster: Cluster, fault: str) -> None:
    bundle = AS_A_CLIENT[fault].forge(cluster, A_BOX.uri, CLIENT)
    meeting = await meet(cluster.listener(), Hostile(bundle))
    assert not meeting.server.verified
    assert not meeting.server.heard
    assert not meeting.client.heard
    assert AS_A_CLIENT[fault].reason in str(meeting.server.refusal)


@pytest.mark.parametrize("fault", AS_A_SERVER)
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_nearly_the_controller_is_refused(
    cluster: Cluster, fault: str
) -> None:
    bundle = AS_A_SERVER[fault].forge(cluster, CONTROLLER.uri, BOTH)
    meeting = await meet(Hostile(bundle), cluster.member())
    assert not meeting.client.verified
    assert not meeting.client.heard
    assert not meeting.server.heard
    assert AS_A_SERVER[fault].reason in str(meeting.client.refusal)


@pytest.mark.parametrize("fault", TO_ENROL)
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_nearly_the_controller_enrols_nobody(
    cluster: Cluster, fault: str
) -> None:
    bundle = TO_ENROL[fault].forge(cluster, CONTROLLER.uri, BOTH)
    meeting = await meet(Hostile(bundle), EnrolmentTLS(cluster.ca.fingerprint))
    assert not meeting.client.verified
    assert not meeting.client.heard
    assert TO_ENROL[fault].reason in str(meeting.client.refusal)


@pytest_twisted.ensureDeferred
async def test_a_box_with_a_token_believes_the_cas_controller(cluster: Cluster) -> None:
    meeting = await meet(
        cluster.listener(client_certificate="none"), EnrolmentTLS(cluster.ca.fingerprint)
    )
    assert meeting.accepted
    assert (meeting.server.peer, meeting.client.peer) == (None, CONTROLLER)


@pytest_twisted.ensureDeferred
async def test_a_box_with_another_cas_token_believes_nobody(cluster: Cluster) -> None:
    meeting = await meet(
        cluster.listener(client_certificate="none"), EnrolmentTLS(cluster.other.fingerprint)
    )
    assert not meeting.client.verified


@pytest_twisted.ensureDeferred
async def test_the_ca_beside_a_foreign_chain_enrols_nobody(cluster: Cluster) -> None:
    bundle = forged(cluster.other.certificate, cluster.other.key, uris=[CONTROLLER.uri])
    chain = (cluster.ca.certificate, cluster.other.certificate)
    bundle = Bundle(bundle.certificate_pem, bundle.key_pem, chain)
    meeting = await meet(Hostile(bundle), EnrolmentTLS(cluster.ca.fingerprint))
    assert not meeting.client.verified


@pytest_twisted.ensureDeferred
async def test_a_client_without_a_certificate_is_refused(cluster: Cluster) -> None:
    meeting = await meet(cluster.listener(), Hostile(None))
    assert not meeting.server.verified
    assert not meeting.client.heard


@pytest_twisted.ensureDeferred
async def test_tls_1_2_is_refused_by_the_controller(cluster: Cluster) -> None:
    box = Hostile(issued(cluster.ca, A_BOX), newest=SSL.TLS1_2_VERSION)
    meeting = await meet(cluster.listener(), box)
    assert not meeting.server.verified
    assert not meeting.client.verified


@pytest_twisted.ensureDeferred
async def test_tls_1_2_is_refused_by_the_box(cluster: Cluster) -> None:
    controller = Hostile(issued(cluster.ca, CONTROLLER), newest=SSL.TLS1_2_VERSION)
    meeting = await meet(controller, cluster.member())
    assert not meeting.server.verified
    assert not meeting.client.verified


@pytest_twisted.ensureDeferred
async def test_a_revoked_certificate_is_refused_from_the_next_handshake_on(
    cluster: Cluster,
) -> None:
    listener, bundle = cluster.listener(), issued(cluster.ca, A_BOX)
    assert (await meet(listener, cluster.using(bundle))).accepted
    DenyList.load(cluster.denied.path).add(bundle.certificate.serial_number)
    meeting = await meet(listener, cluster.using(bundle))
    assert not meeting.server.verified
    assert "revoked" in str(meeting.server.refusal)


@pytest_twisted.ensureDeferred
async def test_a_damaged_deny_list_lets_nobody_in(cluster: Cluster) -> None:
    cluster.denied.path.write_bytes(b"")
    meeting = await meet(cluster.listener(), cluster.member())
    assert not meeting.server.verified
    assert "deny-list" in str(meeting.server.refusal)


@pytest_twisted.ensureDeferred
async def test_a_peer_has_no_name_when_the_connection_is_made(cluster: Cluster) -> None:
    meeting = await meet(cluster.listener(), cluster.member())
    assert meeting.server.early is None
    assert meeting.client.early is None


@pytest_twisted.ensureDeferred
async def test_the_panel_takes_an_operators_certificate_or_none(cluster: Cluster) -> None:
    panel = cluster.listener(roles=("operator",), client_certificate="optional")
    with_one = await meet(panel, cluster.member(ANN))
    assert (with_one.accepted, with_one.server.peer) == (True, ANN)
    without = await meet(panel, Hostile(None))
    assert (without.accepted, without.server.peer) == (True, None)


@pytest.mark.parametrize("fault", NEARLY)
@pytest_twisted.ensureDeferred
async def test_where_a_certificate_is_optional_a_bad_one_is_refused(
    cluster: Cluster, fault: str
) -> None:
    panel = cluster.listener(roles=("operator",), client_certificate="optional")
    uri = Name(CLUSTER, "operator", "eve").uri
    meeting = await meet(panel, Hostile(NEARLY[fault].forge(cluster, uri, CLIENT)))
    assert not meeting.server.verified
    assert not meeting.client.heard
    assert NEARLY[fault].reason in str(meeting.server.refusal)


@pytest_twisted.ensureDeferred
async def test_a_renewed_certificate_is_used_for_new_connections(cluster: Cluster) -> None:
    listener, member = cluster.listener(), cluster.member()
    before = await meet(listener, member)
    box, controller = issued(cluster.ca, A_BOX), issued(cluster.ca, CONTROLLER)
    member.swap(box.certificate_pem, box.key_pem)
    listener.swap(controller.certificate_pem, controller.key_pem)
    after = await meet(listener, member)
    assert before.accepted
    assert after.accepted
    assert after.server.serial == box.certificate.serial_number != before.server.serial
    assert after.client.serial == controller.certificate.serial_number != before.client.serial


# What other people's TLS makes of the panel's door: Python's own ssl, in memory.


def browse(
    context: ssl.SSLContext,
    door: SSL.Context,
    host: str,
    session: ssl.SSLSession | None = None,
) -> tuple[ssl.SSLObject, SSL.Connection]:
    """Shake hands with a door and read the byte that it says."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host, session=session)
    server = SSL.Connection(door, None)
    server.set_accept_state()
    said = False
    for _ in range(10):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
            if client.read(1):
                server.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)  # a clean end
                return client, server
        if to_server.pending:
            server.bio_write(to_server.read())
        with suppress(SSL.WantReadError):
            server.do_handshake()
            if not said:
                said = server.send(b"!") > 0
        with suppress(SSL.WantReadError):
            to_client.write(server.bio_read(65536))
    raise AssertionError("the handshake did not end")


def panel_door(cluster: Cluster) -> SSL.Context:
    key = new_key()
    made = cluster.ca.issue(
        signing_request(key), CONTROLLER, hosts=["panel.example.net", "127.0.0.1"]
    )
    return server_context(
        made.certificate_pem,
        key,
        cluster.ca.certificate_pem,
        roles=("operator",),
        client_certificate="optional",
        denied=cluster.denied,
    )


def browser(cluster: Cluster) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=cluster.ca.certificate_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("host", ["panel.example.net", "127.0.0.1"])
def test_a_browser_knows_the_panel_by_its_host_name(cluster: Cluster, host: str) -> None:
    client, _ = browse(browser(cluster), panel_door(cluster), host)
    assert client.version() == "TLSv1.3"


def test_a_browser_refuses_the_panel_under_another_name(cluster: Cluster) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        browse(browser(cluster), panel_door(cluster), "other.example.net")


def test_a_browser_with_an_operators_certificate_is_that_operator(
    cluster: Cluster, tmp_path: Path
) -> None:
    ann = issued(cluster.ca, ANN)
    (tmp_path / "ann").write_bytes(ann.certificate_pem + ann.key_pem)
    context = browser(cluster)
    context.load_cert_chain(tmp_path / "ann")
    _, server = browse(context, panel_door(cluster), "127.0.0.1")
    assert peer(server).name == ANN


def test_no_session_is_resumed(cluster: Cluster, tmp_path: Path) -> None:
    ann = issued(cluster.ca, ANN)
    (tmp_path / "ann").write_bytes(ann.certificate_pem + ann.key_pem)
    context, door = browser(cluster), panel_door(cluster)
    context.load_cert_chain(tmp_path / "ann")
    first, _ = browse(context, door, "127.0.0.1")
    again, _ = browse(context, door, "127.0.0.1", session=first.session)
    assert again.version() == "TLSv1.3"
    assert not again.session_reused
