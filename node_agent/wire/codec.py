"""Messages to bytes and back: msgpack, strict types, bounded size, depth and numbers.

A frame that does not fit is a `WireError`, whatever was wrong with it: the peer is not trusted, so
every way in which decoding can fail ends in this one exception.
"""

import math
from collections.abc import Iterable
from itertools import chain
from types import NoneType
from typing import Any, cast

import msgspec

from node_agent.wire.messages import FromAgent, FromController, Message

MAX_FRAME = 8 * 1024 * 1024
"""Bytes of one frame, at most."""
MAX_DEPTH = 16
"""How deep free-form data (`SystemReport.facts`) may nest."""
MAX_VALUES = 200_000
"""Values of one message, at most: whoever reads it does nothing else meanwhile (S38)."""
MAX_INTEGER = 2**63 - 1
"""Integers beyond this do not fit the database's ``bigint``."""


_SCALARS = (str, bytes, bool, NoneType)


class WireError(Exception):
    """A frame is not a message of this protocol; ``args[0]`` says why, in words safe to log."""


_encoder = msgspec.msgpack.Encoder()
_from_agent: msgspec.msgpack.Decoder[FromAgent] = msgspec.msgpack.Decoder(FromAgent)
_from_controller: msgspec.msgpack.Decoder[FromController] = msgspec.msgpack.Decoder(FromController)


def encode(message: Message) -> bytes:
    """Give the frame of ``message``; raises `WireError` where it would be larger than a frame."""
    frame = _encoder.encode(message)
    if len(frame) > MAX_FRAME:
        raise WireError(f"{type(message).__name__} of {len(frame)} bytes is larger than a frame")
    return frame


def decode_from_agent(frame: bytes) -> FromAgent:
    """Read what an agent said; raises `WireError`."""
    return cast(FromAgent, _decode(_from_agent, frame))


def decode_from_controller(frame: bytes) -> FromController:
    """Read what the controller said; raises `WireError`."""
    return cast(FromController, _decode(_from_controller, frame))


def _decode(decoder: msgspec.msgpack.Decoder[Any], frame: bytes) -> Message:
    if len(frame) > MAX_FRAME:
        raise WireError(f"a frame of {len(frame)} bytes")
    try:
        message: Message = decoder.decode(frame)
        _check(message, MAX_DEPTH, MAX_VALUES)
    except RecursionError:
        raise WireError("nested too deeply") from None
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise WireError(printable(str(error))) from None
    return message


def _check(value: object, depth: int, room: int) -> int:
    """Refuse what msgpack can say and nobody here can store: NaN, huge integers, deep nesting, more
    than ``room`` values. Gives the room that is left.
    """
    if room <= 0:
        raise WireError(f"more than {MAX_VALUES} values")
    room -= 1
    if isinstance(value, _SCALARS):
        return room
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise WireError("an integer is out of range")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise WireError("a number is not finite")
    elif depth == 0:
        raise WireError("nested too deeply")
    else:
        for inner in _parts(value):
            room = _check(inner, depth - 1, room)
    return room


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return chain(value.keys(), value.values())
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, msgspec.Struct):
        return (getattr(value, name) for name in value.__struct_fields__)
    raise WireError(f"{type(value).__name__} has no place in a message")


def printable(text: str, limit: int = 500) -> str:
    """Give text of a peer's making without control characters, bounded: safe for logs."""
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return shown if len(text) <= limit else shown + "..."
