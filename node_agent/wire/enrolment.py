"""The messages of enrolment: one frame each way, on a port of their own.

Here the agent has no certificate yet. It has verified the controller's chain against the CA
fingerprint in its token before it says anything.
"""

from typing import TypeVar

import msgspec

from node_agent.wire.codec import WireError, printable
from node_agent.wire.messages import Message

AnswerT = TypeVar("AnswerT")

MAX_ENROLMENT_FRAME = 64 * 1024
"""Bytes of one frame of enrolment, at most."""


class Enrol(Message, frozen=True):
    """The agent's request: the token's text, a CSR (PEM) for its own new key, its machine id."""

    token: str
    csr: bytes
    machine_id: str


class Enrolled(Message, frozen=True):
    """The answer: certificate chain and CA (PEM), the port of sessions, the cluster's id."""

    certificate: bytes
    ca: bytes
    agent_port: int
    cluster: str


class Denied(Message, frozen=True, tag="Refused"):
    """The answer to a token or CSR that is not accepted; ``detail`` is for a person."""

    detail: str


_request = msgspec.msgpack.Decoder(Enrol)
_answer: msgspec.msgpack.Decoder[Enrolled | Denied] = msgspec.msgpack.Decoder(Enrolled | Denied)


def decode_request(frame: bytes) -> Enrol:
    """Read an agent's request; raises `WireError`."""
    return _decode(_request, frame)


def decode_answer(frame: bytes) -> Enrolled | Denied:
    """Read the controller's answer; raises `WireError`."""
    return _decode(_answer, frame)


def _decode(decoder: msgspec.msgpack.Decoder[AnswerT], frame: bytes) -> AnswerT:
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
        raise WireError(printable(str(error))) from None
