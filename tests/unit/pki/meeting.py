"""Two sides meet over real TLS on loopback, and what each of them learned is told.

A client of TLS 1.3 completes its handshake before the server has judged it, so *accepted* means
that a byte of the other side arrived, and nothing less.
"""

import attrs
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from pki.policy import PeerRefusedError, optional_peer, refusal
from tests.unit.pki.forge import Bundle


@implementer(IHandshakeListener)
class Side(Protocol):
    """Says one byte when the handshake is complete, and remembers what it saw."""

    def __init__(self) -> None:
        self.settled: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.heard = False
        self.verified = False
        self.peer: object = None
        self.serial: int | None = None
        self.early: object = "not asked"
        self.refusal: PeerRefusedError | None = None

    def connectionMade(self) -> None:
        self.handle: SSL.Connection = self.transport.getHandle()
        self.early = self.handle.get_peer_certificate()

    def handshakeCompleted(self) -> None:
        self.verified = True
        try:
            found = optional_peer(self.handle)
        except PeerRefusedError:
            found = None  # a hostile side made its context without this package
        if found is not None:
            self.peer, self.serial = found.name, found.serial
        self.transport.write(b"!")

    def dataReceived(self, data: bytes) -> None:
        self.heard = True
        self._settle()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self.refusal = refusal(self.handle)
        self._settle()
        self.gone.callback(None)

    def _settle(self) -> None:
        if not self.settled.called:
            self.settled.callback(None)


@attrs.frozen
class Meeting:
    server: Side
    client: Side

    @property
    def accepted(self) -> bool:
        return self.server.heard and self.client.heard


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class Hostile:
    """A side that follows no policy: shows what it was given and believes everybody."""

    def __init__(self, bundle: Bundle | None, *, newest: int = SSL.TLS1_3_VERSION) -> None:
        self.bundle = bundle
        self.newest = newest

    def _connection(self, method: int) -> SSL.Connection:
        context = SSL.Context(method)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_max_proto_version(self.newest)
        context.set_verify(SSL.VERIFY_NONE)
        if self.bundle is not None:
            context.use_certificate(self.bundle.certificate)
            context.use_privatekey(
                load_pem_private_key(self.bundle.key_pem, None)  # type: ignore[arg-type]
            )
            for certificate in self.bundle.chain:
                context.add_extra_chain_cert(certificate)
        return SSL.Connection(context, None)

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return self._connection(SSL.TLS_SERVER_METHOD)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return self._connection(SSL.TLS_CLIENT_METHOD)


async def meet(server_tls: object, client_tls: object) -> Meeting:
    """Let both connect; when it returns, both connections and the port are closed."""
    from twisted.internet import reactor

    server, client = Side(), Side()
    factory = Factory.forProtocol(lambda: server)  # type: ignore[arg-type]
    listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        TLSMemoryBIOFactory(server_tls, False, factory)  # type: ignore[arg-type]
    )
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", listening.getHost().port)
    try:
        await connectProtocol(wrapClientTLS(client_tls, endpoint), client)  # type: ignore[arg-type]
        await gatherResults([server.settled, client.settled])
        for side in (client, server):
            if not side.gone.called:
                side.transport.abortConnection()
        await gatherResults([server.gone, client.gone])
    finally:
        await listening.stopListening()
    return Meeting(server, client)
