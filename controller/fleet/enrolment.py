"""The port where a box with a one-time token gets its certificate: one frame each way."""

from collections.abc import Callable, Iterable
from functools import partial

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger

from controller.fleet.certificates import Issuer, record, revoke_of_box
from controller.fleet.events import publish
from controller.fleet.strangers import neighbourhood
from controller.fleet.words import FLEET
from controller.storage.database import Database, Transaction
from node_agent.wire.codec import WireError
from node_agent.wire.enrolment import (
    MAX_ENROLMENT_FRAME,
    Denied,
    Enrol,
    Enrolled,
    decode_request,
)
from node_agent.wire.framing import FrameProtocol
from pki.authority import Issued
from pki.enrolment import Token, TokenRefusedError
from pki.keys import KeyRefusedError, public_key_of
from pki.names import Name

log = Logger()

ENROLMENT_SECONDS = 15.0
"""From the connection to the answer, at most."""
ENROLMENTS_AT_ONCE = 64
"""Connections, at most; more are closed at once and try again."""
ENROLMENTS_OF_ONE = 16
"""Of one address, at most: an enrolment takes a moment, and needs no more."""


class EnrolmentRefusedError(Exception):
    """No certificate; ``args[0]`` is told to the box."""


async def enrol(
    tx: Transaction, token: Token, issuer: Issuer, cluster: str, csr: bytes
) -> tuple[Issued, list[int]]:
    """Use up a token, revoke what the box had, and issue anew; give the revoked serials too.

    One statement takes the token, so that of two requests with it one alone succeeds. Raises
    `EnrolmentRefusedError`; all is then rolled back.
    """
    box = await tx.maybe(
        """UPDATE enrolment_token t SET used_at = now() FROM box b
           WHERE t.digest = %s AND t.box_id = %s AND b.id = t.box_id
             AND t.used_at IS NULL AND t.expires_at > now() RETURNING b.name""",
        (token.digest, token.box_id),
    )
    if box is None:
        raise EnrolmentRefusedError(
            "this token is not valid: it was used, it has expired, or a newer one was made;"
            " hsctl pserver enroll NAME prints a new line"
        )
    revoked = await revoke_of_box(tx, token.box_id, "enrolled anew")
    issued = issuer.issue(csr, Name(cluster, "box", token.box_id))
    await record(tx, issued)
    await publish(tx, [{"box": box[0]}])
    return issued, revoked


class EnrolmentProtocol(FrameProtocol[Enrol]):
    """One box that enrols."""

    max_frame = MAX_ENROLMENT_FRAME

    def __init__(self, listener: "EnrolmentListener") -> None:
        super().__init__()
        self._listener = listener
        self._asked = False
        self._deadline: IDelayedCall | None = None

    def decode(self, frame: bytes) -> Enrol:
        """Read the request."""
        return decode_request(frame)

    def connectionMade(self) -> None:
        """Give it a short time, or none where too many are inside."""
        super().connectionMade()
        self._listener.inside.add(self)
        self._deadline = self._listener.reactor.callLater(
            ENROLMENT_SECONDS, self.lose, "no request in time"
        )
        if not self._listener.may_stay(self):
            self.lose("too many at once")

    def message_received(self, message: Enrol) -> None:
        """Answer the one request."""
        if self._asked:
            raise WireError("a second request")
        self._asked = True
        ensureDeferred(self._listener.answer(self, message))

    def connection_ended(self, reason: str) -> None:
        """Make room."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._listener.inside.discard(self)


class EnrolmentListener(ServerFactory):
    """Answers boxes that enrol."""

    noisy = False

    def __init__(
        self,
        reactor: IReactorTime,
        database: Database,
        issuer: Issuer,
        revoke: Callable[[Iterable[int]], None],
        *,
        cluster: str,
        agent_port: int,
    ) -> None:
        self.reactor = reactor
        self.inside: set[EnrolmentProtocol] = set()
        self._database = database
        self._issuer = issuer
        self._revoke = revoke
        self._cluster = cluster
        self._agent_port = agent_port

    def buildProtocol(self, addr: object) -> Protocol:
        """Make the protocol of a new connection."""
        return EnrolmentProtocol(self)

    def may_stay(self, newcomer: EnrolmentProtocol) -> bool:
        """Tell whether there is room for one more, of its address too."""
        place = neighbourhood(newcomer.peer_host())
        of_one = sum(neighbourhood(each.peer_host()) == place for each in self.inside)
        return len(self.inside) <= ENROLMENTS_AT_ONCE and of_one <= ENROLMENTS_OF_ONE

    def stop(self) -> None:
        """End every connection."""
        for protocol in tuple(self.inside):
            protocol.lose("the controller stops")

    async def answer(self, protocol: EnrolmentProtocol, request: Enrol) -> None:
        """Issue a certificate for a good token, or say why not; the token is never logged."""
        try:
            protocol.send(await self._enrolled(request))
            log.info("enrolled: peer={peer}", peer=protocol.peer_text())
        except (TokenRefusedError, KeyRefusedError, EnrolmentRefusedError) as error:
            log.warn(
                "enrolment refused: peer={peer} {error}", peer=protocol.peer_text(), error=error
            )
            protocol.send(Denied(detail=str(error)))
        except Exception:
            # The database is away, or an error of ours: the token is still good, the box may try
            # again, and nobody else may notice.
            log.failure("an enrolment failed")
            protocol.send(Denied(detail="the controller cannot enrol now; try again"))
        protocol.lose("answered", flush=True)

    async def _enrolled(self, request: Enrol) -> Enrolled:
        token = Token.parse(request.token)
        public_key_of(request.csr)  # before the token is spent
        issued, revoked = await self._database.transaction(
            FLEET,
            partial(
                enrol, token=token, issuer=self._issuer, cluster=self._cluster, csr=request.csr
            ),
            name="fleet.enrol",
        )
        self._revoke(revoked)
        ca = self._issuer.certificate_pem
        return Enrolled(
            certificate=issued.certificate_pem + ca,
            ca=ca,
            agent_port=self._agent_port,
            cluster=self._cluster,
        )
