"""S28 and S29 for the panel: it leads nowhere but to itself, whoever asks and however."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PanelSite, panel_site


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.test/",
        "//evil.test/",
        "///evil.test/",
        "/\\evil.test/",
        "\\\\evil.test/",
        "/%5cevil.test/",
        "/%2fevil.test/",
        "javascript:alert(1)",
        "/boxes\r\nSet-Cookie: x=1",
        "/boxes\x00",
        "/api/v1/pservers",
        "/sign-out",
        "/nowhere",
        "/boxes#x",
        "boxes",
        "/boxes?filter=%00",
        "/bücher",
    ],
)
@ensureDeferred
async def test_after_signing_in_a_foreign_way_on_leads_home(panel: PanelSite, wanted: str) -> None:
    visitor = panel.visitor()
    shown = await visitor.get(f"/sign-in?next={quote(wanted, safe='')}")
    assert shown.status == (400 if "\0" in wanted else 200)
    await visitor.get("/sign-in")
    reply = await visitor.send("/sign-in", {"name": NAME, "password": PASSWORD, "next": wanted})
    assert (reply.status, reply.headers["Location"]) == (303, "/")


@ensureDeferred
async def test_no_header_finds_its_way_into_a_page(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    headers = {
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "host=evil.test",
        "Referer": "https://evil.test/",
        "User-Agent": "evil.test",
        "X-Original-URL": "/faults",
    }
    for path in ("/", "/boxes", "/nowhere"):
        reply = await visitor.get(path, headers)
        assert b"evil.test" not in reply.body
        assert b"203.0.113.9" not in reply.body
    reply = await visitor.send("/accounts/add", {"name": "acme"}, headers)
    assert reply.headers["Location"].startswith("/accounts/account/acme?")
    assert await panel.model.rows("SELECT DISTINCT origin FROM change") == [("panel 127.0.0.1",)]


@ensureDeferred
async def test_an_unknown_host_gets_no_page(panel: PanelSite) -> None:
    for host in ("evil.test", "127.0.0.1.evil.test", "shop.test"):
        reply = await panel.site.ask("GET", "/sign-in", token=None, headers={"Host": host})
        assert reply.status == 421
        assert b"Sign in" not in reply.body
        assert "Set-Cookie" not in reply.headers


@ensureDeferred
async def test_every_page_carries_the_headers_that_protect_it(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    for path in ("/", "/sign-in", "/nowhere", "/domains/domain/none.test"):
        headers = (await visitor.get(path)).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert headers["Cache-Control"] == "no-store"


@ensureDeferred
async def test_files_are_found_by_their_content_only(panel: PanelSite) -> None:
    visitor = panel.visitor()
    page = (await visitor.get("/sign-in")).body.decode()
    (style,) = re.findall(r'href="/static/([0-9a-f]{16}/panel\.css)"', page)
    reply = await visitor.get(f"/static/{style}")
    assert reply.status == 200
    assert "immutable" in reply.headers["Cache-Control"]
    for path in (
        "/static/../panel.py",
        "/static/" + "0" * 16 + "/panel.css",
        f"/static/{style}/..",
        "/static/" + style.replace("panel.css", "..%2fpanel.py"),
        "/static/",
    ):
        assert (await visitor.get(path)).status == 404
