"""A site's own settings and certificate in the panel; the key is on no page."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.integration.test_shared_ssl import certificate
from tests.panel_site import PAYLOAD, PanelSite, Visitor, panel_site

pytest_plugins = ("tests.integration.model",)

PAGE = "/domains/domain/shop.test/site"
LISTED = "are listed, file by file"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    await model.shop()
    async with panel_site(model, tmp_path) as running:
        yield running


async def press(visitor: Visitor, button: str, **fields: str) -> str:
    """Fill in the form with this button as its labels say, and give the page that comes."""
    labels = {name.replace("_", " "): words for name, words in fields.items()}
    action, values = SeenPage(await visitor.text(PAGE)).form(button, labels)
    reply = await visitor.send(action, values)
    if reply.status == 303:
        return await visitor.text(reply.headers["Location"])
    return reply.body.decode()


async def site(panel: PanelSite) -> Any:
    return await panel.model.ask("site.show", name="shop.test")


@ensureDeferred
async def test_settings_are_reached_from_the_domain_saved_and_taken_back(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    assert SeenPage(await visitor.text("/domains/domain/shop.test")).links["Site"] == PAGE
    await press(
        visitor,
        "Save the settings",
        Index_documents="start.html\nindex.html",
        Redirect_to="",
        **{"Directories_without_an_index_document": LISTED},
    )
    assert (await site(panel))["settings"] == {
        "index": ["start.html", "index.html"],
        "indexes": True,
        "redirect_to": "",
    }
    page = await press(visitor, "Save the settings", Redirect_to="https://elsewhere.test/a")
    assert (await site(panel))["settings"]["redirect_to"] == "https://elsewhere.test/a"
    assert (await site(panel))["settings"]["index"] == ["start.html", "index.html"]
    assert "its own" in page
    await press(visitor, "Take back")
    assert (await site(panel))["settings"] is None
    assert "Take back" not in await visitor.text(PAGE)


@ensureDeferred
async def test_an_empty_list_of_index_documents_is_the_servers(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    await press(visitor, "Save the settings", Index_documents="start.html")
    await press(visitor, "Save the settings", Index_documents="")
    assert (await site(panel))["settings"] is None


@ensureDeferred
async def test_a_setting_that_is_none_is_marked_and_kept_to_be_mended(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    before = await panel.model.footprint()
    page = await press(visitor, "Save the settings", Redirect_to=PAYLOAD)
    assert 'id="f-redirect_to"' in page
    assert "is-invalid" in page
    assert PAYLOAD not in page
    assert PAYLOAD in unescape(page)
    assert await panel.model.footprint() == before


@ensureDeferred
async def test_s14_a_certificate_comes_and_goes_and_its_key_is_on_no_page(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    good, other = certificate("shop.test"), certificate("other.test")
    page = await press(
        visitor, "Install the certificate", Certificate_file=other.chain, Certificate_key=other.key
    )
    assert "is-invalid" in page
    assert other.key.splitlines()[1] not in page
    assert not (await site(panel))["has_certificate"]
    page = await press(
        visitor, "Install the certificate", Certificate_file=good.chain, Certificate_key=good.key
    )
    assert (await site(panel))["has_certificate"]
    assert good.key.splitlines()[1] not in page + await visitor.text(PAGE)
    await press(visitor, "Take it away")
    assert not (await site(panel))["has_certificate"]
    assert "Take it away" not in await visitor.text(PAGE)
