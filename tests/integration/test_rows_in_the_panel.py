"""Rows on the steps that a person takes in the panel, from an added box to a server that serves."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.web.panel import rooms
from tests.form_walk import Control, SeenPage
from tests.integration.model import Model
from tests.panel_site import PanelSite, panel_site

WEB9 = "web9.example.net"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


def control(page: str, button: str, label: str) -> Control:
    """Give the field of this label in the form with this button."""
    (form,) = (form for form in SeenPage(page).forms if button in form.buttons)
    (found,) = (each for each in form.controls if each.label == label)
    return found


def test_r12_r13_every_command_that_changes_something_is_asked_for_by_the_panel(
    model: Model,
) -> None:
    folder = Path(rooms.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    asked = set(re.findall(r'"([a-z]+(?:\.[a-z-]+)+)"', source))
    assert {command.name for command in model.registry if command.writes} <= asked


@ensureDeferred
async def test_r235_r242_r246_a_box_that_was_added_says_its_next_steps(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    fields = {
        "Name": "web9",
        "Primary IP address": "198.51.100.9",
        "Network mask": "24",
        "Server groups": "web",
    }
    page = await visitor.text("/boxes/add")
    done = await visitor.send(*SeenPage(page).form("Add the box", fields))
    assert done.status == 200
    assert b"hs-agent enrol --controller" in done.body
    page = await visitor.text("/boxes/box/web9")
    assert SeenPage(page).links["Add a logical server"] == "/servers/add?pserver=web9"


@ensureDeferred
async def test_r240_the_login_of_a_unix_box_is_root_unless_said(panel: PanelSite) -> None:
    await panel.model.box("web9", 9, ("web",))
    visitor = await panel.signed_in()
    page = await visitor.text("/boxes/box/web9/ssh")
    assert control(page, "Enrol over SSH", "Login").value == "root@198.51.100.9"
    assert control(page, "Enrol over SSH", "Password").value == ""


@ensureDeferred
async def test_r271_r272_r274_r275_r279_a_server_that_was_added_opens_with_its_next_steps(
    panel: PanelSite,
) -> None:
    await panel.model.box("web9", 9, ("web",))
    visitor = await panel.signed_in()
    page = await visitor.text("/servers/add?pserver=web9")
    fields = {"Name": WEB9, "Group and type": "web: apache", "Box": "web9"}
    choices = control(page, "Add the logical server", "Group and type").choices
    fields["Group and type"] = next(words for _, words in choices if "apache" in words)
    done = await visitor.send(*SeenPage(page).form("Add the logical server", fields))
    own = f"/servers/server/{WEB9}"
    assert (done.status, done.headers["Location"].partition("?")[0]) == (303, own)
    seen = SeenPage(await visitor.text(done.headers["Location"]))
    actions = {button: form.action for form in seen.forms for button in form.buttons}
    assert actions["Turn on"] == f"{own}/signup"
    assert actions["Add"] == f"{own}/addresses"
    assert actions["Save the settings"] == f"{own}/settings"


@ensureDeferred
async def test_r284_r285_from_the_list_a_server_is_opened_and_made_available(
    panel: PanelSite,
) -> None:
    await panel.model.box("web9", 9, ("web",))
    await panel.model.server("web9", "web", "apache")
    visitor = await panel.signed_in()
    own = SeenPage(await visitor.text("/servers")).links[WEB9]
    await visitor.send(*SeenPage(await visitor.text(own)).form("Turn on", {}))
    assert (await panel.model.ask("lserver.show", name=WEB9))["signup"] is True


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("DNS role", {"none: drawn at random", "master", "slave 1", "slave 2"}),
        (
            "Used by",
            {
                "all accounts",
                "customers of resellers only",
                "the provider's own customers only",
            },
        ),
    ],
    ids=["r303", "r367"],
)
@ensureDeferred
async def test_r303_r367_a_name_server_has_a_role_and_is_used_by_one_of_three(
    panel: PanelSite, label: str, words: set[str]
) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await visitor.text("/servers/server/ns1.example.net")
    offered = {shown for _, shown in control(page, "Save the settings", label).choices}
    assert offered == words


@ensureDeferred
async def test_r346_r349_r352_the_form_says_what_each_kind_of_address_is_for(
    panel: PanelSite,
) -> None:
    await panel.model.box("mail9", 9, ("mail",))
    await panel.model.server("mail9", "mail", "qmail")
    await panel.model.box("web9", 10, ("web",))
    await panel.model.server("web9", "web", "apache")
    visitor = await panel.signed_in()
    page = await visitor.text("/servers/server/mail9.example.net")
    shown = dict(control(page, "Add", "Type").choices)
    assert "on a blacklist" in shown["outgoing"]
    assert "blocks no other mail" in shown["bouncing"]
    assert "firewalls" in await visitor.text(f"/servers/server/{WEB9}")
