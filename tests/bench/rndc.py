"""A control client of its own for the limit: one blocking socket, kept, and nothing of ours."""

import base64
import hmac
import random
import socket
import struct
import time

Tree = dict[str, "bytes | Tree"]


class RndcError(Exception):
    """named refused a command, in its own words."""


class Rndc:
    """One kept control connection; a closed one is opened anew before the next command."""

    def __init__(self, address: str, port: int, secret: str) -> None:
        self._place = (address, port)
        self._secret = base64.b64decode(secret)
        # named takes the same number within one second for a replay, whoever sends it.
        self._serial = random.SystemRandom().randrange(1 << 31)
        self._nonce = b""
        self._used = 0.0
        self._socket = self._connect()

    def command(self, text: str) -> str:
        """Run one command; give named's words."""
        if time.monotonic() - self._used > 20:  # named closes idle connections after 30 s
            self.close()
            self._socket = self._connect()
        return self._exchange(text)

    def close(self) -> None:
        self._socket.close()

    def _connect(self) -> socket.socket:
        self._socket = socket.create_connection(self._place, timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._nonce = b""
        self._exchange("null")
        return self._socket

    def _exchange(self, text: str) -> str:
        self._serial += 1
        now = int(time.time())
        control: Tree = {
            "_ser": str(self._serial).encode(),
            "_tim": str(now).encode(),
            "_exp": str(now + 60).encode(),
        }
        if self._nonce:
            control["_nonce"] = self._nonce
        body = _packed({"_ctrl": control, "_data": {"type": text.encode()}})
        digest = base64.b64encode(hmac.digest(self._secret, body, "sha256")).ljust(88, b"\0")
        message = struct.pack(">I", 1) + _packed({"_auth": {"hsha": b"\xa3" + digest}}) + body
        self._socket.sendall(struct.pack(">I", len(message)) + message)
        (length,) = struct.unpack(">I", self._read(4))
        reply = _unpacked(self._read(length)[4:])
        control_part, data = reply["_ctrl"], reply["_data"]
        assert isinstance(control_part, dict)
        assert isinstance(data, dict)
        nonce = control_part["_nonce"]
        assert isinstance(nonce, bytes)
        self._nonce = nonce
        self._used = time.monotonic()
        if data.get("result", b"0") != b"0":
            raise RndcError(f"{text[:80]}: {data.get('err')!r} {data.get('text')!r}")
        words = data.get("text", b"")
        assert isinstance(words, bytes)
        return words.decode()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            if not part:
                raise RndcError("named closed the control connection")
            data += part
        return data


def _packed(tree: Tree) -> bytes:
    parts = []
    for name, value in tree.items():
        kind, content = (2, _packed(value)) if isinstance(value, dict) else (1, value)
        head = struct.pack(">BI", kind, len(content))
        parts.append(bytes([len(name)]) + name.encode() + head + content)
    return b"".join(parts)


def _unpacked(data: bytes) -> Tree:
    tree: Tree = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        name = data[at + 1 : end].decode()
        kind, length = struct.unpack(">BI", data[end : end + 5])
        content = data[end + 5 : end + 5 + length]
        tree[name] = _unpacked(content) if kind == 2 else content
        at = end + 5 + length
    return tree
