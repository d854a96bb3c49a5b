"""Whom a TLS connection believes: the one policy, applied inside the handshake.

TLS 1.3 only. The chain must end at the cluster's CA, and the leaf must be for this purpose, on
P-256, not revoked, and carry one URI SAN of this cluster with a role that this door expects. A peer
that fails any of it never completes the handshake; `peer` reads the same facts again for the
session. Tickets and session caches are off, so every connection is judged anew (S4, S5, S6).
"""

from collections.abc import Callable, Collection, Container
from datetime import datetime
from hashlib import sha256
from typing import Literal

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from pki.keys import KeyRefusedError, is_p256, load_key
from pki.names import Name, NameRefusedError, Role

ClientCertificate = Literal["required", "optional", "none"]
SELF_SIGNED_IN_CHAIN = 19  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
OPENSSL_REASONS = {
    7: "its certificate's signature is wrong",
    9: "its certificate is not valid yet (or a clock is wrong)",
    10: "its certificate has expired (or a clock is wrong)",
    18: "its certificate is self-signed",
    19: "its certificate is of another CA",
    20: "its certificate is of another CA",
    21: "its certificate is of another CA",
    22: "its certificate chain is too long",
    24: "its certificate was not signed by a CA",
    25: "its certificate was signed by a CA that must not have one below it",
    26: "its certificate is not for this purpose",
    66: "its key is too weak",
    79: "its certificate was not signed by a CA",
    85: "its certificate does not name its issuer's key",
}
ALL_ROLES: frozenset[Role] = frozenset(("controller", "box", "operator"))
BOXES: frozenset[Role] = frozenset(("box",))
CONTROLLERS: frozenset[Role] = frozenset(("controller",))

_Callback = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]


class PeerRefusedError(Exception):
    """The other side is not who it must be; the message says why, in printable ASCII."""


@attrs.frozen
class Peer:
    """The other side as its certificate, and nothing else, says."""

    name: Name
    serial: int
    not_after: datetime
    fingerprint: str


@attrs.frozen
class Policy:
    """What a door expects of whoever comes: one of ``roles``, of ``cluster``, not ``denied``.

    ``cluster`` None means any: only enrolment, which pins the CA itself, knows no cluster yet.
    ``denied`` holds serials and is asked at each handshake.
    """

    cluster: str | None
    roles: frozenset[Role]
    denied: Container[int] = frozenset()


def judge(certificate: x509.Certificate, policy: Policy) -> Peer:
    """Read a leaf whose chain was verified; raise `PeerRefusedError` when it is not expected."""
    if not is_p256(certificate.public_key()):
        raise PeerRefusedError("its key is not on P-256")
    try:
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        kind = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise PeerRefusedError("its certificate lacks a name, a usage or a kind") from error
    if kind.ca:
        raise PeerRefusedError("its certificate is a CA's, not a member's")
    uris = sans.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise PeerRefusedError(f"its certificate has {len(uris)} URI names, not one")
    try:
        name = Name.parse(uris[0])
    except NameRefusedError as error:
        raise PeerRefusedError(str(error)) from error
    if policy.cluster is not None and name.cluster != policy.cluster:
        raise PeerRefusedError(f"{name.uri} is of another cluster than {policy.cluster}")
    if name.role not in policy.roles:
        raise PeerRefusedError(f"{name.uri} is not of the role {' or '.join(sorted(policy.roles))}")
    if name.role != "controller" and ExtendedKeyUsageOID.SERVER_AUTH in usages:
        raise PeerRefusedError(f"{name.uri} has a server's usage and is not a controller")
    serial = certificate.serial_number
    try:
        denied = serial in policy.denied
    except (OSError, ValueError) as error:
        raise PeerRefusedError(f"the deny-list cannot be read: {error}") from error
    if denied:
        raise PeerRefusedError(f"{name.uri} with serial {serial:x} is revoked")
    return Peer(name, serial, certificate.not_valid_after_utc, _fingerprint(certificate))


def _fingerprint(certificate: x509.Certificate) -> str:
    return sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _policy_of(connection: SSL.Connection) -> Policy:
    policy = connection.get_context().get_app_data()
    if not isinstance(policy, Policy):
        raise PeerRefusedError("the connection was not made by this package")
    return policy


def optional_peer(connection: SSL.Connection) -> Peer | None:
    """Give the other side after the handshake, or None when it showed no certificate.

    For doors with ``client_certificate="optional"``. Raises `PeerRefusedError`.
    """
    policy = _policy_of(connection)
    certificate = connection.get_peer_certificate(as_cryptography=True)
    return None if certificate is None else judge(certificate, policy)


def peer(connection: SSL.Connection) -> Peer:
    """Give the other side after the handshake; raise `PeerRefusedError` when it has no name.

    Call it in ``handshakeCompleted``: ``connectionMade`` runs before anything was verified.
    """
    found = optional_peer(connection)
    if found is None:
        raise PeerRefusedError("it showed no certificate")
    return found


def refusal(connection: SSL.Connection) -> PeerRefusedError | None:
    """Say why this side broke the handshake off, for the log; None when it did not."""
    reason = connection.get_app_data()
    return reason if isinstance(reason, PeerRefusedError) else None


def _verifier(policy: Policy, pinned_ca: str | None = None) -> _Callback:
    """Make OpenSSL's callback: what OpenSSL refused stays refused, then the leaf is judged.

    With ``pinned_ca`` (SHA-256 of the DER, hex) the one error "self-signed certificate in the
    chain" is forgiven to exactly that certificate; signatures, dates and purpose are then checked
    by OpenSSL as below any other root.
    """

    def refuse(connection: SSL.Connection, reason: str) -> bool:
        connection.set_app_data(PeerRefusedError(reason))
        return False

    def verify(
        connection: SSL.Connection, presented: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        try:
            certificate = presented.to_cryptography()
            if not ok:
                pinned = error == SELF_SIGNED_IN_CHAIN and depth == 1 and pinned_ca is not None
                if pinned and _fingerprint(certificate) == pinned_ca:
                    return True
                return refuse(connection, OPENSSL_REASONS.get(error, f"X509 error {error}"))
            if depth == 0:
                judge(certificate, policy)
        except PeerRefusedError as reason:
            return refuse(connection, str(reason))
        except Exception as unreadable:
            # A hostile certificate makes the parser fail in ways of its own; out of a callback of
            # OpenSSL such an error would reach the reactor instead of ending this one handshake.
            return refuse(connection, f"its certificate is unreadable: {type(unreadable).__name__}")
        return True

    return verify


def _bare_context(method: int, policy: Policy) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_app_data(policy)
    return context


def _context(
    method: int, policy: Policy, certificate_pem: bytes, key_pem: bytes, ca_pem: bytes
) -> SSL.Context:
    context = _bare_context(method, policy)
    authority = x509.load_pem_x509_certificate(ca_pem)
    certificate, key = x509.load_pem_x509_certificate(certificate_pem), load_key(key_pem)
    if certificate.public_key() != key.public_key():
        raise KeyRefusedError("the private key is not the certificate's")
    context.use_certificate(certificate)
    context.use_privatekey(key)
    store = context.get_cert_store()
    assert store is not None, "a context has a store from its beginning"
    # OpenSSL completes the chain that it sends from this store: enrolment needs the CA in it.
    store.add_cert(crypto.X509.from_cryptography(authority))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    return context


def name_in(certificate_pem: bytes) -> Name:
    """Read the name in one's own certificate; raises `PeerRefusedError` when it has none."""
    return judge(x509.load_pem_x509_certificate(certificate_pem), Policy(None, ALL_ROLES)).name


def server_context(
    certificate_pem: bytes,
    key_pem: bytes,
    ca_pem: bytes,
    *,
    roles: Collection[Role] = BOXES,
    client_certificate: ClientCertificate = "required",
    denied: Container[int] = frozenset(),
) -> SSL.Context:
    """Make a controller's door for clients of its own cluster in one of ``roles``.

    ``client_certificate``: "required"; "optional" (who shows one is judged all the same); "none"
    (enrolment). The CA's certificate is sent along. ``denied`` is asked at each handshake.
    Raises `PeerRefusedError` when the own certificate is not a controller's, `KeyRefusedError`
    when the key is not the certificate's.
    """
    own = name_in(certificate_pem)
    if own.role != "controller":
        raise PeerRefusedError(f"{own.uri} must not serve: it is not a controller")
    policy = Policy(own.cluster, frozenset(roles), denied)
    context = _context(SSL.TLS_SERVER_METHOD, policy, certificate_pem, key_pem, ca_pem)
    if client_certificate == "none":
        context.set_verify(SSL.VERIFY_NONE)
        return context
    mode = SSL.VERIFY_PEER
    if client_certificate == "required":
        mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(mode, _verifier(policy))
    context.add_client_ca(x509.load_pem_x509_certificate(ca_pem))
    return context


def client_context(certificate_pem: bytes, key_pem: bytes, ca_pem: bytes) -> SSL.Context:
    """Make a client's side: it shows its certificate and believes its cluster's controllers only.

    Raises as `server_context` does.
    """
    policy = Policy(name_in(certificate_pem).cluster, CONTROLLERS)
    context = _context(SSL.TLS_CLIENT_METHOD, policy, certificate_pem, key_pem, ca_pem)
    context.set_verify(SSL.VERIFY_PEER, _verifier(policy))
    return context


def enrolment_context(ca_fingerprint: str) -> SSL.Context:
    """Make the side of a box that has only a token: it believes a controller of exactly this CA.

    The CA's certificate comes in the server's chain and is known by its fingerprint. No client
    certificate is shown.
    """
    policy = Policy(None, CONTROLLERS)
    context = _bare_context(SSL.TLS_CLIENT_METHOD, policy)
    store = context.get_cert_store()
    assert store is not None, "a context has a store from its beginning"
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    context.set_verify(SSL.VERIFY_PEER, _verifier(policy, pinned_ca=ca_fingerprint))
    return context
