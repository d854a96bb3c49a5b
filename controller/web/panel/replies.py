"""What is written back: pages rendered for who asks, files, redirects, refusals."""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

import re
from collections.abc import Mapping
from typing import Any

import attrs

from controller.storage.web_sessions import WebSession
from controller.web.channel import BoundedRequest
from controller.web.panel.answers import Download, Page
from controller.web.panel.assets import Assets
from controller.web.panel.doorkeeper import THEME_COOKIE, cookie_of
from controller.web.panel.menu import MENU, place_of
from controller.web.panel.rendering import Renderer

THEMES = ("auto", "light", "dark")
YEAR = 365 * 24 * 3600
LIVE = b"panel-live"
"""The header by which a page asks for its live part alone."""
_STATIC = re.compile(rb"/static/([0-9a-f]{16})/([A-Za-z0-9][A-Za-z0-9.-]{0,63})")


@attrs.frozen
class Reply:
    """Body, status, headers and cookies."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    cookies: tuple[str, ...] = ()

    def write(self, request: BoundedRequest) -> None:
        """Write it, short of the end of the request."""
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.responseHeaders.setRawHeaders(name, [value])
        for cookie in self.cookies:
            request.responseHeaders.addRawHeader("Set-Cookie", cookie)
        request.responseHeaders.setRawHeaders("Content-Length", [str(len(self.body))])
        request.write(self.body)


class Replies:
    """Makes replies."""

    def __init__(self, assets: Assets, renderer: Renderer) -> None:
        self._assets = assets
        self._renderer = renderer

    def page(
        self,
        request: BoundedRequest,
        page: Page,
        session: WebSession | None,
        *,
        here: str = "/",
        progress: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Render a page, or its live part where only that is asked for.

        ``here`` is the page's own path, checked; ``progress`` the change that led here.
        """
        theme = cookie_of(request, THEME_COOKIE)
        values = {
            "title": page.title,
            "menu": MENU,
            "place": place_of(page.room),
            "room": page.room,
            "crumbs": page.crumbs,
            "hears": page.hears,
            "operator": None if session is None else session.operator,
            "csrf": "" if session is None else session.csrf,
            "theme": theme if theme in THEMES else "auto",
            "here": here,
            "progress": progress,
            **page.values,
        }
        if request.requestHeaders.hasHeader(LIVE) and (page.hears or page.fetched):
            text = self._renderer.part(page.template, values)
        else:
            text = self._renderer.page(page.template, values)
        return Reply(text.encode(), page.status, {"Content-Type": "text/html; charset=utf-8"})

    def failed(
        self,
        request: BoundedRequest,
        session: WebSession | None,
        status: int,
        title: str,
        detail: str,
    ) -> Reply:
        """Say that a request came to nothing."""
        title, detail = title[:1].upper() + title[1:], detail[:1].upper() + detail[1:]
        page = Page("failed", title, "", {"detail": detail}, status=status)
        return self.page(request, page, session)

    def static(self, request: BoundedRequest, path: bytes) -> Reply:
        """Give a file; what its name holds never changes, so it is kept for good."""
        match = _STATIC.fullmatch(path)
        asset = match and self._assets.find(match[1].decode("ascii"), match[2].decode("ascii"))
        if not asset or request.method not in (b"GET", b"HEAD"):
            return self.failed(request, None, 404, "There is no such file", "Load the page again.")
        accepted = b",".join(request.requestHeaders.getRawHeaders(b"accept-encoding") or [])
        packed = b"gzip" in accepted
        return Reply(
            asset.packed if packed else asset.plain,
            headers={
                "Content-Type": asset.kind,
                "Cache-Control": f"public, max-age={YEAR}, immutable",
                "Vary": "Accept-Encoding",
                **({"Content-Encoding": "gzip"} if packed else {}),
            },
        )


def see(path: str, *cookies: str) -> Reply:
    """Send a browser on to a path of ours."""
    return Reply(b"", 303, {"Location": path}, cookies)


def download(answer: Download) -> Reply:
    """Give a text to save."""
    name = re.sub(r"[^A-Za-z0-9.-]", "_", answer.name)
    return Reply(
        answer.text.encode(),
        headers={
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )
