"""The door of the agents: mutual TLS, a Hello within its deadline, then a session."""

from typing import cast

import attrs
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from controller.fleet.bounds import check_hello
from controller.fleet.hello import Greeting, SessionRefusedError
from controller.fleet.reception import Reception
from controller.fleet.session_table import SessionTable
from controller.fleet.sessions import Services, Session
from controller.fleet.strangers import Crowd
from controller.storage.errors import StorageError
from node_agent.wire.codec import WireError, decode_from_agent, printable
from node_agent.wire.framing import FrameProtocol
from node_agent.wire.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Batch,
    FromAgent,
    Hello,
    Message,
    Refused,
)
from pki.policy import Peer, PeerRefusedError, peer, refusal

log = Logger()

HELLO_SECONDS = 20.0
"""From the connection to the Hello, at most."""
STRANGERS = 300
"""Connections without a session, at most: handshakes, and Hellos that wait for their turn. More
wait in the kernel's queue, unaccepted (ADR 24)."""
SHARE_OF_ONE = STRANGERS // 4
"""Places that those of one address who prove nothing may keep while others wait outside."""
CLEARING_SECONDS = 0.5
"""So often a full door is cleared of them."""
FAREWELL_SECONDS = 10.0
"""From a refusal to the end of its connection, at most: who does not hang up keeps no place."""
HELLO_BYTES = 1024 * 1024
"""A peer without a session may send frames of this size."""


class AgentProtocol(FrameProtocol[FromAgent]):
    """The controller's side of one agent's connection."""

    max_frame = HELLO_BYTES

    def __init__(self, listener: "AgentListener") -> None:
        super().__init__()
        self._listener = listener
        self.peer: Peer | None = None
        self.session: Session | None = None
        self._greeted = False
        self._deadline: IDelayedCall | None = None

    def decode(self, frame: bytes) -> FromAgent:
        """Read what the agent said."""
        return decode_from_agent(frame)

    def connectionMade(self) -> None:
        """Give a stranger a short time; nothing is known of it yet."""
        super().connectionMade()
        self._listener.strangers.add(self)
        self._listener.admit()
        if not self._listener.came(self):
            self.lose("too many of its address say nothing")
            return
        self._deadline = self._listener.services.reactor.callLater(
            HELLO_SECONDS, self.lose, "no Hello in time"
        )

    def dataReceived(self, data: bytes) -> None:
        """Note that the box lives; half a frame counts: a large one on a slow link takes long."""
        if self.session is not None:
            self.session.heard = self._listener.services.reactor.seconds()
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def send(self, message: Message) -> None:
        """Send one message; a batch leaves at once: a person waits for it."""
        super().send(message)
        if isinstance(message, Batch):
            self.push()

    def peer_established(self) -> None:
        """Read who the peer is, now that the handshake has verified it."""
        connection = self.tls_connection()
        if connection is None:
            raise WireError("the connection is not TLS")
        try:
            self.peer = peer(connection)
        except PeerRefusedError as error:
            raise WireError(str(error)) from None
        self._listener.unproven.left(self)

    def message_received(self, message: FromAgent) -> None:
        """Hand a message to the session; the first one must be a Hello."""
        if self.session is not None:
            self.session.received(message)
        elif isinstance(message, Hello) and not self._greeted:
            self._greeted = True
            check_hello(message)
            self._in_time()
            ensureDeferred(self._listener.welcome(self, message))
        else:
            raise WireError("something else than a Hello came first")

    def welcomed(self, session: Session) -> None:
        """Go on as ``session``."""
        self.session = session
        self.MAX_LENGTH = self.max_frame = FrameProtocol.max_frame
        self._known()

    def refuse(self, refusal: Refused, reason: str) -> None:
        """Say why there is no session, and end the connection once that is said, or soon."""
        if self._ended:
            return
        self.send(refusal)
        self.lose(reason, flush=True)
        self._deadline = self._listener.services.reactor.callLater(
            FAREWELL_SECONDS, self.lose, reason
        )

    def connection_ended(self, reason: str) -> None:
        """End the session, or note why there was none."""
        self._known()
        if self.session is not None:
            self._listener.ended(self.session, reason)
            return
        connection = self.tls_connection()
        refused = None if connection is None else refusal(connection)
        log.info(
            "no session: peer={peer} reason={reason}",
            peer=self.peer_text(),
            reason=refused or reason,
        )

    def _known(self) -> None:
        """Stop counting the connection among strangers."""
        self._in_time()
        self._listener.strangers.discard(self)
        self._listener.unproven.left(self)
        self._listener.admit()

    def _in_time(self) -> None:
        """Wait for the Hello no more; how long it waits for its turn is not the box's fault."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


@attrs.define(eq=False)
class Refusals:
    """Why boxes were refused lately: box -> (reason, at), for the words that people see."""

    by_box: dict[str, tuple[str, float]] = attrs.field(factory=dict)

    def note(self, box: str, reason: str, at: float) -> None:
        """Remember a refusal."""
        self.by_box[box] = (reason, at)

    def since(self, box: str, oldest: float) -> str:
        """Give the reason of a refusal not older than ``oldest``, else nothing."""
        reason, at = self.by_box.get(box, ("", 0.0))
        return reason if at >= oldest else ""

    def boxes(self, reason: str, oldest: float) -> list[str]:
        """Give the boxes that were refused for ``reason``, not before ``oldest``."""
        found = self.by_box.items()
        return [box for box, (why, at) in found if why == reason and at >= oldest]


class AgentListener(ServerFactory):
    """Makes sessions of connections."""

    noisy = False

    def __init__(self, services: Services, sessions: SessionTable) -> None:
        self.services = services
        self.sessions = sessions
        self.refusals = Refusals()
        self.strangers: set[AgentProtocol] = set()
        self.unproven = Crowd(SHARE_OF_ONE)
        self._clearing: IDelayedCall | None = None
        self._port: IListeningPort | None = None
        self._accepting = True
        self._limiting: IDelayedCall | None = None
        self._reception = Reception(services.database, sessions.make_way)
        self._stopping = False

    def buildProtocol(self, addr: object) -> Protocol:
        """Make the protocol of a new connection."""
        return AgentProtocol(self)

    def listening(self, port: IListeningPort) -> None:
        """Take the port, so that strangers beyond `STRANGERS` can be left waiting in the kernel."""
        self._port = port
        self._limit_accepting()

    def came(self, stranger: AgentProtocol) -> bool:
        """Count a connection that has proven nothing; tell whether it may stay."""
        now = self.services.reactor.seconds()
        return self.unproven.came(stranger, stranger.peer_host(), now)

    def _clear(self) -> None:
        """While others wait outside: end those who keep their places and prove nothing."""
        self._clearing = None
        if self._accepting or self._stopping:
            return
        for stranger in self.unproven.overdue(self.services.reactor.seconds()):
            cast(AgentProtocol, stranger).lose("it says nothing, and others wait")
        self._clear_later()

    def _clear_later(self) -> None:
        self._clearing = self.services.reactor.callLater(CLEARING_SECONDS, self._clear)

    def admit(self) -> None:
        """Accept connections, or leave them waiting, by the number of strangers inside."""
        if self._port is None or self._stopping:
            return
        accepting = len(self.strangers) < STRANGERS
        if self._limiting is None:  # a port that is in the midst of accepting sets its own number
            self._limiting = self.services.reactor.callLater(0, self._limit_accepting)
        if accepting == self._accepting:
            return
        self._accepting = accepting
        if accepting:
            self._port.startReading()  # type: ignore[attr-defined]  # a tcp.Port is a descriptor
        else:
            self._port.stopReading()  # type: ignore[attr-defined]
            if self._clearing is None:
                self._clear_later()

    def _limit_accepting(self) -> None:
        """Have the port accept no more at one go than may come in: it takes a hundred else."""
        self._limiting = None
        if self._port is not None:
            room = max(1, STRANGERS - len(self.strangers))
            self._port.numberAccepts = room  # type: ignore[attr-defined]

    def stop(self) -> None:
        """End every connection."""
        self._stopping = True
        if self._limiting is not None:
            self._limiting.cancel()
            self._limiting = None
        if self._clearing is not None:
            self._clearing.cancel()
            self._clearing = None
        for stranger in tuple(self.strangers):
            stranger.lose("the controller stops")
        for session in self.sessions:
            session.lose("the controller stops")

    async def welcome(self, protocol: AgentProtocol, hello: Hello) -> None:
        """Make a session of a Hello, or say why not."""
        assert protocol.peer is not None
        box = protocol.peer.name.subject
        try:
            await self._begin(protocol, protocol.peer, hello)
        except SessionRefusedError as error:
            if not protocol.alive:
                return  # it has gone away while it waited: nobody hears why
            log.warn("session refused: box={box} {error}", box=box, error=error)
            self.refusals.note(box, error.reason, self.services.reactor.seconds())
            protocol.refuse(
                Refused(reason=error.reason, detail=error.detail, retry_after=error.retry_after),
                str(error),
            )
        except WireError as error:
            protocol.lose(f"refused: {error}")
        except Exception as error:
            # The database is away, or an error of ours: this box must try again, and no other
            # session may notice.
            if isinstance(error, StorageError):
                log.warn("no session for box {box}: {error}", box=box, error=error)
            else:
                log.failure("no session for box {box}", box=box)
            protocol.refuse(
                Refused(reason="busy", detail="try again", retry_after=5.0),
                f"the session could not begin: {type(error).__name__}",
            )

    async def _begin(self, protocol: AgentProtocol, known: Peer, hello: Hello) -> None:
        if hello.protocol_max < PROTOCOL_MIN or hello.protocol_min > PROTOCOL_MAX:
            raise SessionRefusedError(
                "protocol",
                f"the agent speaks protocol {hello.protocol_min} to {hello.protocol_max}, this"
                f" controller {PROTOCOL_MIN} to {PROTOCOL_MAX}",
            )
        beginning = await self._reception.begin(
            Greeting(known.name.subject, known.serial, hello), lambda: protocol.alive
        )
        self.services.at("greeted")
        session = Session(
            self.services,
            known,
            beginning,
            hello=hello,
            send=protocol.send,
            lose=protocol.lose,
            read=protocol.read,
        )
        if not protocol.alive or self._stopping:
            self.services.ended(session)
            return
        self.sessions.add(session)
        protocol.welcomed(session)
        log.info(
            "session: box={box} epoch={epoch} peer={peer} version={version}",
            box=session.box_name,
            epoch=session.epoch,
            peer=protocol.peer_text(),
            version=printable(hello.agent_version, 40),
        )
        session.begin(hello, beginning)

    def ended(self, session: Session, reason: str) -> None:
        """Note the end of a session."""
        log.info(
            "session ended: box={box} epoch={epoch} reason={reason}",
            box=session.box_name,
            epoch=session.epoch,
            reason=printable(reason),
        )
        session.ended()
        self.sessions.remove(session)
        self.services.ended(session)
