"""Whose a line of a file is, asked in the panel: a tab of the box, and a way there from drift."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.principal import Principal
from node_agent.wire.questions import Difference
from templates.bind.layout import master_file
from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.integration.test_drift import drifted
from tests.integration.test_history import master, place, zone_line
from tests.panel_site import PAYLOAD, PanelSite, Visitor, panel_site


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


def tab(box: str, **query: str | int) -> str:
    return f"/boxes/box/{box}/files?{urlencode(query)}"


async def answered(visitor: Visitor, box: str, file: str, line: str = "") -> str:
    """Fill in the form of the tab, and give the page that answers."""
    page = SeenPage(await visitor.text(f"/boxes/box/{box}/files"))
    action, fields = page.form("Look it up", {"File": file, "Line": line})
    return await visitor.text(f"{action}?{urlencode(fields)}")


@ensureDeferred
async def test_r13_a_line_leads_to_its_object_its_change_and_who_wrote_it(
    panel: PanelSite,
) -> None:
    model = panel.model
    await model.shop()
    ((account,),) = await model.rows("SELECT id FROM account")
    done = await model.runner.run(
        Principal("provider", "operator:eve", account=account, origin="test"),
        "record.add",
        model.registry["record.add"].request(
            domain="shop.test", name="mail", type="A", values=("192.0.2.17",)
        ),
        reason="ticket 4711",
    )
    asked, lines = await zone_line(model, "mail.shop.test.")
    visitor = await panel.signed_in()
    box = await master(model)
    page = SeenPage(await visitor.text(f"/boxes/box/{box}"))
    assert page.links["Files"] == f"/boxes/box/{box}/files"
    text = await answered(visitor, box, asked["file"], str(len(lines)))
    for words in (
        asked["text"],
        f"Line {len(lines)}",
        "eve",
        f"account number {account}",
        "ticket 4711",
        "record.add",
        "not applied yet",
    ):
        assert words in text, words
    links = SeenPage(text).links
    assert links[f"Change {done.change_id}"] == f"/changes/{done.change_id}"
    server = asked["logical_server"]
    assert links[server] == f"/servers/server/{server}"
    assert "zone shop.test" in await visitor.text(links["zone shop.test"])
    await panel.settle(box)
    text = await answered(visitor, box, asked["file"], str(len(lines)))
    assert "not applied yet" not in text


@ensureDeferred
async def test_without_a_line_the_newest_change_of_the_file_is_told(panel: PanelSite) -> None:
    await panel.model.shop()
    newest = await panel.model.run(
        "record.add", domain="shop.test", name="mail", type="A", values=("192.0.2.17",)
    )
    box = await master(panel.model)
    file = await place(panel.model, box, master_file("shop.test"))
    visitor = await panel.signed_in()
    page = await answered(visitor, box, file)
    assert f"Change {newest.change_id}" in SeenPage(page).links
    assert "The file is of" in page
    named = await answered(visitor, box, await place(panel.model, box, "named.conf"), "3")
    assert "single lines of this file are not looked into" in named.lower()


@ensureDeferred
async def test_other_objects_of_a_file_are_links_to_their_versions(panel: PanelSite) -> None:
    await panel.model.shop()
    await panel.model.ask("domain.add", name="a.test", account="acme")
    for name in ("a.test", "shop.test"):
        await panel.model.ask("site.set", name=name, index=("start.html",))
    ((account,),) = await panel.model.rows("SELECT id FROM account")
    file = await place(panel.model, "web1", f"accounts/{account}.conf")
    visitor = await panel.signed_in()
    links = SeenPage(await answered(visitor, "web1", file, "1")).links
    for name in ("site a.test", "site shop.test"):
        assert name in await visitor.text(links[name])


@pytest.mark.parametrize("file", ["/etc/passwd", "relative", PAYLOAD, "/x/../y"])
@ensureDeferred
async def test_what_is_not_ours_is_said_at_its_field_with_what_is(
    panel: PanelSite, file: str
) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    page = await answered(visitor, "ns1", file)
    assert "Nothing that ns1 was told writes this file" in page
    assert 'id="e-file"' in page
    ((lane,),) = await panel.model.rows(
        "SELECT id::text FROM logical_server WHERE name = 'ns1.example.net'"
    )
    assert lane in page
    _, fields = SeenPage(page).form("Look it up", {})
    assert fields["file"] == file
    assert PAYLOAD not in page
    assert panel.model.fleet.questions == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("500", "lines"),
        ("-1", "lines are counted from 1"),
        ("x", "this is not the number of a line"),
        (PAYLOAD, "this is not the number of a line"),
    ],
)
@ensureDeferred
async def test_a_line_that_is_none_is_said_at_its_field(
    panel: PanelSite, line: str, words: str
) -> None:
    await panel.model.shop()
    box = await master(panel.model)
    file = await place(panel.model, box, master_file("shop.test"))
    visitor = await panel.signed_in()
    reply = await visitor.get(tab(box, file=file, line=line))
    page = reply.body.decode()
    assert reply.status == 422
    assert 'id="e-line"' in page
    assert words in unescape(page).lower()
    assert PAYLOAD not in page
    _, fields = SeenPage(page).form("Look it up", {})
    assert (fields["file"], fields["line"]) == (file, line)


@ensureDeferred
async def test_a_box_that_is_unknown_or_empty_is_said_to_be(panel: PanelSite) -> None:
    await panel.model.box("spare", 9, ("web",))
    visitor = await panel.signed_in()
    assert (await visitor.get(tab("nobody", file="/x"))).status == 404
    assert "No logical server is on this box" in await visitor.text("/boxes/box/spare/files")
    assert "there is none" in await answered(visitor, "spare", "/x")


@ensureDeferred
async def test_s26_a_line_and_a_reason_are_text_and_nothing_else(panel: PanelSite) -> None:
    model = panel.model
    await model.shop()
    await model.runner.run(
        Principal("provider", f"operator:{PAYLOAD}", origin="test"),
        "record.add",
        model.registry["record.add"].request(
            domain="shop.test", name="note", type="TXT", values=("x" + PAYLOAD,)
        ),
        reason=PAYLOAD,
    )
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, l.logical_server_id, o.kind, o.key, o.revision, 'quarantined', %s
           FROM desired_object o JOIN lane l ON l.logical_server_id = o.logical_server_id""",
        (PAYLOAD,),
    )
    asked, lines = await zone_line(model, "note.shop.test.")
    assert "onerror" in asked["text"]
    visitor = await panel.signed_in()
    page = await visitor.text(tab(asked["pserver"], file=asked["file"], line=len(lines)))
    assert asked["text"] not in page
    assert asked["text"] in unescape(page)
    assert PAYLOAD not in page
    assert unescape(page).count(PAYLOAD) >= 3


@ensureDeferred
async def test_a_file_that_drifted_leads_to_the_change_that_wrote_it(panel: PanelSite) -> None:
    await drifted(panel.model, "named.conf")
    await panel.model.write("UPDATE box SET connected = true")
    panel.model.fleet.answering = lambda ask: Difference("named.conf", "changed", ("-a",), False)
    visitor = await panel.signed_in()
    shown = "/servers/server/ns1.example.net/drift/file?path=named.conf"
    for query in ("", "&pserver=ns1"):
        link = SeenPage(await visitor.text(shown + query)).links["Which change wrote it?"]
        page = await visitor.text(link)
        assert "The file is of server ns1.example.net" in page
        assert "ip.add" in page
