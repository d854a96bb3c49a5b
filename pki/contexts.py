"""Twisted's connection creators: each new connection takes the newest context.

Identity is read in ``handshakeCompleted`` with `pki.policy.peer`, never in ``connectionMade``,
which runs before anything is verified. A TLS 1.3 client completes its handshake before the server
has judged it: to be refused is to lose the connection afterwards.
"""

from collections.abc import Collection, Container

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from pki.names import Name, Role
from pki.policy import (
    BOXES,
    ClientCertificate,
    PeerRefusedError,
    client_context,
    enrolment_context,
    name_in,
    server_context,
)


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class MutualTLS:
    """One member's certificate in use: as a server (controllers only) and as a client.

    ``roles``, ``client_certificate`` and ``denied`` say whom the server side lets in, as in
    `pki.policy.server_context`; as a client it believes controllers of its cluster only. Use
    ``wrapClientTLS(mutual_tls, endpoint)`` and ``TLSMemoryBIOFactory(mutual_tls, False, factory)``.
    """

    def __init__(
        self,
        certificate_pem: bytes,
        key_pem: bytes,
        ca_pem: bytes,
        *,
        roles: Collection[Role] = BOXES,
        client_certificate: ClientCertificate = "required",
        denied: Container[int] = frozenset(),
    ) -> None:
        self.name: Name = name_in(certificate_pem)
        self._ca_pem = ca_pem
        self._roles = roles
        self._client_certificate = client_certificate
        self._denied = denied
        self._client: SSL.Context
        self._server: SSL.Context | None
        self.swap(certificate_pem, key_pem)

    def swap(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Use a renewed certificate for new connections; the open ones stay as they are.

        Raises `PeerRefusedError` when it names somebody else, `KeyRefusedError` when the key is not
        its own; the former certificate then stays in use.
        """
        name = name_in(certificate_pem)
        if name != self.name:
            raise PeerRefusedError(f"the new certificate is for {name.uri}, not {self.name.uri}")
        client = client_context(certificate_pem, key_pem, self._ca_pem)
        server = None
        if name.role == "controller":
            server = server_context(
                certificate_pem,
                key_pem,
                self._ca_pem,
                roles=self._roles,
                client_certificate=self._client_certificate,
                denied=self._denied,
            )
        self._client, self._server = client, server

    def serverConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,
    ) -> SSL.Connection:
        """Begin the server's side; raises `PeerRefusedError` for who must not serve."""
        if self._server is None:
            raise PeerRefusedError(f"{self.name.uri} must not serve: it is not a controller")
        return SSL.Connection(self._server, None)

    def clientConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,
    ) -> SSL.Connection:
        """Begin the client's side."""
        return SSL.Connection(self._client, None)


@implementer(IOpenSSLClientConnectionCreator)
class EnrolmentTLS:
    """The client side of a box that holds a token only: it believes the CA of the fingerprint."""

    def __init__(self, ca_fingerprint: str) -> None:
        self._context = enrolment_context(ca_fingerprint)

    def clientConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,
    ) -> SSL.Connection:
        """Begin the client's side."""
        return SSL.Connection(self._context, None)
