"""Lanes that are ahead: the panel asks which side is right, and does it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.panel_site import PanelSite, panel_site

pytest_plugins = ("tests.integration.model",)

SERVER = "ns1.example.net"
OWN = f"/servers/server/{SERVER}"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    await model.shop()
    async with panel_site(model, tmp_path) as running:
        await running.connect("ns1")
        yield running


async def ahead(panel: PanelSite, condition: str = "ahead", message: str = "another one") -> None:
    await panel.model.write(
        """UPDATE lane SET condition = %s, message = %s FROM logical_server s
           WHERE s.id = lane.logical_server_id AND s.name = %s""",
        (condition, message, SERVER),
    )


@pytest.mark.parametrize(("mode", "removed"), [("adopt", ""), ("overwrite", "7")])
@ensureDeferred
async def test_the_page_of_a_server_that_is_ahead_leads_to_the_choice(
    panel: PanelSite, mode: str, removed: str
) -> None:
    await ahead(panel)
    visitor = await panel.signed_in()
    page = await visitor.text(SeenPage(await visitor.text(OWN)).links["Choose which side is right"])
    action, values = SeenPage(page).form("Go on", {"Objects that may go": removed})
    reply = await visitor.send(action, {**values, "mode": mode})
    assert reply.status == 303, reply.body.decode()
    shown = await panel.model.ask("lserver.show", name=SERVER)
    number = int(removed) if removed else None
    assert panel.model.fleet.adopted == [(shown["id"], mode == "overwrite", number)]
    (lane,) = shown["lanes"]
    assert (lane["condition"], "is compared" in lane["message"]) == ("behind", True)


@ensureDeferred
async def test_without_a_choice_nothing_is_done(panel: PanelSite) -> None:
    await ahead(panel)
    visitor = await panel.signed_in()
    await visitor.text(f"{OWN}/recovery")
    reply = await visitor.send(f"{OWN}/recovery", {"mode": "", "removed": ""})
    assert reply.status == 422
    assert "adopt or overwrite" in reply.body.decode()
    assert panel.model.fleet.adopted == []


@pytest.mark.parametrize(
    ("condition", "message", "link", "title"),
    [
        ("ahead", "at 9", "Choose which side is right", f"Which side is right for {SERVER}?"),
        (
            "held",
            "the repair would remove 90 of 100 objects: overwrite with 90",
            "Say how many may go",
            f"How many objects may go from {SERVER}?",
        ),
        ("held", "held on the box by hs-agent", "", f"Nothing to decide for {SERVER}"),
        ("ok", "", "", f"Nothing to decide for {SERVER}"),
    ],
)
@ensureDeferred
async def test_the_choice_is_offered_where_there_is_one(
    panel: PanelSite, condition: str, message: str, link: str, title: str
) -> None:
    await ahead(panel, condition, message)
    visitor = await panel.signed_in()
    links = SeenPage(await visitor.text(OWN)).links
    assert ([link] if link else []) == [word for word, at in links.items() if "recovery" in at]
    assert title in await visitor.text(links.get(link, f"{OWN}/recovery"))


async def adopt(panel: PanelSite) -> None:
    await panel.model.write(
        """UPDATE lane SET adopted_history = c.history FROM cluster c, logical_server s, box b
           WHERE s.id = lane.logical_server_id AND s.name = %s
             AND b.id = lane.box_id AND b.name = 'ns1'""",
        (SERVER,),
    )


@ensureDeferred
async def test_what_was_adopted_can_be_overwritten_later(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    assert "Adopted" not in await visitor.text(OWN)
    await adopt(panel)
    page = await visitor.text(SeenPage(await visitor.text(OWN)).links["Overwrite"])
    assert "What is right" not in page
    action, values = SeenPage(page).form("Overwrite", {"Objects that may go": "7"})
    reply = await visitor.send(action, values)
    assert reply.status == 303, reply.body.decode()
    shown = await panel.model.ask("lserver.show", name=SERVER)
    assert panel.model.fleet.adopted == [(shown["id"], True, 7)]


@ensureDeferred
async def test_a_lane_that_an_operator_holds_leaves_nothing_to_decide(panel: PanelSite) -> None:
    await ahead(panel, "held", "held on the box by hs-agent")
    visitor = await panel.signed_in()
    assert "There is nothing to decide" in await visitor.text(f"{OWN}/recovery")


@ensureDeferred
async def test_an_overwrite_that_takes_along_what_was_adopted_says_so(panel: PanelSite) -> None:
    await panel.connect("ns2")
    await panel.model.write(
        """INSERT INTO lane (box_id, logical_server_id, condition, message)
           SELECT b.id, s.id, 'ahead', 'another one' FROM box b, logical_server s
           WHERE b.name = 'ns2' AND s.name = %s""",
        (SERVER,),
    )
    await adopt(panel)
    visitor = await panel.signed_in()
    page = await visitor.text(f"{OWN}/recovery")
    assert "also what was adopted before, on ns1." in page
    assert SeenPage(await visitor.text(OWN)).links["Choose which side is right"]


@ensureDeferred
async def test_while_its_box_is_away_nothing_that_was_adopted_is_overwritten(
    panel: PanelSite,
) -> None:
    await adopt(panel)
    await panel.model.write("UPDATE box SET connected = false WHERE name = 'ns1'")
    visitor = await panel.signed_in()
    assert "Overwrite" not in SeenPage(await visitor.text(OWN)).links
    assert "There is nothing to decide" in await visitor.text(f"{OWN}/recovery")


@pytest.mark.parametrize(
    ("condition", "message", "taken"),
    [
        ("held", "the repair would remove 90 of 100 objects: overwrite with 90", True),
        ("held", "held on the box by hs-agent", False),
        ("ok", "", False),
    ],
)
@ensureDeferred
async def test_what_an_operator_holds_is_not_overwritten(
    panel: PanelSite, condition: str, message: str, taken: bool
) -> None:
    await ahead(panel, condition, message)
    if taken:
        done = await panel.model.ask("lserver.recover", name=SERVER, mode="overwrite", removed=90)
        assert done["boxes"] == ["ns1"]
        return
    refusal = await panel.model.refused("lserver.recover", name=SERVER, mode="overwrite")
    assert refusal.id == "lserver.not-ahead"


@ensureDeferred
async def test_where_the_number_alone_is_missing_only_that_is_asked(panel: PanelSite) -> None:
    await ahead(panel, "held", "the repair would remove 90 of 100 objects: overwrite with 90")
    visitor = await panel.signed_in()
    page = await visitor.text(f"{OWN}/recovery")
    assert "What is right" not in page
    action, values = SeenPage(page).form("Go on", {"Objects that may go": "90"})
    assert (await visitor.send(action, values)).status == 303
    ((_, overwrite, number),) = panel.model.fleet.adopted
    assert (overwrite, number) == (True, 90)
    (box,) = await panel.model.rows("SELECT id::text FROM box WHERE name = 'ns1'")
    assert panel.model.fleet.adopted_boxes == list(box)
