"""A link that is cut after so many TLS records, in the middle of whatever was being said."""

import socket
import struct
import threading
from contextlib import suppress

import attrs

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a reset, as a link that breaks ends


@attrs.define
class CutLink:
    """Relays connections to ``target``; `cut_after` says when the one that there is then breaks."""

    target: tuple[str, int]
    cuts: int = 0
    dialled: int = 0
    _left: int | None = None
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _listener: socket.socket = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def cut_after(self, records: int | None) -> None:
        """Break the link once so many more records have passed, in both directions together."""
        with self._lock:
            self._left = records

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.dialled += 1
                far = socket.create_connection(self.target)
                for here, there in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=(here, there), daemon=True).start()

    def _relay(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while record := _record(here):
                if self._breaks():
                    break
                there.sendall(record)
        for each in (here, there):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _breaks(self) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= 1
            if self._left > 0:
                return False
            self._left = None
            self.cuts += 1
            return True


def _record(connection: socket.socket) -> bytes:
    """Read one TLS record (RFC 8446, 5.1); empty at the end."""
    head = _exactly(connection, 5)
    return head + _exactly(connection, int.from_bytes(head[3:5], "big")) if head else b""


def _exactly(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        part = connection.recv(size - len(read))
        if not part:
            return b""
        read += part
    return read
