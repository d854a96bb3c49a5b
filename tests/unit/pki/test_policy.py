from collections.abc import Container
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from pki.authority import Authority
from pki.contexts import EnrolmentTLS, MutualTLS
from pki.keys import KeyRefusedError, new_key
from pki.names import Name
from pki.policy import (
    PeerRefusedError,
    Policy,
    client_context,
    judge,
    name_in,
    optional_peer,
    peer,
    server_context,
)
from tests.unit.pki.forge import BOTH, BOX, CLIENT, CLUSTER, Bundle, forged, issued

CONTROLLER = Name(CLUSTER, "controller")
A_BOX = Name(CLUSTER, "box", BOX)
BOXES = Policy(CLUSTER, frozenset(("box",)))


def test_a_box_is_known_by_its_certificate(authority: Authority) -> None:
    certificate = issued(authority, A_BOX).certificate
    found = judge(certificate, BOXES)
    assert (found.name, found.serial) == (A_BOX, certificate.serial_number)
    assert found.not_after == certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ([], "lacks a name"),
        ([A_BOX.uri, CONTROLLER.uri], "2 URI names"),
        ([A_BOX.uri, A_BOX.uri], "2 URI names"),
        (["urn:other:c1:box"], "does not begin"),
        ([A_BOX.uri.upper()], "does not begin"),
        ([A_BOX.uri + "."], "uuid"),
        ([f"urn:heliosphere:c2:box:{BOX}"], "another cluster"),
        (["urn:heliosphere:c1:operator:ann"], "role box"),
    ],
)
def test_another_name_is_refused(uris: list[str], reason: str) -> None:
    with pytest.raises(PeerRefusedError, match=reason):
        judge(forged(None, None, uris=uris, usages=CLIENT).certificate, BOXES)


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
)
def test_another_kind_of_key_is_refused(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(PeerRefusedError, match="P-256"):
        judge(forged(None, None, uris=[A_BOX.uri], usages=CLIENT, key=key).certificate, BOXES)


def test_a_box_with_a_servers_usage_is_refused() -> None:
    with pytest.raises(PeerRefusedError, match="server's usage"):
        judge(forged(None, None, uris=[A_BOX.uri], usages=BOTH).certificate, BOXES)


def test_a_certificate_without_usage_is_refused() -> None:
    with pytest.raises(PeerRefusedError, match="lacks a name"):
        judge(forged(None, None, uris=[A_BOX.uri], usages=()).certificate, BOXES)


def test_a_ca_is_no_member() -> None:
    box = forged(None, None, uris=[A_BOX.uri], usages=CLIENT, authority=True)
    with pytest.raises(PeerRefusedError, match="a CA's"):
        judge(box.certificate, BOXES)


def test_a_denied_serial_is_refused(authority: Authority) -> None:
    certificate = issued(authority, A_BOX).certificate
    policy = Policy(CLUSTER, BOXES.roles, {certificate.serial_number})
    with pytest.raises(PeerRefusedError, match="revoked"):
        judge(certificate, policy)


class Unreadable(Container[int]):
    def __contains__(self, serial: object) -> bool:
        raise OSError(5, "Input/output error")


def test_an_unreadable_deny_list_lets_nobody_in(authority: Authority) -> None:
    policy = Policy(CLUSTER, BOXES.roles, Unreadable())
    with pytest.raises(PeerRefusedError, match="cannot be read"):
        judge(issued(authority, A_BOX).certificate, policy)


def test_a_box_makes_no_server(authority: Authority) -> None:
    box = issued(authority, A_BOX)
    with pytest.raises(PeerRefusedError, match="must not serve"):
        server_context(box.certificate_pem, box.key_pem, authority.certificate_pem)
    with pytest.raises(PeerRefusedError, match="must not serve"):
        tls(authority, box).serverConnectionForTLS(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [CONTROLLER, A_BOX])
def test_a_key_of_another_certificate_is_refused(authority: Authority, name: Name) -> None:
    own = issued(authority, name)
    with pytest.raises(KeyRefusedError, match="not the certificate's"):
        client_context(own.certificate_pem, new_key(), authority.certificate_pem)


def test_a_connection_of_another_maker_has_no_peer() -> None:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    with pytest.raises(PeerRefusedError, match="not made by this package"):
        optional_peer(connection)


def test_before_the_handshake_nobody_is_there(authority: Authority) -> None:
    connection = tls(authority, issued(authority, A_BOX)).clientConnectionForTLS(
        None  # type: ignore[arg-type]
    )
    with pytest.raises(PeerRefusedError, match="no certificate"):
        peer(connection)


def tls(authority: Authority, bundle: Bundle) -> MutualTLS:
    return MutualTLS(bundle.certificate_pem, bundle.key_pem, authority.certificate_pem)


def test_the_own_name_is_the_certificates(authority: Authority) -> None:
    bundle = issued(authority, A_BOX)
    assert tls(authority, bundle).name == name_in(bundle.certificate_pem) == A_BOX


def test_a_swap_takes_no_other_name(authority: Authority) -> None:
    creator = tls(authority, issued(authority, A_BOX))
    other = issued(authority, Name(CLUSTER, "box", BOX[:-1] + "4"))
    with pytest.raises(PeerRefusedError, match="the new certificate is for"):
        creator.swap(other.certificate_pem, other.key_pem)


def test_a_refused_swap_changes_nothing(authority: Authority) -> None:
    creator = tls(authority, issued(authority, CONTROLLER))
    before = creator.serverConnectionForTLS(None).get_context()  # type: ignore[arg-type]
    renewed = issued(authority, CONTROLLER)
    with pytest.raises(KeyRefusedError):
        creator.swap(renewed.certificate_pem, new_key())
    assert creator.serverConnectionForTLS(None).get_context() is before  # type: ignore[arg-type]


def test_enrolment_has_no_certificate_to_show(ca_directory: Path, authority: Authority) -> None:
    connection = EnrolmentTLS(authority.fingerprint).clientConnectionForTLS(
        None  # type: ignore[arg-type]
    )
    assert connection.get_certificate() is None


def test_no_session_is_kept_to_be_resumed(authority: Authority) -> None:
    own = issued(authority, CONTROLLER)
    door = server_context(own.certificate_pem, own.key_pem, authority.certificate_pem)
    assert door.get_session_cache_mode() == SSL.SESS_CACHE_OFF
