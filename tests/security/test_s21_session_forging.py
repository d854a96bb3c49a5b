"""S21: a session is a row that only signing in makes; nothing that is sent can write into it.

Case: cPanel CVE-2026-41940 (a newline in Basic credentials wrote ``hasroot=1`` into the session).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.web.panel.doorkeeper import COOKIE
from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PanelSite, Visitor, panel_site

FORGED = "operator=1\r\nhasroot=1\r\n\x00" + "x" * 4000


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def sessions(panel: PanelSite) -> list[tuple[object, ...]]:
    return await panel.model.rows(
        "SELECT digest, operator_id, csrf, expires_at FROM web_session ORDER BY created_at"
    )


@ensureDeferred
async def test_signing_in_begins_another_session_and_ends_the_first(panel: PanelSite) -> None:
    visitor = panel.visitor()
    await visitor.get("/sign-in")
    before, token = visitor.cookie, visitor.csrf
    await visitor.sign_in()
    assert visitor.cookie != before
    assert visitor.csrf != token
    planted = Visitor(panel.site, before)
    assert (await planted.get("/")).status == 303
    assert len(await sessions(panel)) == 1


@ensureDeferred
async def test_a_cookie_that_was_planted_is_never_taken_over(panel: PanelSite) -> None:
    fixed = "a" * 43
    visitor = Visitor(panel.site, fixed)
    await visitor.get("/sign-in")
    assert visitor.cookie != fixed
    await visitor.sign_in()
    assert visitor.cookie != fixed
    assert (await Visitor(panel.site, fixed).get("/")).status == 303


@ensureDeferred
async def test_the_cookie_is_bound_to_host_and_tls_and_hidden_from_scripts(
    panel: PanelSite,
) -> None:
    visitor = panel.visitor()
    reply = await visitor.get("/sign-in")
    parts = [part.strip() for part in reply.headers["Set-Cookie"].split(";")]
    assert parts[0].startswith(f"{COOKIE}=")
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(parts)
    assert not any(part.lower().startswith("domain") for part in parts)


@ensureDeferred
async def test_line_breaks_in_name_and_password_reach_no_session(panel: PanelSite) -> None:
    for name, password in (
        (FORGED, PASSWORD),
        (f"{NAME}\r\nhasroot=1", PASSWORD),
        (NAME, FORGED),
        (NAME, f"{PASSWORD}\x00"),
        (f"{NAME}\x00", PASSWORD),
        (NAME, PASSWORD + "x" * 100_000),
    ):
        visitor = panel.visitor()
        reply = await visitor.sign_in(password, name)
        assert reply.status in (400, 403)
        assert "hasroot" not in str(reply.headers)
    assert {operator for _, operator, *_ in await sessions(panel)} == {None}


@ensureDeferred
async def test_headers_with_line_breaks_leave_the_session_as_it_was(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    before = await sessions(panel)
    host = f"Host: 127.0.0.1:{panel.site.port}\r\n"
    cookie = f"{COOKIE}={visitor.cookie}"
    for head in (
        f"Cookie: {cookie}\r\n hasroot=1\r\n",
        f"Cookie: {cookie}\rhasroot=1\r\n",
        f"Cookie: {cookie}\x00hasroot=1\r\n",
        f"Cookie: {cookie}; {COOKIE}={'b' * 43}\r\n",
        f"Cookie: {cookie}\r\nCookie: {COOKIE}={'b' * 43}\r\n",
        f"Cookie: {COOKIE}={'c' * 9000}\r\n",
        f"Cookie: {COOKIE}=%0d%0ahasroot=1\r\n",
        "Authorization: Basic cm9vdDpyb290DQpoYXNyb290PTE=\r\n",
    ):
        raw = f"GET /boxes HTTP/1.1\r\n{host}{head}Connection: close\r\n\r\n"
        answer = await panel.site.raw(raw.encode("latin-1"))
        status = answer.split(b" ")[1]
        assert status in (b"303", b"400", b"431"), (head[:60], answer[:200])
        assert b"hasroot" not in answer
    assert (await sessions(panel))[: len(before)] == before
    assert (await visitor.get("/boxes")).status == 200


@pytest.mark.parametrize(
    "value", ["", "x", "a" * 42, "a" * 44, "a" * 42 + "=", "../../etc", "é" * 43]
)
@ensureDeferred
async def test_a_value_of_another_shape_is_nobody(panel: PanelSite, value: str) -> None:
    headers = {"Cookie": f"{COOKIE}={value}".encode().decode("latin-1")}
    reply = await panel.site.ask("GET", "/boxes", token=None, headers=headers)
    assert (reply.status, reply.headers["Location"]) == (303, "/sign-in?next=%2Fboxes")


@ensureDeferred
async def test_only_a_digest_of_the_cookie_is_kept(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    kept = await panel.model.rows("SELECT w::text FROM web_session w")
    assert visitor.cookie not in str(kept)
    assert visitor.cookie.encode().hex() not in str(kept)
