"""Frames: nothing before the handshake, everything bounded, one end."""

import struct

from twisted.internet.testing import StringTransport

from node_agent.wire.codec import WireError, decode_from_agent, encode
from node_agent.wire.framing import FrameProtocol
from node_agent.wire.messages import Alive, FromAgent, SystemRequest


class Transport(StringTransport):
    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True


class Recorder(FrameProtocol[FromAgent]):
    max_frame = 100

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[FromAgent] = []
        self.ends: list[str] = []
        self.refuse = False

    def decode(self, frame: bytes) -> FromAgent:
        return decode_from_agent(frame)

    def message_received(self, message: FromAgent) -> None:
        if self.refuse:
            raise WireError("no")
        self.messages.append(message)

    def connection_ended(self, reason: str) -> None:
        self.ends.append(reason)


def connected(*, verified: bool = True) -> tuple[Recorder, Transport]:
    protocol, transport = Recorder(), Transport()
    protocol.makeConnection(transport)
    if verified:
        protocol.handshakeCompleted()
    return protocol, transport


def framed(frame: bytes) -> bytes:
    return struct.pack("!I", len(frame)) + frame


ALIVE = framed(encode(Alive()))


def test_nothing_is_read_before_the_peer_is_verified() -> None:
    protocol, _ = connected(verified=False)
    protocol.dataReceived(ALIVE)
    assert protocol.messages == []


def test_frames_may_come_in_any_pieces() -> None:
    protocol, _ = connected()
    for byte in ALIVE * 3:
        protocol.dataReceived(bytes([byte]))
    assert protocol.messages == [Alive()] * 3


def test_a_frame_that_is_announced_too_long_ends_the_connection() -> None:
    protocol, transport = connected()
    protocol.dataReceived(struct.pack("!I", 101))
    assert transport.aborted
    assert protocol.messages == []


def test_what_follows_a_bad_frame_is_not_read() -> None:
    protocol, transport = connected()
    protocol.dataReceived(ALIVE + framed(b"\xc0") + ALIVE)
    assert protocol.messages == [Alive()]
    assert transport.aborted


def test_a_message_that_is_refused_ends_the_connection() -> None:
    protocol, transport = connected()
    protocol.refuse = True
    protocol.dataReceived(ALIVE)
    assert transport.aborted
    assert protocol.reason_lost == "refused: no"


def test_nothing_is_read_while_reading_is_off() -> None:
    protocol, _ = connected()
    protocol.read(False)
    protocol.dataReceived(ALIVE)
    assert protocol.messages == []
    protocol.read(True)
    assert protocol.messages == [Alive()]


def test_what_is_sent_after_the_end_is_dropped_and_the_end_is_told_once() -> None:
    protocol, transport = connected()
    protocol.send(SystemRequest())
    sent = transport.value()
    protocol.connectionLost()
    protocol.connectionLost()
    protocol.send(SystemRequest())
    assert transport.value() == sent
    assert len(protocol.ends) == 1
