"""The panel's pages of changes that are held back: seen first, approved hazard by hazard."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.integration.model import Model
from tests.panel_site import PAYLOAD, PanelSite, Visitor, panel_site

NS1, NS2 = "192.0.2.1", "192.0.2.2"
DELETE = "/servers/server/{}.example.net/addresses/delete"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def held(panel: PanelSite, visitor: Visitor) -> str:
    """Have the panel's own form held back; give the page that it leads to."""
    before = await panel.model.footprint()
    reply = await visitor.send(DELETE.format("ns2"), {"ip": NS2, "port": "53"})
    assert reply.status == 303, unescape(reply.body.decode())
    assert await panel.model.footprint() == before
    return reply.headers["Location"]


@ensureDeferred
async def test_a_form_with_a_hazard_leads_to_the_page_that_accepts_it(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    preview = await visitor.send(DELETE.format("ns2"), {"ip": NS2, "port": "53", "preview": "1"})
    assert "Is held back: changes the NS records" in unescape(preview.body.decode())
    assert "Nothing is held back" in await visitor.text("/held")
    place = await held(panel, visitor)
    listed = await visitor.text("/held")
    assert f'href="{place}"' in listed
    assert "changes the NS records at the top of 1 zone: example.net" in listed

    page = await visitor.text(place)
    assert 'name="accept.root-ns" value="1"' in page
    assert "IP address 192.0.2.2, port 53" in unescape(page)
    bare = await visitor.send(place, {})
    assert bare.status == 409
    assert "root-ns is not accepted" in unescape(bare.body.decode())
    for other in ("2", "9" * 5000, "one"):
        wrong = await visitor.send(place, {"accept.root-ns": other})
        assert wrong.status == 409
    assert (await panel.model.ask("ip.show", ip=NS2))["ip"] == NS2
    looked = await visitor.send(place, {"accept.root-ns": "1", "preview": "1"})
    assert "Nothing was written" in unescape(looked.body.decode())

    done = await visitor.send(place, {"accept.root-ns": "1"})
    assert done.status == 303
    change = done.headers["Location"].partition("?")[0]
    assert f"Address {NS2} deleted" in await visitor.text(change)
    page = await visitor.text(place)
    assert f'href="{change}"' in page
    assert "Approve" not in page
    assert (await visitor.send(place, {"accept.root-ns": "1"})).status == 409


@ensureDeferred
async def test_a_held_change_is_withdrawn(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    place = await held(panel, visitor)
    looked = await visitor.send(f"{place}/withdraw", {"preview": "1"})
    assert "Nothing was written" in unescape(looked.body.decode())
    assert (await visitor.send(f"{place}/withdraw")).status == 303
    assert "withdrawn" in await visitor.text("/held?ended=true")
    assert "Nothing is held back" in await visitor.text("/held")
    assert (await visitor.send(f"{place}/withdraw")).status == 409
    assert (await visitor.get("/held/999")).status == 404


@ensureDeferred
async def test_what_is_held_cannot_write_into_the_page(panel: PanelSite) -> None:
    """S26: words of the model and of who asked are text here too."""
    await panel.model.cluster()
    visitor = await panel.signed_in()
    place = await held(panel, visitor)
    await panel.model.write(
        """UPDATE held_change SET reason = %s, actor = %s, origin = %s, plan = to_jsonb(ARRAY[%s]),
               hazards = jsonb_build_array(jsonb_build_object(
                   'id', 'root-ns', 'number', 1, 'words', %s::text))""",
        (PAYLOAD,) * 5,
    )
    for page in (await visitor.text(place), await visitor.text("/held")):
        assert "<img src=x" not in page
        assert "<script>window" not in page
        assert "&lt;img src=x" in page
