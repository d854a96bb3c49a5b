"""The plain door: it sends browsers on to TLS, and takes nothing (R18).

Whoever types the panel's name without ``https://`` finds it. What was sent here was sent in clear,
so a form or a token is refused, not passed on: it must not seem to work.
"""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.protocols.policies import WrappingFactory
from twisted.web import server
from twisted.web.resource import Resource

from controller.web.channel import BoundedRequest
from controller.web.problems import problem
from controller.web.server import ControllerSite

CONNECTIONS_PER_ADDRESS = 64
CONNECTIONS = 512


class PlainDoor(WrappingFactory[Any]):
    """The factory of the plain port; ``port`` gives the one that answers TLS.

    Hosts, sizes and times are bounded as on that one.
    """

    def __init__(self, port: Callable[[], int], hosts: Iterable[str], clock: IReactorTime) -> None:
        super().__init__(ControllerSite(_Refused(), _SentOn(port), hosts, clock))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Take a connection, or close it at once where there are too many (S38)."""
        host = getattr(addr, "host", "")
        same = sum(open_one.getPeer().host == host for open_one in self.protocols)
        if same >= CONNECTIONS_PER_ADDRESS or len(self.protocols) >= CONNECTIONS:
            return None
        return super().buildProtocol(addr)

    def abort_all(self) -> None:
        """Close every connection at once: the controller ends."""
        for connection in tuple(self.protocols):
            connection.abortConnection()


class _Refused(Resource):
    isLeaf = True

    def render(self, request: BoundedRequest) -> int:
        request.answer_problem(
            problem(
                403,
                "request.plain",
                "nothing is taken here: it came in clear",
                allowed="https://, and a new token or password for one that was sent",
            ).problem
        )
        return server.NOT_DONE_YET


class _SentOn(_Refused):
    def __init__(self, port: Callable[[], int]) -> None:
        super().__init__()
        self._port = port

    def render(self, request: BoundedRequest) -> int:
        if request.method not in (b"GET", b"HEAD"):
            return super().render(request)
        # It is one of ours, or the request would have been refused.
        host = str(request.requestHeaders.getRawHeaders("host", [""])[0])
        name = host[: host.rindex("]") + 1] if host.startswith("[") else host.partition(":")[0]
        target = f"https://{name}:{self._port()}{request.uri.decode('latin-1')}"
        request.setResponseCode(308)
        request.responseHeaders.setRawHeaders("Location", [target])
        request.responseHeaders.setRawHeaders("Content-Length", ["0"])
        request.finish()
        return server.NOT_DONE_YET
