"""The connection to a controller: the agent dials out, again and again, to whoever answers.

Every attempt resolves the name anew (P7), waits longer after each failure and a little by chance.
Silence ends a session, on this side as on the other.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import deferLater

from node_agent.config import ControllerAddress
from node_agent.logs import event
from node_agent.wire.codec import WireError, decode_from_controller
from node_agent.wire.framing import FrameProtocol
from node_agent.wire.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Alive,
    FromAgent,
    FromController,
    Hello,
    Message,
    Refused,
    Welcome,
)
from pki.policy import PeerRefusedError, peer, refusal

FIRST_WAIT, LONGEST_WAIT = 0.2, 30.0
"""Seconds between attempts: doubled after each failure, with jitter. However long a controller was
away, its last box dials within the longest wait; the door bounds how many come in at once."""
SPREAD = 0.1
"""The share of the session's interval over which boxes come back when a session has ended. The
controller scales the interval by the number of its boxes, so all of them together dial about a
thousand times a second, however many they are (ADR 24)."""
BRIEF_SECONDS = 1.0
"""A session that ends sooner counts as a failure: one that always ends so is not begun without end.
"""
CONNECT_SECONDS = 20.0
WELCOME_SECONDS = 60.0
"""From the TCP connection to the Welcome, at most."""
SILENT_INTERVALS = 3.0
LONGEST_INTERVAL = 600.0


class AgentSide(Protocol):
    """What a session talks to."""

    async def hello(self) -> Hello:
        """Describe the box for a new session."""

    def welcomed(self, send: Callable[[FromAgent], None], welcome: Welcome) -> None:
        """Begin to work on this session."""

    def received(self, message: FromController) -> None:
        """Act on one message. Raises `WireError` for one that makes no sense."""

    def ended(self) -> None:
        """Note that the session is over."""


class Session(FrameProtocol[FromController]):
    """One session. ``over`` fires with the seconds that the controller asked to wait, or 0."""

    def __init__(self, clock: IReactorTime, agent: AgentSide, hello: Hello) -> None:
        super().__init__()
        self.over: Deferred[float] = Deferred()
        self.welcomed = False
        self.interval = WELCOME_SECONDS / SILENT_INTERVALS
        """Seconds between two words, at most; once welcomed, as the controller set it."""
        self._clock = clock
        self._agent = agent
        self._hello = hello
        self._retry_after = 0.0
        self._heard = self._said = clock.seconds()
        self._call: IDelayedCall | None = None

    def decode(self, frame: bytes) -> FromController:
        """Read one frame."""
        return decode_from_controller(frame)

    def connectionMade(self) -> None:
        """Start the clock: also a handshake that never ends is silence."""
        super().connectionMade()
        self._heard = self._said = self._clock.seconds()
        self._look()

    def dataReceived(self, data: bytes) -> None:
        """Note that the other side lives; half a frame counts."""
        self._heard = self._clock.seconds()
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def send(self, message: Message) -> None:
        """Send one message and note when."""
        self._said = self._clock.seconds()
        super().send(message)

    def peer_established(self) -> None:
        """Say Hello to a controller of this cluster, and to nobody else."""
        connection = self.tls_connection()
        try:
            if connection is not None:
                event("connected", peer=self.peer_text(), uri=peer(connection).name.uri)
        except PeerRefusedError as error:
            raise WireError(str(error)) from error
        self.send(self._hello)

    def message_received(self, message: FromController) -> None:
        """Act on one message."""
        match message:
            case Refused():
                self._retry_after = max(0.0, min(message.retry_after, 3600.0))
                self.lose(f"the controller refused: {message.reason}: {message.detail}")
            case Welcome() if self.welcomed:
                raise WireError("a second Welcome")
            case Welcome():
                if not PROTOCOL_MIN <= message.protocol <= PROTOCOL_MAX:
                    raise WireError(f"protocol {message.protocol} is not known here")
                if not 0.0 < message.interval <= LONGEST_INTERVAL:
                    raise WireError(f"an interval of {message.interval} seconds")
                self.welcomed = True
                self.interval = message.interval
                self._look()
                self._agent.welcomed(self.send, message)
            case _ if not self.welcomed:
                raise WireError(f"{type(message).__name__} before the Welcome")
            case Alive():
                return
            case _:
                self._agent.received(message)

    def connection_ended(self, reason: str) -> None:
        """Tell the agent, and the dialler."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        connection = self.tls_connection()
        refused = None if connection is None else refusal(connection)
        event("disconnected", why=refused or reason)
        if self.welcomed:
            self._agent.ended()
        self.over.callback(self._retry_after)

    def _look(self) -> None:
        """End a silent session; break our own silence."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        if self._ended:
            return
        now = self._clock.seconds()
        if now - self._heard >= SILENT_INTERVALS * self.interval:
            self.lose("the controller is silent")
            return
        if self.welcomed and now - self._said >= self.interval * 0.9:
            self.send(Alive())
        following = self._said + self.interval if self.welcomed else now + self.interval
        self._call = self._clock.callLater(max(following - now, 0.01), self._look)


def dial_address(
    reactor: IReactorTime, tls: IOpenSSLClientConnectionCreator
) -> Callable[[ControllerAddress], IStreamClientEndpoint]:
    """Give the way to a controller: resolved anew by each connect, then mutual TLS."""

    def endpoint(address: ControllerAddress) -> IStreamClientEndpoint:
        plain = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_SECONDS)
        return wrapClientTLS(tls, plain)

    return endpoint


class Dialler:
    """Keeps a session with one of the controllers."""

    def __init__(
        self,
        clock: IReactorTime,
        addresses: Sequence[ControllerAddress],
        endpoint: Callable[[ControllerAddress], IStreamClientEndpoint],
        agent: AgentSide,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._addresses = list(addresses)
        self._endpoint = endpoint
        self._agent = agent
        self._jitter = jitter
        self._failures = 0
        self._spread = 0.0
        self._stopped = False
        self._session: Session | None = None
        self._wait: Deferred[None] | None = None
        self._finished: Deferred[None] | None = None

    def start(self) -> None:
        """Dial, until `stop`."""
        self._finished = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """End the session and dial no more."""
        self._stopped = True
        if self._session is not None:
            self._session.lose("stopping", flush=True)
        if self._wait is not None:
            self._wait.cancel()
        if self._finished is not None:
            await self._finished

    async def _run(self) -> None:
        turn = 0
        while not self._stopped:
            address = self._addresses[turn % len(self._addresses)]
            turn += 1
            asked_to_wait = await self._session_with(address)
            if not self._stopped:
                asked_to_wait *= self._jitter(1.0, 1.5)  # many may be asked the same
                await self._pause(max(asked_to_wait, self._backoff()))

    async def _session_with(self, address: ControllerAddress) -> float:
        try:
            session = Session(self._clock, self._agent, await self._agent.hello())
            factory = Factory.forProtocol(lambda: cast(TwistedProtocol, session))
            factory.noisy = False
            await self._endpoint(address).connect(factory)
        except Exception as error:
            # Journal, resolver, TCP and TLS fail in many ways; each means: try again later.
            event("no-connection", controller=f"{address.host}:{address.port}", why=error)
            self._failures, self._spread = self._failures + 1, 0.0
            return 0.0
        self._session = session
        begun = self._clock.seconds()
        if self._stopped:
            session.lose("stopping")
        asked_to_wait = await session.over
        self._session = None
        brief = not session.welcomed or self._clock.seconds() - begun < BRIEF_SECONDS
        self._failures = self._failures + 1 if brief else 0
        self._spread = session.interval * SPREAD if session.welcomed else 0.0
        return asked_to_wait

    def _backoff(self) -> float:
        """Give how long to wait: by the size of the fleet at first, then by how often it failed."""
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures, 12))
        return self._jitter(longest / 2, max(longest, self._spread))

    async def _pause(self, seconds: float) -> None:
        self._wait = deferLater(self._clock, seconds)
        # `stop` cancels the wait; the loop then sees the flag.
        with suppress(CancelledError):
            await self._wait
        self._wait = None
