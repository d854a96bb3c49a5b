"""The entrance: signing in and out, and the colours, which also a visitor may choose."""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

from collections.abc import Mapping
from typing import cast

import attrs

from controller.storage.passwords import PasswordsBusyError
from controller.storage.sign_in import SignInRefusedError
from controller.storage.web_sessions import LIFETIME_HOURS, WebSession
from controller.web.channel import BoundedRequest
from controller.web.panel.answers import Page, local
from controller.web.panel.doorkeeper import (
    COOKIE,
    THEME_COOKIE,
    Doorkeeper,
    is_own_page,
    set_cookie,
)
from controller.web.panel.reading import UnreadableError, read_form, read_query
from controller.web.panel.replies import THEMES, YEAR, Replies, Reply, see
from controller.web.panel.routing import NoPlaceError, Routes
from controller.web.panel.visits import Form


@attrs.frozen
class _Trial:
    """How an attempt to sign in ended: the new session's cookie, or what is told."""

    cookie: str = attrs.field(default="", repr=False)
    told: str = ""
    status: int = 200
    wait: int = 0


@attrs.frozen
class Entrance:
    """Lets operators in and out."""

    doorkeeper: Doorkeeper
    replies: Replies
    routes: Routes

    async def show(
        self, request: BoundedRequest, session: WebSession | None, fields: Mapping[str, str]
    ) -> Reply:
        """Show the sign-in page; who is signed in goes on."""
        way_on = fields.get("next", "")
        if session is not None and session.operator is not None:
            return see(self.way_on(way_on))
        return await self._page(request, session, way_on=way_on, left="left" in fields)

    async def sign_in(self, request: BoundedRequest, session: WebSession | None) -> Reply:
        """Take name and password."""
        form = Form(read_form(request))
        name, way_on = form.text("name"), form.text("next")
        if not is_own_page(request):
            return self.not_ours(request, None)
        if session is None or not session.accepts(form.text("csrf")):
            trial = _Trial(
                told="The page was open for too long. Please sign in once more.", status=403
            )
        else:
            trial = await self._try(request, name, form.texts_of("password"))
        if trial.cookie:
            cookie = set_cookie(COOKIE, trial.cookie, seconds=LIFETIME_HOURS * 3600)
            return see(self.way_on(way_on), cookie)
        reply = await self._page(
            request, session, way_on=way_on, name=name, error=trial.told, status=trial.status
        )
        waiting = {"Retry-After": str(trial.wait)} if trial.wait else {}
        return attrs.evolve(reply, headers={**reply.headers, **waiting})

    async def sign_out(self, request: BoundedRequest) -> Reply:
        """End the session."""
        await self.doorkeeper.sign_out(request)
        return see(local("sign-in", left="1"), set_cookie(COOKIE, "", seconds=0))

    def theme(self, session: WebSession, form: Form) -> Reply:
        """Keep the choice of colours in a cookie."""
        theme, back = form.text("theme"), self.way_on(form.text("next"))
        if theme not in THEMES:
            return see(back)
        return see(back, set_cookie(THEME_COOKIE, theme, seconds=YEAR))

    def turned_away(self, path: bytes, query: bytes) -> Reply:
        """Send who is not signed in to the sign-in page, and from there back here."""
        wanted = path + (b"?" + query if query else b"")
        way_on = self.way_on(wanted.decode("latin-1"))
        return see(local("sign-in", next=None if way_on == "/" else way_on))

    def not_ours(self, request: BoundedRequest, session: WebSession | None) -> Reply:
        """Say that a form was not sent by a page of ours (S27)."""
        return self.replies.failed(
            request,
            session,
            403,
            "This form was not taken",
            "It did not come from a page of this panel, or the page was open since before you "
            "signed in. Nothing was changed. Open the page again and repeat.",
        )

    def way_on(self, wanted: str) -> str:
        """Give where to go on: a page of ours, whatever was asked for (S28, S29)."""
        path, _, query = wanted.partition("?")
        if not wanted.isascii() or not wanted.isprintable() or not path.startswith("/"):
            return "/"
        try:
            self.routes.find(b"GET", path.encode("ascii"))
            read_query(query.encode("ascii"))
        except (NoPlaceError, UnreadableError):
            return "/"
        return wanted

    async def _try(self, request: BoundedRequest, name: str, passwords: list[str]) -> _Trial:
        password = passwords[0] if len(passwords) == 1 else ""
        try:
            new = await self.doorkeeper.sign_in(request, name, password, address_of(request))
        except SignInRefusedError as error:
            if not error.retry_after:
                return _Trial(told="Wrong name or password.", status=403)
            minutes = -(-error.retry_after // 60)
            told = f"Too many attempts. Try again in {minutes} minute{'s' if minutes > 1 else ''}."
            return _Trial(told=told, status=429, wait=error.retry_after)
        except (PasswordsBusyError, LookupError):
            return _Trial(told="Many people sign in at this moment. Try again shortly.", status=503)
        return _Trial(new.cookie)

    async def _page(
        self,
        request: BoundedRequest,
        session: WebSession | None,
        *,
        way_on: str,
        name: str = "",
        error: str = "",
        status: int = 200,
        left: bool = False,
    ) -> Reply:
        cookies: tuple[str, ...] = ()
        if session is None or session.operator is not None:
            new = await self.doorkeeper.begin()
            session, cookies = new.session, (set_cookie(COOKIE, new.cookie),)
        values = {"error": error, "name": name, "next": self.way_on(way_on), "left": left}
        page = Page("sign-in", "Sign in", "", values, status=status)
        return attrs.evolve(self.replies.page(request, page, session), cookies=cookies)


def address_of(request: BoundedRequest) -> str:
    """Give the address of who asks, as the connection has it; no header is believed (S28)."""
    return cast(str, getattr(request.getClientAddress(), "host", ""))
