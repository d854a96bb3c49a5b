"""HTTP/1.1 connections with bounds: what a client may send, how long it may take, whose host.

Twisted refuses the known ways to smuggle a request (S29: two lengths, a length beside chunks, odd
numbers); this module adds the bounds that it leaves open and refuses hosts that are not ours (S28).
"""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http, server

from controller.web.problems import CONTENT_TYPE, Problem, problem

BODY = 1024 * 1024
"""Bytes of a request's body, except for imports."""
LARGE_BODY = 8 * 1024 * 1024
"""Bytes of the body of an import."""
LARGE_BODIES_AT_ONCE = 4
"""Bodies above `BODY` that are taken at the same time: they are read before anybody signed in."""
REQUEST_SECONDS = 30.0
"""From the start of a connection, or the first byte of a later request, to its last byte."""
IDLE_SECONDS = 60.0
"""A connection without a request in work is closed after this silence."""
HEADERS = 64
HEADER_BYTES = 16 * 1024
_CLOSING_SECONDS = 5.0


class SiteRules(Protocol):
    """What a connection asks of the site that it belongs to."""

    headers: dict[bytes, bytes]
    large_bodies: int

    def serves(self, host: bytes) -> bool:
        """Whether this Host is one of ours."""

    def failed(self, reason: Failure) -> Problem:
        """Log a failure of our own and give what a person is told of it."""


class BoundedRequest(server.Request):
    """A request whose body is bounded and whose host is one of ours."""

    channel: Any
    _refused = False
    _taken = 0
    _limit = BODY

    @property
    def rules(self) -> SiteRules:
        """What the site says of its requests."""
        site: SiteRules = self.channel.site
        return site

    def gotLength(self, length: int | None) -> None:
        """Refuse a body that is too large before it is read."""
        rules = self.rules
        if length is not None and length > BODY:
            if length <= LARGE_BODY and rules.large_bodies < LARGE_BODIES_AT_ONCE:
                self._limit = LARGE_BODY
                rules.large_bodies += 1
                self.notifyFinish().addBoth(self._large_body_done, rules)
            else:
                self._refuse_body(length)
                length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body, up to the bound (chunked bodies name no length before)."""
        self._taken += len(data)
        if self._refused:
            return
        if self._taken > self._limit:
            self._refuse_body(self._taken)
            return
        super().handleContentChunk(data)

    def process(self) -> None:
        """Check host and form of the request, then find who answers it."""
        if self._refused:
            return
        for name, value in self.rules.headers.items():
            self.responseHeaders.setRawHeaders(name, [value])
        refusal = self._refusal()
        if refusal is None:
            super().process()
        else:
            self.answer_problem(refusal)

    def answer_problem(self, refusal: Problem) -> None:
        """Answer with problem details and finish."""
        body = refusal.body()
        self.setResponseCode(refusal.status)
        for name, value in refusal.headers.items():
            self.responseHeaders.setRawHeaders(name, [value])
        self.responseHeaders.setRawHeaders("Content-Type", [CONTENT_TYPE])
        self.responseHeaders.setRawHeaders("Content-Length", [str(len(body))])
        self.write(body)
        self.finish()

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer 500 with an id that stands in the log beside the traceback."""
        self.answer_problem(self.rules.failed(reason))
        return reason

    def _refusal(self) -> Problem | None:
        if not self.path.startswith(b"/"):
            return problem(400, "request.target", "the request target must be a path").problem
        hosts = self.requestHeaders.getRawHeaders(b"host") or []
        if len(hosts) != 1 or not self.rules.serves(hosts[0]):
            return problem(421, "request.host", "this host is not served here").problem
        return None

    def _refuse_body(self, size: int) -> None:
        self._refused = True
        self.channel.refuse(
            problem(
                413,
                "request.body.too-large",
                f"the body is too large ({size} bytes)",
                allowed=f"at most {BODY} bytes, {LARGE_BODY} for an import",
            ).problem
        )

    @staticmethod
    def _large_body_done(_: object, rules: SiteRules) -> None:
        rules.large_bodies -= 1


class BoundedChannel(http.HTTPChannel):
    """A connection that must finish each request in time, however slowly it sends (slow loris)."""

    maxHeaders = HEADERS
    totalHeadersSize = HEADER_BYTES
    MAX_LENGTH = HEADER_BYTES
    abortTimeout = int(_CLOSING_SECONDS)
    callLater: Any
    transport: Any
    _deadline: IDelayedCall | None = None
    _in_work = False
    _refused = False

    def connectionMade(self) -> None:
        """Start the clock of the first request (it covers the TLS handshake)."""
        super().connectionMade()
        self._start_deadline()

    def dataReceived(self, data: bytes) -> None:
        """Start the clock of a request with its first byte; read nothing after a refusal."""
        if self._refused:
            return
        if not self._in_work and self._deadline is None:
            self._start_deadline()
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """Stop the clock: the request is here."""
        self._stop_deadline()
        if self._refused:
            return
        self._in_work = True
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        """Go on with the next request."""
        self._in_work = False
        super().requestDone(request)

    def refuse(self, refusal: Problem) -> None:
        """Answer before the request is whole, and close: the rest of it is not read."""
        body = refusal.body()
        head = (
            f"HTTP/1.1 {refusal.status} Refused\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._refused = True
        self._stop_deadline()
        self.transport.write(head.encode("ascii") + body)
        self._deadline = self.callLater(_CLOSING_SECONDS, self.transport.abortConnection)
        self.loseConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a request line or header that is too long.

        Twisted's own answer is to close, which waits for the producer that is still registered.
        """
        self.refuse(problem(431, "request.line.too-long", "a line is too long").problem)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the clock."""
        self._stop_deadline()
        super().connectionLost(reason)

    def _start_deadline(self) -> None:
        self._deadline = self.callLater(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        self.timeoutConnection()

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()


class HangUp:
    """Whether the client of a request hung up, and calls for the moment it does."""

    def __init__(self, request: http.Request) -> None:
        self._gone = False
        self._calls: list[Callable[[], None]] = []
        request.notifyFinish().addErrback(self._hung_up)

    def __call__(self) -> bool:
        """Whether it happened."""
        return self._gone

    def then(self, call: Callable[[], None]) -> None:
        """Have ``call`` made when the client hangs up."""
        self._calls.append(call)

    def _hung_up(self, _: Failure) -> None:
        self._gone = True
        for call in self._calls:
            call()
