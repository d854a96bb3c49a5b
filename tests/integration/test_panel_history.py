"""The panel's pages of history: an undo that is looked at first, and the versions of an object."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.integration.model import Model
from tests.panel_site import PanelSite, panel_site

WWW = {"domain": "shop.test", "name": "www", "type": "A"}


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_an_undo_is_looked_at_first_and_then_done(panel: PanelSite) -> None:
    await panel.model.shop()
    done = await panel.model.run("record.set", **WWW, values=("192.0.2.99",))
    visitor = await panel.signed_in()
    place = f"/changes/{done.change_id}"
    assert f'href="{place}/undo"' in await visitor.text(place)
    before = await panel.model.footprint()
    asked = await visitor.text(f"{place}/undo")
    assert "Record www A changed in shop.test" in asked
    assert "zone shop.test on ns" in asked
    assert '<del class="hs-value">192.0.2.99</del>' in asked
    assert '<ins class="hs-value">192.0.2.3</ins>' in asked
    assert await panel.model.footprint() == before
    reply = await visitor.send(f"{place}/undo")
    assert reply.status == 303
    ((undone,),) = await panel.model.rows("SELECT id FROM change WHERE undoes IS NOT NULL")
    page = await visitor.text(f"/changes/{undone}")
    assert f"Change {done.change_id} undone" in page
    assert f'href="{place}"' in page
    assert f'href="/changes/{undone}"' in await visitor.text(place)
    listed = await panel.model.ask("record.list", domain="shop.test", name="www")
    assert [record["data"] for record in listed["items"]] == ["192.0.2.3"]


@ensureDeferred
async def test_a_refused_undo_says_what_is_in_the_way(panel: PanelSite) -> None:
    await panel.model.shop()
    first = await panel.model.run("record.set", **WWW, values=("192.0.2.99",))
    second = await panel.model.run("record.set", **WWW, values=("192.0.2.98",))
    visitor = await panel.signed_in()
    place = f"/changes/{first.change_id}/undo"
    asked = await visitor.text(place)
    assert f"change {second.change_id} (record.set by operator:ada" in asked
    assert "Undo it" not in asked
    before = await panel.model.footprint()
    reply = await visitor.send(place)
    assert reply.status == 409
    assert await panel.model.footprint() == before


@ensureDeferred
async def test_what_is_never_undone_has_no_button_but_the_reason(panel: PanelSite) -> None:
    await panel.model.box("ns1", 1, ("dns",))
    ((made,),) = await panel.model.rows("SELECT id FROM change WHERE command = 'pserver.add'")
    visitor = await panel.signed_in()
    page = await visitor.text(f"/changes/{made}")
    assert "/undo" not in page
    assert "Not undone: its enrolment token was told once" in page
    assert (await visitor.get("/changes/999/undo")).status == 404


@ensureDeferred
async def test_the_versions_of_an_object_are_a_page_away_from_its_change(panel: PanelSite) -> None:
    await panel.model.shop()
    done = await panel.model.run("record.set", **WWW, values=("192.0.2.99",))
    visitor = await panel.signed_in()
    page = await visitor.text(f"/changes/{done.change_id}")
    (link,) = {
        part.partition('"')[0].replace("&amp;", "&")
        for part in page.split('href="')[1:]
        if part.startswith("/objects/zone")
    }
    page = await visitor.text(link)
    assert "data &#34;192.0.2.99&#34;</ins>" in page
    assert f'href="/changes/{done.change_id}"' in page
    for number in range(20):
        await panel.model.ask(
            "record.add", domain="shop.test", name=f"n{number}", type="A", values=("192.0.2.9",)
        )
    page = await visitor.text(link)
    assert "Next page" in page
    assert f'href="/changes/{done.change_id}"' not in page
    assert (await visitor.get("/objects/zone?key=other.test")).status == 404
