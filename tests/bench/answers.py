"""Asking the servers from outside, as any client would, until they answer what they should."""

import socket
import struct
import time
from collections.abc import Callable

GAP = 0.0005
"""Seconds between two questions: fine enough to measure, rare enough not to take the machine."""
PATIENCE = 60.0


class NeverAnsweredError(Exception):
    """A server did not come to answer in `PATIENCE` seconds."""


class NameServerClient:
    """A kept UDP socket to one name server."""

    def __init__(self, address: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(1.0)
        self._socket.connect((address, port))
        self._number = 0

    def serial(self, zone: str) -> int | None:
        """Give the serial that is answered with authority, else None."""
        self._number = (self._number + 1) % 65536
        name = b"".join(bytes([len(label)]) + label.encode() for label in zone.split(".")) + b"\0"
        question = name + struct.pack(">HH", 6, 1)
        self._socket.send(struct.pack(">HHHHHH", self._number, 0, 1, 0, 0, 0) + question)
        try:
            reply = self._socket.recv(4096)
            while reply[:2] != struct.pack(">H", self._number):
                reply = self._socket.recv(4096)
        except TimeoutError:
            return None
        _, flags, _, answers, _, _ = struct.unpack(">HHHHHH", reply[:12])
        if flags & 0x040F != 0x0400 or answers != 1:
            return None
        start = 12 + len(question) + 2 + 8  # a pointer to the name; type, class, TTL
        (length,) = struct.unpack(">H", reply[start : start + 2])
        # The five numbers end the SOA's data (RFC 1035 section 3.3.13).
        return int.from_bytes(reply[start + 2 + length - 20 : start + 2 + length - 16], "big")

    def until(self, zone: str, serial: int) -> None:
        """Ask until ``serial`` or a later one is answered."""

        def reached() -> bool:
            answered = self.serial(zone)
            return answered is not None and (answered - serial) % 2**32 < 2**31

        _until(reached, f"{zone} with serial {serial}")

    def close(self) -> None:
        self._socket.close()


class WebClient:
    """A kept connection to a web server."""

    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._socket: socket.socket | None = None

    def status(self, host: str) -> int:
        """Give the status of ``/`` of a site."""
        try:
            return self._ask(host)
        except OSError:  # the kept connection had its time
            self.close()
            return self._ask(host)

    def until(self, host: str) -> None:
        """Ask until the site's page comes."""
        _until(lambda: self.status(host) == 200, f"http://{host}/")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, host: str) -> int:
        if self._socket is None:
            self._socket = socket.create_connection(self._place, timeout=5)
        self._socket.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        reply = b""
        while b"\r\n\r\n" not in reply:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionResetError("the web server closed the connection")
            reply += part
        if b"connection: close" in reply.lower():
            self.close()
        return int(reply.split(b" ", 2)[1])


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise NeverAnsweredError(what)
        time.sleep(GAP)
