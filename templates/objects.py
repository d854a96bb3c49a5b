"""Desired objects: what a logical server must serve, as it is named, encoded and stored."""

from collections.abc import Callable
from typing import Any, Literal, NewType

import attrs
import msgspec

SpecBytes = NewType("SpecBytes", bytes)
"""The canonical encoding of a specification: msgpack with sorted keys, equal for equal specs."""


Disturbance = Literal["nothing", "reload", "restart"]
"""What a daemon goes through when an object is applied."""


class SpecError(Exception):
    """A specification cannot be decoded: unknown kind or version, wrong field, wrong type."""


@attrs.frozen(order=True)
class ObjectId:
    """The name of an object within one logical server."""

    kind: str
    key: str


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every specification. Unknown fields are refused, so a typo never passes silently."""


@attrs.frozen
class ObjectKind:
    """One kind of object that a service type serves.

    ``unit`` names the render unit that an object belongs to: objects of one unit are planned,
    checked, applied and quarantined together (an account's sites, one zone).
    """

    name: str
    version: int
    spec: Any
    """The `Spec` subclass, or a tagged union of them."""
    unit: Callable[[str, Any], str]
    disturbs: Callable[[Any, Any], Disturbance]
    """(before, after), None where absent: what the daemon goes through for it at the most. A plan
    of the same step never asks for more, so that a dry run can say it without a box. `undisturbed`
    where that is nothing whatever comes: nobody has to know then what was before."""


def undisturbed(before: Any, after: Any) -> Disturbance:
    """Tell that a daemon goes on as it was."""
    return "nothing"


_encoder = msgspec.msgpack.Encoder(order="deterministic")


def encode_spec(spec: Spec) -> SpecBytes:
    """Give the canonical bytes of ``spec``."""
    return SpecBytes(_encoder.encode(spec))


def decode_spec(kind: ObjectKind, version: int, data: bytes) -> Any:
    """Read a specification.

    Raises `SpecError` where the version is newer than this program knows or the bytes do not fit.
    """
    if version != kind.version:
        raise SpecError(f"{kind.name} version {version} is not known here (this is {kind.version})")
    try:
        return msgspec.msgpack.decode(data, type=kind.spec)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SpecError(f"{kind.name}: {error}") from error
