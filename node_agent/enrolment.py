"""Enrolment, the box's side: prove the controller by the token, then get a certificate.

The private key is made here and never leaves. Nothing, not even the token, is sent before the
controller's chain has been verified against the CA fingerprint in the token.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol

from node_agent.config import ControllerAddress
from node_agent.wire.enrolment import (
    MAX_ENROLMENT_FRAME,
    Denied,
    Enrol,
    Enrolled,
    decode_answer,
)
from node_agent.wire.framing import FrameProtocol
from pki.authority import fingerprint_of
from pki.contexts import EnrolmentTLS
from pki.enrolment import Token
from pki.keys import new_key, replace_durably, signing_request, write_private
from pki.policy import PeerRefusedError, name_in, refusal

ENROLMENT_SECONDS = 30.0
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
CA_FILE = "ca.pem"
CONTROLLER_FILE = "controller"
"""Holds ``HOST:PORT`` where the controller that enrolled us listens for agents."""


class EnrolmentFailedError(Exception):
    """The box was not enrolled; ``args[0]`` says why and nothing was written."""


class _Enrolment(FrameProtocol[Enrolled | Denied]):
    max_frame = MAX_ENROLMENT_FRAME

    def __init__(self, request: Enrol, answer: "Deferred[Enrolled]", reactor: IReactorTime) -> None:
        super().__init__()
        self._request = request
        self._answer = answer
        self._reactor = reactor
        self._deadline: IDelayedCall | None = None

    def decode(self, frame: bytes) -> Enrolled | Denied:
        return decode_answer(frame)

    def connectionMade(self) -> None:
        super().connectionMade()
        self._deadline = self._reactor.callLater(
            ENROLMENT_SECONDS, self.lose, "the controller did not answer in time"
        )

    def peer_established(self) -> None:
        self.send(self._request)

    def message_received(self, message: Enrolled | Denied) -> None:
        if isinstance(message, Denied):
            self._end(EnrolmentFailedError(f"the controller refused: {message.detail}"))
        elif not self._answer.called:
            self._answer.callback(message)
        self.lose("answered")

    def connection_ended(self, reason: str) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        connection = self.tls_connection()
        refused = None if connection is None else refusal(connection)
        if refused is not None:
            reason = f"this is not the token's controller: {refused}"
        self._end(EnrolmentFailedError(reason))

    def _end(self, error: EnrolmentFailedError) -> None:
        if not self._answer.called:
            self._answer.errback(error)


async def enrol(
    reactor: Any, host: str, port: int, *, token: Token, machine_id: str, directory: Path
) -> Enrolled:
    """Enrol this box and write its key (0600), certificate and CA into ``directory``, durably.

    Raises `EnrolmentFailedError`.
    """
    key = new_key()
    request = Enrol(token=token.text, csr=signing_request(key), machine_id=machine_id)
    answer: Deferred[Enrolled] = Deferred()
    endpoint = wrapClientTLS(
        EnrolmentTLS(token.ca_fingerprint), HostnameEndpoint(reactor, host, port)
    )
    factory = Factory.forProtocol(lambda: cast(Protocol, _Enrolment(request, answer, reactor)))
    factory.noisy = False
    try:
        await endpoint.connect(factory)
    except Exception as error:
        # Whatever kept the connection from being made, the operator is told in one line.
        raise EnrolmentFailedError(f"no connection to {host}:{port}: {error}") from error
    enrolled = await answer
    check_answer(enrolled, token)
    save(directory, key, enrolled, host)
    return enrolled


def save(directory: Path, key: bytes, enrolled: Enrolled, host: str) -> None:
    """Write what an enrolled box owns; the certificate last, so that with it all is there.

    ``host`` is where the controller was met: its agents' door is there too.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(directory / KEY_FILE, key)
    replace_durably(directory / CA_FILE, enrolled.ca, mode=0o644)
    at = f"{f'[{host}]' if ':' in host else host}:{enrolled.agent_port}\n"
    replace_durably(directory / CONTROLLER_FILE, at.encode(), mode=0o644)
    replace_durably(directory / CERTIFICATE_FILE, enrolled.certificate, mode=0o644)


def controllers_met(directory: Path) -> tuple[ControllerAddress, ...]:
    """Give the controller that enrolled this box, for a configuration that names none."""
    try:
        return (ControllerAddress.parse((directory / CONTROLLER_FILE).read_text().strip()),)
    except (OSError, ValueError):
        return ()


def check_answer(enrolled: Enrolled, token: Token) -> None:
    """Refuse an answer that is not this box's certificate by the token's CA."""
    try:
        if fingerprint_of(enrolled.ca) != token.ca_fingerprint:
            raise EnrolmentFailedError("the CA that was sent is not the token's")
        name = name_in(enrolled.certificate)
        leaf = x509.load_pem_x509_certificate(enrolled.certificate)
        if not leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc:
            raise EnrolmentFailedError(
                f"the certificate that was sent is valid from {leaf.not_valid_before_utc} to"
                f" {leaf.not_valid_after_utc}, and by this box's clock not now: set the clock right"
                " that is wrong, here or on the controller, then enrol with a new line"
            )
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(enrolled.ca))
    except (PeerRefusedError, ValueError, TypeError) as error:
        raise EnrolmentFailedError(f"the certificate that was sent is not good: {error}") from error
    if name.role != "box" or name.subject != token.box_id or name.cluster != enrolled.cluster:
        raise EnrolmentFailedError(f"the certificate that was sent is for {name.uri}")
