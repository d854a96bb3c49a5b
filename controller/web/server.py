"""The site of panel and API: hosts, security headers, TLS, connections per address."""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

import re
import secrets
from collections import Counter
from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from controller.web.channel import IDLE_SECONDS, BoundedChannel, BoundedRequest
from controller.web.problems import Problem, problem

CONNECTIONS_PER_ADDRESS = 256
CONNECTIONS = 4096

_HOST = re.compile(r"^(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::\d{1,5})?$")

_log = Logger()

_HEADERS = {
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    b"form-action 'none'",
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
    b"Server": b"heliosphere",
}


class ControllerSite(server.Site):
    """The one site: ``/api/`` goes to the API, all else to the panel.

    ``hosts`` are the names and addresses that it answers to, without ports (a port may be another
    one after forwarding). Headers that the panel needs otherwise, its responses replace.
    """

    protocol: Any = BoundedChannel
    requestFactory = BoundedRequest

    def __init__(
        self,
        api: IResource,
        panel: IResource | None,
        hosts: Iterable[str],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(_Root(api, panel), timeout=IDLE_SECONDS, reactor=reactor)
        self.headers = dict(_HEADERS)
        self.large_bodies = 0
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    def serves(self, host: bytes) -> bool:
        """Whether this Host header names us, with or without a port."""
        match = _HOST.match(host.decode("ascii", "replace").lower())
        return match is not None and (match["six"] or match["name"].rstrip(".")) in self._hosts

    def failed(self, reason: Failure) -> Problem:
        """Log a failure under a fresh id and give what a person is told."""
        incident = secrets.token_hex(6)
        _log.failure("request failed, incident {incident}", reason, incident=incident)
        return problem(
            500,
            "controller.failed",
            f"the controller failed; its log says more under incident {incident}",
            value=incident,
        ).problem

    def getResourceFor(self, request: BoundedRequest) -> IResource:
        """Find who answers; say nothing of the software that serves."""
        request.responseHeaders.setRawHeaders(b"Server", [_HEADERS[b"Server"]])
        found: IResource = super().getResourceFor(request)
        return found

    def log(self, request: http.Request) -> None:
        """Keep no access log: what was changed is in the audit, what failed is in the log."""

    def acceptableProtocols(self) -> list[bytes]:
        """Speak HTTP/1.1 only: the bounds are made for it."""
        return [b"http/1.1"]


@implementer(IResource)
class _Root:
    isLeaf = False

    def __init__(self, api: IResource, panel: IResource | None) -> None:
        self._api = api
        self._panel = panel or _Nothing()

    def getChildWithDefault(self, name: bytes, request: BoundedRequest) -> IResource:
        if request.path.startswith(b"/api/"):
            return self._api
        if request.prepath and request.postpath is not None:
            request.postpath.insert(0, request.prepath.pop())
        return self._panel

    def putChild(self, path: bytes, child: IResource) -> None:
        raise NotImplementedError

    def render(self, request: BoundedRequest) -> int:
        raise NotImplementedError


class _Nothing(Resource):
    isLeaf = True

    def render(self, request: BoundedRequest) -> int:
        request.answer_problem(problem(404, "request.path", "there is nothing here").problem)
        return server.NOT_DONE_YET


class LimitedTls(TLSMemoryBIOFactory):
    """TLS for the site, with bounds on connections from one address and in all (S38)."""

    def __init__(self, creator: object, site: ControllerSite, clock: IReactorTime) -> None:
        super().__init__(creator, False, site, clock)  # type: ignore[arg-type]
        self._per_address: Counter[str] = Counter()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Take a connection, or close it at once where there are too many."""
        host = getattr(addr, "host", "")
        if self._per_address[host] >= CONNECTIONS_PER_ADDRESS or len(self.protocols) >= CONNECTIONS:
            _log.warn("too many connections: one from {host} was closed", host=host)
            return None
        protocol: Any = super().buildProtocol(addr)
        protocol.counted_host = host
        return protocol

    def registerProtocol(self, p: Any) -> None:
        """Count a connection, once: Twisted registers one of TLS twice."""
        if p not in self.protocols:
            self._per_address[p.counted_host] += 1
        super().registerProtocol(p)

    def unregisterProtocol(self, p: Any) -> None:
        """Count it off again."""
        super().unregisterProtocol(p)
        host = p.counted_host
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]

    def abort_all(self) -> None:
        """Close every connection at once: the controller ends."""
        for connection in tuple(self.protocols):
            connection.abortConnection()
