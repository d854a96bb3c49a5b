"""A controller that says what a test tells it to: real TLS, no database."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory

from node_agent.enrolment import CA_FILE, CERTIFICATE_FILE, KEY_FILE
from node_agent.wire.codec import decode_from_agent
from node_agent.wire.framing import FrameProtocol
from node_agent.wire.messages import (
    Assign,
    Batch,
    FromAgent,
    Hello,
    Item,
    LaneAssignment,
    Outcomes,
    RenewalRequest,
    Renewed,
    Welcome,
)
from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request, write_private
from pki.names import Name
from tests.free_ports import free_port

CLUSTER = "scripted"
BOX = "0b5e55ed-0000-4000-8000-000000000001"
HISTORY = "7e57ab1e-0000-4000-8000-000000000000"


class _Session(FrameProtocol[FromAgent]):
    def __init__(self, controller: "ScriptedController") -> None:
        super().__init__()
        self._controller = controller

    def decode(self, frame: bytes) -> FromAgent:
        return decode_from_agent(frame)

    def message_received(self, message: FromAgent) -> None:
        self._controller.heard(self, message)

    def connection_ended(self, reason: str) -> None:
        self._controller.lost(self, reason)


class ScriptedController:
    """Answers a Hello with Welcome and Assign; everything else is up to the test."""

    def __init__(self, directory: Path, lanes: tuple[LaneAssignment, ...] = ()) -> None:
        self.authority = Authority.create(directory / "ca", CLUSTER)
        self.lanes = lanes
        self.messages: list[FromAgent] = []
        self.session: _Session | None = None
        self.interval = 10.0
        self.protocol = 1
        self.history = HISTORY
        self.port = free_port()
        self.ended: list[str] = []
        self._batches = itertools.count(1)
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self._listening: Any = None

    async def listen(self) -> None:
        key = new_key()
        issued = self.authority.issue(signing_request(key), Name(CLUSTER, "controller"))
        tls = MutualTLS(issued.certificate_pem, key, self.authority.certificate_pem)
        factory = Factory.forProtocol(lambda: _Session(self))
        factory.noisy = False
        endpoint = TCP4ServerEndpoint(reactor, self.port, interface="127.0.0.1")
        self._listening = await endpoint.listen(TLSMemoryBIOFactory(tls, False, factory))

    async def close(self) -> None:
        if self._listening is not None:
            await self._listening.stopListening()
            self._listening = None
        if self.session is not None:
            self.session.lose("closing")
            await self.until(lambda: self.session is None)

    def enrol(self, state: Path, *, days: int = 90) -> None:
        state.mkdir(parents=True, exist_ok=True)
        key = new_key()
        issued = self.authority.issue(signing_request(key), Name(CLUSTER, "box", BOX), days)
        write_private(state / KEY_FILE, key)
        (state / CERTIFICATE_FILE).write_bytes(issued.certificate_pem)
        (state / CA_FILE).write_bytes(self.authority.certificate_pem)

    # --- what sessions do ---

    def heard(self, session: _Session, message: FromAgent) -> None:
        self.messages.append(message)
        if isinstance(message, Hello):
            self.session = session
            session.send(
                Welcome(
                    protocol=self.protocol,
                    history=self.history,
                    session_epoch=1,
                    interval=self.interval,
                    now=time.time(),
                )
            )
            session.send(Assign(lanes=self.lanes))
        elif isinstance(message, RenewalRequest):
            issued = self.authority.issue(message.csr, Name(CLUSTER, "box", BOX))
            session.send(Renewed(certificate=issued.certificate_pem))
        self._look()

    def lost(self, session: _Session, reason: str) -> None:
        self.ended.append(reason)
        if session is self.session:
            self.session = None
        self._look()

    # --- what tests do ---

    def send(self, message: Any) -> None:
        assert self.session is not None
        self.session.send(message)

    def send_batch(self, lane: str, *items: Item, through: int | None = None) -> None:
        newest = max((item.revision for item in items), default=0)
        self.send(
            Batch(
                lane=lane,
                batch=next(self._batches),
                history=self.history,
                through=newest if through is None else through,
                items=items,
            )
        )

    async def until(self, holds: Callable[[], Any]) -> Any:
        found = holds()
        if found:
            return found
        waiting: Deferred[Any] = Deferred()
        self._waiting.append((holds, waiting))
        return await waiting

    def said(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def settled(self, lane: str) -> int:
        """The newest settled revision that was said of a lane."""
        words = [m for m in self.said(Outcomes) if m.lane == lane]
        return words[-1].settled_revision if words else -1

    def _look(self) -> None:
        for waiting in tuple(self._waiting):
            found = waiting[0]()
            if found:
                self._waiting.remove(waiting)
                waiting[1].callback(found)
