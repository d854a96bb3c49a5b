"""Shared SSL Manager, as an operator finds and uses it; a key that was sent is on no page."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.integration.test_shared_ssl import SHARED, certificate, shares
from tests.panel_site import PanelSite, Visitor, panel_site

pytest_plugins = ("tests.integration.model",)

PAGE = f"/ssl/domain/{SHARED}"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    await model.shop()
    await model.ask("lserver.set", name="web1.example.net", settings={"tls_port": 443})
    async with panel_site(model, tmp_path) as running:
        yield running


async def sent(visitor: Visitor, page: str, button: str, fields: dict[str, str]) -> str:
    """Send the form with this button, and give the page that it leads to."""
    action, values = SeenPage(page).form(button, fields)
    reply = await visitor.send(action, values)
    if reply.status == 303:
        return await visitor.text(reply.headers["Location"])
    return reply.body.decode()


@ensureDeferred
async def test_r277_the_guides_path_leads_to_the_upload(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    page = await visitor.text(SeenPage(await visitor.text("/")).links["Shared SSL Manager"])
    assert "No certificate is shared" in page
    first, second = certificate(f"*.{SHARED}"), certificate(f"*.{SHARED}")
    page = await visitor.text(SeenPage(page).links["Share a certificate"])
    fields = {"Domain": SHARED, "Certificate file": first.chain, "Certificate key": first.key}
    page = await sent(visitor, page, "Upload", fields)
    assert f"*.{SHARED}" in page
    assert await shares(panel.model, "web1") == {SHARED: first.key}
    page = await visitor.text("/ssl")
    page = await visitor.text(SeenPage(page).links[f"Edit {SHARED}"])
    assert "Install completely new certificate key and file pair" in page
    fields = {"Certificate file": second.chain, "Certificate key": second.key}
    await sent(visitor, page, "Upload", fields)
    assert await shares(panel.model, "web1") == {SHARED: second.key}


@ensureDeferred
async def test_a_shared_certificate_is_taken_away(panel: PanelSite) -> None:
    pair = certificate(f"*.{SHARED}")
    await panel.model.ask("ssl.upload", domain=SHARED, certificate=pair.chain, key=pair.key)
    await panel.model.ask("domain.add", name=f"a.{SHARED}", account="acme")
    visitor = await panel.signed_in()
    page = await visitor.text(SeenPage(await visitor.text(PAGE)).links["Delete"])
    assert "1 site without a certificate of its own" in page
    await sent(visitor, page, "Share it no more", {})
    assert await shares(panel.model, "web1") == {}


@ensureDeferred
async def test_s14_a_key_is_on_no_page_whether_it_was_refused_previewed_or_taken(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    pair, other = certificate(f"*.{SHARED}"), certificate("*.other.test")
    fields = {"domain": SHARED, "certificate": pair.chain, "key": pair.key}
    before = await panel.model.footprint()
    refused = await visitor.send("/ssl/add", {**fields, "certificate": other.chain})
    previewed = await visitor.send("/ssl/add", {**fields, "preview": "1"})
    again = await visitor.send("/ssl/add", {**fields, "again": "1"})
    assert await panel.model.footprint() == before
    assert "the private key is not the certificate" in unescape(refused.body.decode()).lower()
    assert "Nothing was written" in previewed.body.decode()
    assert "Touches web1.example.net" in previewed.body.decode()
    taken = await visitor.send("/ssl/add", fields)
    assert taken.status == 303
    replaced = await visitor.send(PAGE, {**fields, "certificate": "none"})
    pages = [*(await visitor.crawl()).values()]
    assert any(SHARED in page for page in pages)
    for reply in (refused, previewed, again, taken, replaced):
        pages.append(unescape(reply.body.decode()))
    for page in pages:
        for line in (1, 2):
            assert pair.key.splitlines()[line] not in page
    assert pair.chain.splitlines()[1] in again.body.decode()
