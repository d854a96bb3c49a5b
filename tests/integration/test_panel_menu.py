"""The panel's menu: who knows the product's guide finds each thing under the guide's path."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.web.panel.menu import MENU
from controller.web.panel.routes import ROUTES
from controller.web.panel.routing import Routes
from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.panel_site import PanelSite, Visitor, panel_site

NS1 = "ns1.example.net"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


def headings(page: str) -> list[str]:
    """Give the titles of a page's parts, from its top to its bottom."""
    return re.findall(r'<h2 class="card-title"[^>]*>([^<]*)</h2>', page)


def crumbs(page: str) -> list[str]:
    found = re.findall(r'<li class="breadcrumb-item[^"]*"[^>]*>(.*?)</li>', page)
    return [re.sub(r"<[^>]*>", "", each) for each in found]


async def followed(visitor: Visitor, *words: str) -> str:
    """Follow the links of these words, one after the other, from the panel's first page."""
    page = await visitor.text("/")
    for each in words:
        page = await visitor.text(SeenPage(page).links[each])
    return page


@ensureDeferred
async def test_r236_r263_the_menu_has_the_four_entries_under_e_manager_servers(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    page = await visitor.text("/")
    title, entries = re.findall(
        r'<p class="hs-rooms-title"[^>]*>(.*?)</p>\s*<ul class="hs-rooms"[^>]*>(.*?)</ul>',
        page,
        re.DOTALL,
    )[0]
    assert re.findall(r"<span>([^<]*)</span>", title) == ["E.Manager", "Servers"]
    assert list(SeenPage(entries).links.items()) == [
        ("P.Servers", "/boxes"),
        ("L.Servers", "/servers"),
        ("Add P.Server", "/boxes/add"),
        ("Add L.Server", "/servers/add"),
    ]


@ensureDeferred
async def test_r236_add_p_server_leads_to_the_form(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    page = await followed(visitor, "Add P.Server")
    assert crumbs(page) == ["E.Manager", "Servers", "Add P.Server"]
    assert 'action="/boxes/add"' in page
    assert re.search(r'href="/boxes/add"[^>]*aria-current="page"', page)


@ensureDeferred
async def test_r237_the_link_stands_at_the_bottom_of_the_list(panel: PanelSite) -> None:
    await panel.model.box("web9", 9, ("web",))
    visitor = await panel.signed_in()
    page = await followed(visitor, "P.Servers")
    assert page.rindex("Add Physical Server") > page.rindex("</table>")
    assert 'action="/boxes/add"' in await followed(visitor, "P.Servers", "Add Physical Server")


@ensureDeferred
async def test_r237_the_link_stands_in_an_empty_list_too(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    assert 'action="/boxes/add"' in await followed(visitor, "P.Servers", "Add Physical Server")


@ensureDeferred
async def test_r245_p_servers_lists_all_physical_servers(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await followed(visitor, "P.Servers")
    assert crumbs(page) == ["E.Manager", "Servers", "P.Servers"]
    assert {"ns1", "ns2", "web1"} <= SeenPage(page).links.keys()
    assert "<h1>Physical servers</h1>" in page
    assert "The boxes of the cluster: computers with an agent each." in page


@ensureDeferred
async def test_r256_r257_delete_stands_in_used_by_of_a_free_box_alone(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.box("spare", 9, ("web",))
    visitor = await panel.signed_in()
    used = await followed(visitor, "P.Servers", "web1")
    assert crumbs(used) == ["E.Manager", "Servers", "P.Servers", "web1"]
    assert "Delete the box" not in used
    free = await followed(visitor, "P.Servers", "spare")
    part = free[free.index('id="used"') :].partition("</section>")[0]
    assert "Used by" in part
    assert SeenPage(part).links["Delete the box"] == "/boxes/box/spare/delete"


@ensureDeferred
async def test_r263_add_l_server_leads_to_the_form(panel: PanelSite) -> None:
    await panel.model.box("web9", 9, ("web",))
    visitor = await panel.signed_in()
    page = await followed(visitor, "Add L.Server")
    assert crumbs(page) == ["E.Manager", "Servers", "Add L.Server"]
    assert 'action="/servers/add"' in page


@ensureDeferred
async def test_r283_l_servers_lists_all_logical_servers(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await followed(visitor, "L.Servers")
    assert crumbs(page) == ["E.Manager", "Servers", "L.Servers"]
    assert {NS1, "ns2.example.net", "web1.example.net"} <= SeenPage(page).links.keys()


@ensureDeferred
async def test_r288_delete_stands_in_usage_of_an_unused_server_alone(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.box("spare", 9, ("web",))
    await panel.model.server("spare", "web", "apache")
    visitor = await panel.signed_in()
    used = await followed(visitor, "L.Servers", "web1.example.net")
    assert "<strong>Usage</strong>" in used
    assert "Delete" not in SeenPage(used).links
    free = await followed(visitor, "L.Servers", "spare.example.net")
    part = free[free.index("<strong>Usage</strong>") :].partition("</section>")[0]
    assert SeenPage(part).links["Delete"] == "/servers/server/spare.example.net/delete"


@ensureDeferred
async def test_r323_the_page_of_a_server_takes_its_addresses(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await followed(visitor, "L.Servers", "web1.example.net")
    assert crumbs(page) == ["E.Manager", "Servers", "L.Servers", "web1.example.net"]
    fields = {"Address": "192.0.2.100", "To": "192.0.2.101", "Network mask": "24"}
    assert SeenPage(page).form("Add", fields)[0] == "/servers/server/web1.example.net/addresses"


@ensureDeferred
async def test_r353_r357_mask_tag_and_port_of_an_address_are_edited(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await followed(visitor, "L.Servers", "web1.example.net", "Edit")
    fields = {"Network mask": "25", "Tag": "4", "Port": "8080"}
    reply = await visitor.send(*SeenPage(page).form("Save", fields))
    assert reply.status == 303, reply.body.decode()
    shown = await panel.model.ask("ip.show", ip="192.0.2.3")
    assert (shown["prefix"], shown["tag"], shown["port"]) == (25, 4, 8080)
    page = await followed(visitor, "L.Servers", "web1.example.net", "Edit")
    before = await panel.model.footprint()
    reply = await visitor.send(*SeenPage(page).form("Save", {"Port": "99999"}))
    assert reply.status == 422
    assert 'id="f-new_port"' in reply.body.decode()
    assert "is-invalid" in reply.body.decode()
    assert await panel.model.footprint() == before


@pytest.mark.parametrize("server", [NS1, "web1.example.net"])
@ensureDeferred
async def test_r289_the_options_of_a_type_are_at_the_bottom_of_the_page(
    panel: PanelSite, server: str
) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    assert headings(await followed(visitor, "L.Servers", server))[-1] == "Additional options"


@ensureDeferred
async def test_r361_r366_role_and_used_by_are_additional_options_of_a_name_server(
    panel: PanelSite,
) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await followed(visitor, "L.Servers", NS1)
    part = SeenPage(page[page.index("Additional options") :])
    action, _ = SeenPage(page).form(
        "Save the settings", {"DNS role": "master", "Used by": "the provider's own customers only"}
    )
    assert action == f"/servers/server/{NS1}/settings"
    assert "Roles of all name servers" in part.links


@ensureDeferred
async def test_no_entry_leads_nowhere_and_each_knows_that_it_is_the_one(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    routes = Routes(ROUTES)
    for section in MENU:
        for entry in section.entries:
            routes.find(b"GET", entry.path.encode())
            page = await visitor.text(entry.path)
            marked = set(re.findall(r'<a href="([^"]*)"[^>]*aria-current="page"', page))
            assert entry.path in marked, entry.words
            words = [*section.path, entry.words] if section.path else []
            assert crumbs(page) == words
