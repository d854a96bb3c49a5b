"""Frames over a connection: four bytes of length, then one message. Both sides build on this.

Who the peer is, is known once `FrameProtocol.peer_established` is called and not before:
``connectionMade`` runs also for peers that the TLS handshake is about to refuse.
"""

from typing import Generic, TypeVar, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener, ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from node_agent.wire.codec import MAX_FRAME, WireError, encode, printable
from node_agent.wire.messages import Message

log = Logger()

MessageT = TypeVar("MessageT")


@implementer(IHandshakeListener)
class FrameProtocol(Int32StringReceiver, Generic[MessageT]):
    """One connection that carries messages.

    Subclasses give `decode` and override `peer_established`, `message_received` and
    `connection_ended`. ``max_frame`` may be lowered for a peer that has not earned more.
    """

    max_frame = MAX_FRAME

    def __init__(self) -> None:
        self._established = False
        self._ended = False
        self.reason_lost = ""

    # --- for subclasses ---

    def decode(self, frame: bytes) -> MessageT:
        """Read one frame; raises `WireError`."""
        raise NotImplementedError

    def peer_established(self) -> None:
        """Note that the handshake is done; the peer's certificate may be read from now on."""

    def message_received(self, message: MessageT) -> None:
        """Act on one message. A `WireError` raised here ends the connection with its reason."""
        raise NotImplementedError

    def connection_ended(self, reason: str) -> None:
        """Note the end of the connection; called once."""

    # --- for owners ---

    @property
    def alive(self) -> bool:
        """Whether messages may be sent."""
        return self._established and not self._ended

    def send(self, message: Message) -> None:
        """Send one message; one for a connection that has ended is dropped."""
        if not self._ended:
            self.sendString(encode(message))  # type: ignore[no-untyped-call]

    def push(self) -> None:
        """Have the kernel take what was sent, instead of in one of the reactor's next turns.

        What buffers within TLS for a turn, as Twisted's TLS does unless told otherwise, is not
        reached. A failure is seen by the reactor when it writes next.
        """
        tls = self.transport
        if self.alive and isinstance(tls, TLSMemoryBIOProtocol):
            tcp = cast(Connection, tls.transport)
            if not tcp.disconnecting:
                tcp.doWrite()

    def lose(self, reason: str, *, flush: bool = False) -> None:
        """End the connection for ``reason``; ``flush`` lets what was sent leave first."""
        if self._ended:
            return
        self.reason_lost = self.reason_lost or reason
        self._established = False
        if self.transport is None:
            return
        if flush:
            cast(ITCPTransport, self.transport).loseConnection()
        else:
            cast(ITCPTransport, self.transport).abortConnection()

    def read(self, on: bool) -> None:
        """Go on reading, or leave what comes in the peer's own buffers."""
        if self._ended:
            return
        if on:
            self.resumeProducing()  # type: ignore[no-untyped-call]
        else:
            self.pauseProducing()  # type: ignore[no-untyped-call]

    # --- Twisted's side ---

    def connectionMade(self) -> None:
        """Ask for small frames to leave at once."""
        tcp = cast(ITCPTransport, self.transport)
        tcp.setTcpNoDelay(True)
        tcp.setTcpKeepAlive(True)

    def handshakeCompleted(self) -> None:
        """Begin: the peer is verified."""
        self.MAX_LENGTH = self.max_frame
        self._established = True
        try:
            self.peer_established()
        except WireError as error:
            self._refuse(error)

    def stringReceived(self, string: bytes) -> None:
        """Decode and hand on one frame."""
        if not self._established:
            return
        try:
            self.message_received(self.decode(string))
        except WireError as error:
            self._refuse(error)

    def lengthLimitExceeded(self, length: int) -> None:
        """Refuse a frame by its announced length, before any of it is kept."""
        self._refuse(WireError(f"a frame of {length} bytes was announced"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the owner, once."""
        if self._ended:
            return
        self._ended = True
        self._established = False
        self.connection_ended(self.reason_lost or printable(reason.getErrorMessage()))

    def _refuse(self, error: WireError) -> None:
        log.warn(
            "connection refused: peer={peer} reason={reason}",
            peer=self.peer_text(),
            reason=printable(str(error)),
        )
        self.lose(f"refused: {error}")

    def tls_connection(self) -> SSL.Connection | None:
        """Give the TLS connection, for its peer's certificate; None on a bare transport."""
        if not ISSLTransport.providedBy(self.transport):
            return None
        connection = cast(TLSMemoryBIOProtocol, self.transport).getHandle()  # type: ignore[no-untyped-call]
        return cast(SSL.Connection, connection)

    def peer_text(self) -> str:
        """Name the peer's address for the log."""
        peer = cast(ITCPTransport, self.transport).getPeer() if self.transport else None
        return f"{self.peer_host()}:{getattr(peer, 'port', '?')}"

    def peer_host(self) -> str:
        """Give the address that the peer comes from."""
        peer = cast(ITCPTransport, self.transport).getPeer() if self.transport else None
        return str(getattr(peer, "host", "?"))
