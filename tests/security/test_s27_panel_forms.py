"""S27 for the panel: no page of another site can send one of its forms."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.web.panel.routes import ROUTES
from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PanelSite, panel_site

PLACES = [
    *(route.path.replace("{}", "x") for route in ROUTES if route.method == "POST"),
    "/sign-out",
    "/theme",
]


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_every_form_without_its_token_is_refused(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    other = await panel.signed_in()
    before = await panel.model.footprint()
    for path in PLACES:
        for token in ("", "0" * 64, other.csrf, visitor.csrf + "0", visitor.csrf.upper() + "g"):
            reply = await visitor.send(path, {"csrf": token, "name": "x", "theme": "dark"})
            assert reply.status == 403, path
            assert "Set-Cookie" not in reply.headers
    assert await panel.model.footprint() == before
    assert (await visitor.get("/boxes")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@ensureDeferred
async def test_a_form_of_another_origin_is_refused_even_with_its_token(
    panel: PanelSite, headers: dict[str, str | None]
) -> None:
    visitor = await panel.signed_in()
    for path in PLACES:
        assert (await visitor.send(path, {"name": "x"}, headers)).status == 403, path
    stranger = panel.visitor()
    await stranger.get("/sign-in")
    reply = await stranger.send("/sign-in", {"name": NAME, "password": PASSWORD}, headers)
    assert reply.status == 403
    assert await panel.model.rows("SELECT 1 FROM account") == []


@ensureDeferred
async def test_signing_in_needs_the_token_of_the_page(panel: PanelSite) -> None:
    visitor = panel.visitor()
    await visitor.get("/sign-in")
    fields = {"name": NAME, "password": PASSWORD}
    assert (await visitor.send("/sign-in", {**fields, "csrf": "0" * 64})).status == 403
    assert (await panel.visitor().send("/sign-in", {**fields, "csrf": visitor.csrf})).status == 403


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", ""])
@ensureDeferred
async def test_only_a_form_is_taken(panel: PanelSite, kind: str) -> None:
    visitor = await panel.signed_in()
    reply = await visitor.send("/accounts/add", {"name": "x"}, {"Content-Type": kind})
    assert reply.status == 400
    assert await panel.model.rows("SELECT 1 FROM account") == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "GET", "HEAD"])
@ensureDeferred
async def test_nothing_but_a_post_changes_anything(panel: PanelSite, method: str) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    before = await panel.model.footprint()
    for path in (
        "/accounts/add?name=x",
        "/domains/domain/shop.test/delete",
        "/boxes/box/ns1/enrolment",
        "/faults/retry",
        "/sign-out",
    ):
        headers = {"Cookie": f"__Host-hs_session={visitor.cookie}", "Origin": visitor.origin}
        await panel.site.ask(method, path, token=None, headers=headers)
    assert await panel.model.footprint() == before
    assert panel.model.fleet.retried == []
    assert (await visitor.get("/boxes")).status == 200


@ensureDeferred
async def test_the_api_does_not_take_the_panels_cookie(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    reply = await visitor.get("/api/v1/pservers")
    assert reply.status == 401
