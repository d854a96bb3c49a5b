"""The panel as a resource: who is at the door, which room answers, and how refusals look.

The order is the security of it: host and body are bounded by the channel; then the session; then
the origin and token of a form; only then a room.
"""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

import re
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from controller.commands import Registry
from controller.principal import Principal
from controller.refusal import CommandError
from controller.storage.database import CommitUnknownError, DatabaseUnavailableError
from controller.storage.errors import PLIGHTS
from controller.storage.web_sessions import WebSession
from controller.web.api import Runner
from controller.web.channel import BoundedRequest, HangUp
from controller.web.events import EventBus
from controller.web.panel import live
from controller.web.panel.answers import Answer, Download, Redirect, local
from controller.web.panel.assets import Assets
from controller.web.panel.doorkeeper import Doorkeeper, is_own_page, page_before
from controller.web.panel.entrance import Entrance, address_of
from controller.web.panel.previews import BACK, preview_page
from controller.web.panel.reading import UnreadableError, read_form, read_query
from controller.web.panel.rendering import Renderer
from controller.web.panel.replies import LIVE, YEAR, Replies, Reply, download, see
from controller.web.panel.rooms.changes import progress_of
from controller.web.panel.routes import ROUTES
from controller.web.panel.routing import Found, NoPlaceError, Routes
from controller.web.panel.visits import Form, HeldError, PreviewedError, RefusedError, Visit
from controller.web.problems import ProblemError

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_log = Logger()

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types default",
    # Not no-referrer: browsers then send the origin of a form as "null" (Fetch, section 3.2).
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": f"max-age={YEAR}",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


@implementer(IResource)
class Panel:
    """Everything of the site that is not the API."""

    isLeaf = True

    def __init__(
        self,
        *,
        registry: Registry,
        runner: Runner,
        doorkeeper: Doorkeeper,
        bus: EventBus,
        clock: IReactorTime,
    ) -> None:
        self._registry = registry
        self._runner = runner
        self._doorkeeper = doorkeeper
        self._bus = bus
        self._clock = clock
        assets = Assets()
        self._routes = Routes(ROUTES)
        self._replies = Replies(assets, Renderer(assets))
        self._entrance = Entrance(doorkeeper, self._replies, self._routes)

    def getChildWithDefault(self, name: bytes, request: Any) -> IResource:
        """Have no children: the route table looks at the whole path."""
        raise NotImplementedError

    def putChild(self, path: bytes, child: IResource) -> None:
        """Have no children."""
        raise NotImplementedError

    def render(self, request: BoundedRequest) -> int:
        """Answer a request, whatever its method."""
        ensureDeferred(self._respond(request)).addErrback(
            lambda failure: _log.failure("a page could not be written", failure)
        )
        return NOT_DONE_YET

    async def _respond(self, request: BoundedRequest) -> None:
        gone = HangUp(request)
        for name, value in HEADERS.items():
            request.responseHeaders.setRawHeaders(name, [value])
        path, _, query = request.uri.partition(b"?")
        session: WebSession | None = None
        reply: Reply | None
        try:
            if path.startswith(b"/static/"):
                reply = self._replies.static(request, path)
            else:
                asks_itself = request.requestHeaders.hasHeader(LIVE) or path == b"/events"
                session = await self._doorkeeper.session(request, touch=not asks_itself)
                reply = await self._reply(request, gone, session, path, query)
        except Exception as error:  # the border: what nobody foresaw gets an id, the log the rest
            reply = self._refusal(request, session, error)
        if gone():
            return
        if reply is not None:
            reply.write(request)
        request.finish()

    async def _reply(
        self,
        request: BoundedRequest,
        gone: HangUp,
        session: WebSession | None,
        path: bytes,
        query: bytes,
    ) -> Reply | None:
        reading = request.method in (b"GET", b"HEAD")
        if path == b"/sign-in" and reading:
            return await self._entrance.show(request, session, read_query(query))
        if path == b"/sign-in" and request.method == b"POST":
            return await self._entrance.sign_in(request, session)
        if session is None or session.operator is None:
            if path == b"/events" or request.requestHeaders.hasHeader(LIVE):
                return Reply(b"", 401)
            return self._entrance.turned_away(path, query if reading else b"")
        if path == b"/events" and reading:
            await live.follow(request, self._bus, self._clock, gone, self._still(request))
            return None
        return await self._signed_in(request, session, session.operator, path, query)

    async def _signed_in(
        self,
        request: BoundedRequest,
        session: WebSession,
        operator: str,
        path: bytes,
        query: bytes,
    ) -> Reply:
        form = Form()
        if request.method == b"POST":
            form = Form(read_form(request, large=path.endswith(b"/import")))
            if not (is_own_page(request) and session.accepts(form.text("csrf"))):
                return self._entrance.not_ours(request, session)
            if path == b"/sign-out":
                return await self._entrance.sign_out(request)
            if path == b"/theme":
                return self._entrance.theme(session, form)
        found = self._routes.find(request.method, path)
        visit = Visit(
            Principal("provider", f"operator:{operator}", origin=f"panel {address_of(request)}"),
            operator,
            self._runner,
            self._registry,
            read_query(query),
            form,
        )
        answer = await self._answered(found, visit, request, path)
        return await self._written(request, session, visit, answer)

    async def _answered(
        self, found: Found, visit: Visit, request: BoundedRequest, path: bytes
    ) -> Answer:
        try:
            return await found.answer(visit)
        except PreviewedError as told:
            back = self._entrance.way_on(page_before(request))
            return preview_page(told, visit.form, path.decode("ascii"), back)
        except HeldError as told:
            return Redirect(local("held", str(told.held)))
        except RefusedError:
            if not visit.returns:
                raise
            # The form is a part of a page that shows no values again: a switch, a button.
            return Redirect(self._entrance.way_on(visit.form.text(BACK)))

    def _still(self, request: BoundedRequest) -> live.SessionCheck:
        async def still() -> bool:
            session = await self._doorkeeper.session(request, touch=False)
            return session is not None and session.operator is not None

        return still

    async def _written(
        self, request: BoundedRequest, session: WebSession, visit: Visit, answer: Answer
    ) -> Reply:
        if isinstance(answer, Redirect):
            return see(answer.to)
        if isinstance(answer, Download):
            return download(answer)
        progress = None
        number = visit.query.get("change", "")
        if _NUMBER.fullmatch(number) and not request.requestHeaders.hasHeader(LIVE):
            try:
                progress = await progress_of(visit, number)
            except CommandError:
                progress = None
        here = self._entrance.way_on(request.uri.decode("latin-1"))
        return self._replies.page(request, answer, session, here=here, progress=progress)

    def _refusal(
        self, request: BoundedRequest, session: WebSession | None, error: Exception
    ) -> Reply:
        status, title, detail = _told(error)
        if not status:
            told = request.rules.failed(Failure())
            status, title, detail = 500, "The controller failed", told.detail
        return self._replies.failed(request, session, status, title, detail)


def _told(error: Exception) -> tuple[int, str, str]:
    """Say what a refusal means: status, title, detail; status 0 where it is nobody's doing."""
    match error:
        case RefusedError(refusal=told):
            return told.status, told.message, told.allowed
        case CommandError():
            return error.status, error.message, error.value
        case ProblemError(problem=problem):
            return problem.status, problem.title, problem.detail
        case UnreadableError():
            return 400, "This request cannot be read", f"{error}."
        case NoPlaceError():
            return _NO_PLACE[error.other]
    return _of_database(error)


def _of_database(error: Exception) -> tuple[int, str, str]:
    if isinstance(error, DatabaseUnavailableError):
        return (
            503,
            PLIGHTS[error.plight].capitalize(),
            "Nothing was written. Try again in a moment.",
        )
    return _UNKNOWN if isinstance(error, CommitUnknownError) else (0, "", "")


_NO_PLACE = {
    True: (405, "This page takes no such request", "Go back and try again."),
    False: (404, "There is no such page", "The address may be mistyped or outdated."),
}
_UNKNOWN = (
    503,
    "Not known whether it happened",
    "The database went away during the commit. Look at the changes before you repeat.",
)
