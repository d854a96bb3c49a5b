"""The other end of a control channel, in memory: it reads requests and writes replies by itself."""

import base64
import hmac
import struct
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from node_agent.effects.rndc import ControlChannel
from templates.service_type import ControlEndpoint

SECRET = base64.b64encode(b"a secret of thirty-two bytes !!!").decode()
ENDPOINT = ControlEndpoint("127.0.0.1", 953, "control", "hmac-sha256", SECRET)


def field(name: bytes, value: Any) -> bytes:
    kind = 1
    if isinstance(value, dict):
        kind, value = 2, b"".join(field(key, inner) for key, inner in value.items())
    return bytes([len(name)]) + name + struct.pack(">BI", kind, len(value)) + value


def signed(body: bytes, secret: str = SECRET) -> bytes:
    digest = base64.b64encode(hmac.digest(base64.b64decode(secret), body, "sha256"))
    message = b"\0\0\0\1" + field(b"_auth", {b"hsha": b"\xa3" + digest.ljust(88, b"\0")}) + body
    return struct.pack(">I", len(message)) + message


def reply_body(
    serial: int, *, nonce: bytes = b"77", result: int = 0, now: int = 0, **data: str
) -> bytes:
    control = {
        b"_ser": str(serial).encode(),
        b"_tim": str(now).encode(),
        b"_exp": str(now + 60).encode(),
        b"_rpl": b"1",
        b"_nonce": nonce,
    }
    answer = {b"type": b"x", b"result": str(result).encode()}
    answer |= {name.encode(): text.encode() for name, text in data.items()}
    return field(b"_ctrl", control) + field(b"_data", answer)


class Transport(StringTransport):
    """Ends the connection at once when it is aborted."""

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.aborted = True
        self.protocol.connectionLost(Failure(ConnectionDone()))


class FakeNamed:
    """Holds the connections that a channel made, newest last."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.channel = ControlChannel(self.reactor, ENDPOINT, now=self.reactor.seconds)
        self.transports: list[Transport] = []

    def accept(self) -> None:
        """Take the connection that is asked for, and answer its greeting."""
        factory = self.reactor.tcpClients[-1][2]
        transport = Transport()
        transport.protocol = factory.buildProtocol(None)
        self.transports.append(transport)
        transport.protocol.makeConnection(transport)
        assert self.asked() == "null"
        self.answer()

    @property
    def transport(self) -> Transport:
        return self.transports[-1]

    def asked(self) -> str | None:
        """Read the command that waits for an answer, None where there is none."""
        data = self.transport.value()
        if not data:
            return None
        (length,) = struct.unpack(">I", data[:4])
        assert len(data) == 4 + length, "more than one command is on its way"
        start = data.index(b"\x04type\x01") + 6
        (size,) = struct.unpack(">I", data[start : start + 4])
        return data[start + 4 : start + 4 + size].decode()

    @property
    def serial(self) -> int:
        data = self.transport.value()
        start = data.index(b"\x04_ser\x01") + 6
        (size,) = struct.unpack(">I", data[start : start + 4])
        return int(data[start + 4 : start + 4 + size])

    def send(self, data: bytes) -> None:
        self.transport.clear()
        self.transport.protocol.dataReceived(data)

    def answer(self, **fields: Any) -> None:
        fields.setdefault("now", int(self.reactor.seconds()))
        self.send(signed(reply_body(self.serial, **fields)))

    def hang_up(self) -> None:
        self.transport.clear()
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))
