"""S23: no page gives a secret away, and none makes a token.

Cases: Froxlor GHSA-f9rx-7wf7-jr36, CVE-2026-62988 (the API returned password hashes).
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.storage.database import Transaction
from controller.storage.people import create_token
from controller.web.panel.routes import ROUTES
from tests.integration.key_pairs import pair
from tests.integration.model import OPERATOR, Model
from tests.panel_site import NAME, PASSWORD, PanelSite, panel_site


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_no_page_holds_a_secret(panel: PanelSite) -> None:
    await panel.model.shop()
    box = await panel.model.box("late", 9, ("web",))

    async def token(tx: Transaction) -> str:
        return await create_token(tx, NAME, "planted")

    text = await panel.model.database.transaction(OPERATOR, token, name="test")
    chain, key = pair("shop.test")
    await panel.model.ask("site.set", name="shop.test", certificate=chain, key=key)
    shared, shared_key = pair("*.shared.test")
    await panel.model.ask("ssl.upload", domain="shared.test", certificate=shared, key=shared_key)
    visitor = await panel.signed_in()
    kept = await panel.model.rows(
        """SELECT password_hash FROM operator
           UNION ALL SELECT encode(digest, 'hex') FROM api_token
           UNION ALL SELECT encode(digest, 'hex') FROM web_session
           UNION ALL SELECT encode(digest, 'hex') FROM enrolment_token
           UNION ALL SELECT encode(sealed, 'hex') FROM secret
           UNION ALL SELECT encode(digest, 'hex') FROM secret"""
    )
    secrets = {
        PASSWORD,
        text,
        box["token"],
        visitor.cookie,
        key.splitlines()[1],
        shared_key.splitlines()[1],
        *(value for (value,) in kept if value),
    }
    assert len(secrets) > 8
    for path, page in (await visitor.crawl()).items():
        for secret in secrets:
            assert secret not in page, path


@ensureDeferred
async def test_no_answer_about_a_change_holds_a_secret(model: Model) -> None:
    await model.shop()
    chain, key = pair("shop.test")
    done = await model.run("site.set", name="shop.test", certificate=chain, key=key)
    shown = await model.ask("change.show", id=done.change_id)
    assert shown["request"]["key"] == "(secret)"
    assert key.splitlines()[1] not in repr(shown)


def test_the_panel_makes_no_token_and_no_operator() -> None:
    """It lists them and takes away; they are made on the controller's own host alone."""
    written = {route.path for route in ROUTES if route.method != "GET"}
    assert {path for path in written if "operator" in path or "token" in path} == {
        "/operators/operator/{}/disable",
        "/operators/tokens/{}/revoke",
    }
    assert not any("password" in path for path in written)
