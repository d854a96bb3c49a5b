"""Drift in the panel: the list, a difference, the preview of a repair and what came of it."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from node_agent.wire.questions import (
    AnyAsk,
    AnyFound,
    AskDifference,
    AskRepair,
    Declined,
    Difference,
    Repaired,
    RepairedFile,
    Verified,
)
from tests.integration.model import Model
from tests.integration.test_drift import drifted
from tests.panel_site import PAYLOAD, PanelSite, panel_site

SERVER = "/servers/server/ns1.example.net"


def answering(ask: AnyAsk) -> AnyFound:
    match ask:
        case AskDifference():
            lines = ("--- on the box", "+++ as written", "@@ -1 +1 @@", f"-{PAYLOAD}", "+good")
            return Difference(path=ask.path, words=f"changed {PAYLOAD}", lines=lines, cut=True)
        case AskRepair(preview=True):
            files = (RepairedFile("named.conf", "would"), RepairedFile(f"x{PAYLOAD}", "would"))
            return Repaired(files=files, total=2, reload=True)
        case AskRepair():
            return Repaired(
                files=(RepairedFile("named.conf", "refused", PAYLOAD),), total=1, reload=True
            )
    return Verified(files=7, drifted=2, ended=False)


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    await drifted(model, "named.conf", f"zones/{PAYLOAD}.zone")
    await model.write("UPDATE box SET connected = true")
    model.fleet.answering = answering
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_the_badge_leads_to_the_list_and_the_list_to_each_file(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    assert "2 drifted" in await visitor.text(SERVER)
    page = await visitor.text(f"{SERVER}/drift")
    assert "named.conf" in page
    assert "path=named.conf&amp;pserver=ns1" in page
    assert "Bring all back" in page
    box = await visitor.text("/boxes/box/ns1/drift")
    assert f"{SERVER}/drift/file?path=named.conf" in box
    assert "drifted" in await visitor.text("/boxes/box/ns1")
    assert "No drift" in await visitor.text("/servers/server/ns2.example.net/drift")
    assert "No drift" in await visitor.text("/boxes/box/ns2/drift")


@ensureDeferred
async def test_a_difference_has_a_colour_and_a_sign_for_each_line(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    page = await visitor.text(f"{SERVER}/drift/file?path=named.conf&pserver=ns1")
    assert "<ins>+good</ins>" in page
    assert "<del>-" in page
    assert "And more lines" in page


@ensureDeferred
async def test_s26_nothing_that_a_box_says_of_files_is_markup(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    for path in (
        f"{SERVER}/drift",
        f"{SERVER}/drift/file?path=named.conf",
        f"{SERVER}/drift/repair",
        "/boxes/box/ns1/drift",
    ):
        page = await visitor.text(path)
        assert PAYLOAD not in page, path
        assert PAYLOAD in unescape(page), path


@ensureDeferred
async def test_a_repair_is_shown_before_it_is_done_and_what_came_of_it_after(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    page = await visitor.text(f"{SERVER}/drift/repair")
    assert "Write 2 files" in page
    assert "the daemon reloads" in page
    assert not any(isinstance(q, AskRepair) and not q.preview for q in panel.model.fleet.questions)
    reply = await visitor.send(f"{SERVER}/drift/repair", {"path": "named.conf", "pserver": "ns1"})
    assert reply.status == 200
    asked = panel.model.fleet.questions[-1]
    assert isinstance(asked, AskRepair)
    assert (asked.path, asked.preview) == ("named.conf", False)
    assert "refused by the box" in reply.body.decode()


@ensureDeferred
async def test_verify_now_says_what_was_found(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    reply = await visitor.send(f"{SERVER}/drift/verification", {})
    assert "2 of 7 files are not as they were written so far" in reply.body.decode()


@ensureDeferred
async def test_a_box_that_is_away_or_declines_has_pages_that_say_the_way_out(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    panel.model.fleet.answers = [Declined(reason="unknown", words="the agent wrote no such file")]
    page = await visitor.text(f"{SERVER}/drift/file?path=../../etc/shadow")
    assert "The agent wrote no such file" in page
    ((box,),) = await panel.model.rows("SELECT id::text FROM box WHERE name = 'ns1'")
    panel.model.fleet.away.add(box)
    for tab in ("file?path=named.conf", "repair"):
        assert "The box is not connected" in await visitor.text(f"{SERVER}/drift/{tab}")
    reply = await visitor.send(f"{SERVER}/drift/verification", {})
    assert "The box is not connected" in reply.body.decode()
    reply = await visitor.send(f"{SERVER}/drift/repair", {"path": "", "pserver": ""})
    assert "The box is not connected" in reply.body.decode()
