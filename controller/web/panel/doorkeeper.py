"""Who is at the door: session cookies, signing in and out, and whether a form is ours (S21, S27).

The cookie holds a random value and nothing else. A session before sign-in only carries the token of
the sign-in form; signing in always begins another (see `controller.storage.web_sessions`).
"""

from urllib.parse import urlsplit

import attrs
from twisted.web.http import Request

from controller.principal import system
from controller.storage.database import Database, Transaction
from controller.storage.sign_in import SignIn
from controller.storage.web_sessions import (
    NewSession,
    WebSession,
    begin_session,
    end_session,
    find_session,
    sign_in_session,
)

COOKIE = "__Host-hs_session"
THEME_COOKIE = "__Host-hs_theme"
_PRINCIPAL = system("panel")


@attrs.frozen
class Doorkeeper:
    """Finds, begins and ends the sessions of the panel."""

    database: Database
    signing_in: SignIn

    async def session(self, request: Request, *, touch: bool = True) -> WebSession | None:
        """Give the live session of a request; ``touch`` False does not count as use."""
        value = cookie_of(request, COOKIE)
        if value is None:
            return None

        async def find(tx: Transaction) -> WebSession | None:
            return await find_session(tx, value, touch=touch)

        return await self.database.transaction(_PRINCIPAL, find, name="panel.session")

    async def begin(self) -> NewSession:
        """Begin a session that nobody has signed in to."""
        return await self.database.transaction(_PRINCIPAL, begin_session, name="panel.begin")

    async def sign_in(self, request: Request, name: str, password: str, address: str) -> NewSession:
        """Check name and password and begin the operator's session; the former one ends.

        Raises `controller.storage.sign_in.SignInRefusedError`,
        `controller.storage.passwords.PasswordsBusyError`.
        """
        operator = await self.signing_in.check(name, password, address)
        former = cookie_of(request, COOKIE)

        async def begin(tx: Transaction) -> NewSession:
            return await sign_in_session(tx, former, operator.name)

        return await self.database.transaction(_PRINCIPAL, begin, name="panel.sign-in")

    async def sign_out(self, request: Request) -> None:
        """End the session of a request."""
        value = cookie_of(request, COOKIE)
        if value is None:
            return

        async def end(tx: Transaction) -> None:
            await end_session(tx, value)

        await self.database.transaction(_PRINCIPAL, end, name="panel.sign-out")


def cookie_of(request: Request, name: str) -> str | None:
    """Give a cookie's value; None where it is absent, or there twice: then it is not ours."""
    found = []
    for header in request.requestHeaders.getRawHeaders(b"cookie") or []:
        for pair in header.decode("latin-1").split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name:
                found.append(value.strip())
    return found[0] if len(found) == 1 else None


def set_cookie(name: str, value: str, *, seconds: int | None = None) -> str:
    """Give the header that sets a cookie: this host only, TLS only, not for scripts."""
    life = "" if seconds is None else f"; Max-Age={seconds}"
    return f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{life}"


def is_own_page(request: Request) -> bool:
    """Tell whether a form was sent by a page of this very site.

    Browsers name the origin of every POST; one that is not named, or is ``null``, is foreign.
    """
    origins = request.requestHeaders.getRawHeaders(b"origin") or []
    hosts = request.requestHeaders.getRawHeaders(b"host") or []
    sites = request.requestHeaders.getRawHeaders(b"sec-fetch-site") or [b"same-origin"]
    if len(origins) != 1 or len(hosts) != 1 or sites != [b"same-origin"]:
        return False
    try:
        parts = urlsplit(origins[0].decode("ascii"))
    except ValueError:
        return False
    return parts.scheme == "https" and parts.netloc.lower() == hosts[0].decode("latin-1").lower()


def page_before(request: Request) -> str:
    """Give path and query of the page that a form was sent from, as its browser names it.

    It may be anything: who goes there asks first whether it is a page of ours.
    """
    named = request.requestHeaders.getRawHeaders(b"referer") or [b""]
    try:
        parts = urlsplit(named[0].decode("ascii"))
    except ValueError:
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
