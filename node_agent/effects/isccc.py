"""The messages of named's control channel: tables of binary values under an HMAC.

There is no RFC; this is what ``lib/isccc`` of BIND 9 reads and writes. A message is a length, the
version 1, and a table of three: ``_auth`` (the digest over everything after itself), ``_ctrl``
(serial, times, nonce) and ``_data``. Pure: times and serials come from the caller.
"""

import base64
import hmac
import struct
from collections.abc import Mapping

import attrs

MAX_REQUEST = 32000
"""Bytes of a command: named closes the connection above 32 KiB."""
MAX_REPLY = 1 << 20
"""Bytes of a reply that are accepted."""
LIFETIME = 60
"""Seconds that a message is good for."""

_BINARY = 1
_TABLE = 2
_VERSION = 1
_HMAC_SHA256 = 163
_DIGEST_LENGTH = 88
_MAX_DEPTH = 4
_HEAD = struct.Struct(">BI")
_LENGTH = struct.Struct(">I")

Table = dict[bytes, "bytes | Table"]


class ControlProtocolError(Exception):
    """A reply cannot be read or is not from the named that holds our key."""


@attrs.frozen
class Reply:
    """What named answered: ``result`` 0 is success, ``error`` its word for the rest."""

    serial: int
    nonce: bytes
    result: int
    error: str
    text: str


def request(secret: bytes, command: str, *, serial: int, now: int, nonce: bytes | None) -> bytes:
    """Write one command, with its length before it; ``nonce`` None only in the first, ``null``."""
    control: Table = {
        b"_ser": b"%d" % serial,
        b"_tim": b"%d" % now,
        b"_exp": b"%d" % (now + LIFETIME),
    }
    if nonce is not None:
        control[b"_nonce"] = nonce
    signed = _write({b"_ctrl": control, b"_data": {b"type": command.encode()}})
    digest = _HMAC_SHA256.to_bytes(1, "big") + _digest(secret, signed)
    message = _LENGTH.pack(_VERSION) + _write({b"_auth": {b"hsha": digest}}) + signed
    return _LENGTH.pack(len(message)) + message


def reply(secret: bytes, message: bytes, *, now: int) -> Reply:
    """Read one message without its length; raises `ControlProtocolError`."""
    if message[:4] != _LENGTH.pack(_VERSION):
        raise ControlProtocolError("not version 1 of the control protocol")
    name, auth, start = _element(memoryview(message), 4, 0)
    if name != b"_auth" or not isinstance(auth, dict):
        raise ControlProtocolError("the message does not begin with its signature")
    expected = _HMAC_SHA256.to_bytes(1, "big") + _digest(secret, message[start:])
    found = auth.get(b"hsha")
    if not isinstance(found, bytes) or not hmac.compare_digest(found, expected):
        raise ControlProtocolError("the message is not signed with the lane's key")
    body = _read(memoryview(message)[start:], 0)
    control, data = body.get(b"_ctrl"), body.get(b"_data")
    if not isinstance(control, dict) or not isinstance(data, dict) or b"_rpl" not in control:
        raise ControlProtocolError("the message is not a reply")
    if _number(control, b"_exp") < now:
        raise ControlProtocolError("the message is too old")
    return Reply(
        serial=_number(control, b"_ser"),
        nonce=_binary(control, b"_nonce"),
        result=_number(data, b"result"),
        error=_binary(data, b"err").decode(errors="replace"),
        text=_binary(data, b"text").decode(errors="replace"),
    )


def _digest(secret: bytes, signed: bytes) -> bytes:
    """The digest in base64, in its field of fixed length."""
    text = base64.b64encode(hmac.digest(secret, signed, "sha256"))
    return text.ljust(_DIGEST_LENGTH, b"\0")


def _write(table: Mapping[bytes, "bytes | Table"]) -> bytes:
    parts = []
    for name, value in table.items():
        kind, content = (_TABLE, _write(value)) if isinstance(value, dict) else (_BINARY, value)
        parts += [bytes([len(name)]), name, _HEAD.pack(kind, len(content)), content]
    return b"".join(parts)


def _read(data: memoryview, depth: int) -> Table:
    table: Table = {}
    position = 0
    while position < len(data):
        name, value, position = _element(data, position, depth)
        if name in table:
            raise ControlProtocolError("a field is there twice")
        table[name] = value
    return table


def _element(data: memoryview, start: int, depth: int) -> tuple[bytes, "bytes | Table", int]:
    if depth > _MAX_DEPTH:
        raise ControlProtocolError("tables are nested too deep")
    try:
        name_end = start + 1 + data[start]
        kind, length = _HEAD.unpack_from(data, name_end)
    except (IndexError, struct.error):
        raise ControlProtocolError("the message is cut short") from None
    begin = name_end + _HEAD.size
    end = begin + length
    if end > len(data):
        raise ControlProtocolError("the message is cut short")
    name, content = bytes(data[start + 1 : name_end]), data[begin:end]
    if kind == _TABLE:
        return name, _read(content, depth + 1), end
    if kind != _BINARY:
        raise ControlProtocolError(f"values of kind {kind} are not known")
    return name, bytes(content), end


def _binary(table: Table, name: bytes) -> bytes:
    value = table.get(name, b"")
    if not isinstance(value, bytes):
        raise ControlProtocolError(f"{name.decode()} is not a value")
    return value


def _number(table: Table, name: bytes) -> int:
    value = _binary(table, name)
    if not 0 < len(value) <= 12 or not value.isdigit():
        raise ControlProtocolError(f"{name.decode()} is not a number")
    return int(value)
