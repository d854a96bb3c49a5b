"""Operators and API tokens in the panel: shown to whoever runs the cluster, and taken away."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.storage import people
from controller.storage.database import Transaction
from tests.form_walk import SeenPage
from tests.integration.model import OPERATOR, Model
from tests.integration.test_commands_operators import as_host, operator_of
from tests.panel_site import NAME, PAYLOAD, PanelSite, Visitor, panel_site

LONG = "e" * 64


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def labelled(model: Model, label: str, *, days: int | None = None) -> str:
    """Make a token for the operator of the panel, which ends in so many days; give its text."""

    async def work(tx: Transaction) -> str:
        end = None if days is None else datetime.now(UTC) + timedelta(days=days)
        return await people.create_token(tx, NAME, label, expires_at=end)

    return await model.database.transaction(OPERATOR, work, name="host")


def row(page: str, words: str) -> str:
    """Give the text of the table row that holds these words."""
    (found,) = [each for each in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL) if words in each]
    return " ".join(re.sub(r"<[^>]*>", " ", unescape(found)).split())


async def followed(visitor: Visitor, page: str, words: str, button: str) -> str:
    """Follow a link to a page that asks, say yes there, and give the page that comes of it."""
    asked = await visitor.text(SeenPage(page).links[words])
    action, fields = SeenPage(asked).form(button, {})
    reply = await visitor.send(action, dict(fields))  # type: ignore[arg-type]
    assert reply.status == 303, reply.body.decode()
    return await visitor.text(reply.headers["Location"])


@ensureDeferred
async def test_r13_operators_and_tokens_are_a_page_of_the_menu(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    page = await visitor.text(SeenPage(await visitor.text("/")).links["Operators"])
    assert row(page, NAME).startswith(f"{NAME} you let in yes 0 just now")
    assert "No API token yet" in page
    texts = await as_host(panel.model, LONG)
    texts["laptop"] = await labelled(panel.model, "laptop", days=90)
    texts["old"] = await labelled(panel.model, "an old one", days=-2)
    page = await visitor.text("/operators")
    assert row(page, f'"hs-name">{LONG}</strong>').startswith(f"{LONG} let in none 1 just now")
    assert "works just now never in 89 days" in row(page, ">laptop<")
    assert "expired just now never 2 days ago" in row(page, "an old one")
    assert not any(text in page for text in texts.values())


@ensureDeferred
async def test_the_page_says_where_operators_and_tokens_are_made(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    page = re.sub(r"</?span[^>]*>", "", await visitor.text("/operators"))
    for command in ("reset-password NAME --create", "token NAME", "enable NAME"):
        assert f"hs-controller admin {command}" in page
    assert "whoever stole a way in must not be able to make another one" in page


@ensureDeferred
async def test_an_operator_is_shut_out_on_a_page_that_asks(panel: PanelSite) -> None:
    tokens = await as_host(panel.model, "eve")
    visitor = await panel.signed_in()
    page = await visitor.text("/operators")
    asked = await visitor.text(SeenPage(page).links["Shut out eve"])
    assert "1 API token is revoked for good" in asked
    assert "This is you" not in asked
    assert await operator_of(panel.model, tokens["eve"]) == "eve"
    page = await followed(visitor, page, "Shut out eve", "Shut out")
    assert "Operator eve shut out" in page
    assert row(page, "shut out</span> <time").startswith("eve shut out just now none 0")
    assert await operator_of(panel.model, tokens["eve"]) is None
    assert "Shut out eve" not in SeenPage(page).links
    again = await visitor.text("/operators/operator/eve/disable")
    assert "is shut out already" in again
    assert 'action="/operators' not in again


@ensureDeferred
async def test_who_shuts_himself_out_is_told_so_and_signed_out(panel: PanelSite) -> None:
    await as_host(panel.model, "eve")
    visitor = await panel.signed_in()
    place = f"/operators/operator/{NAME}/disable"
    assert "This is you" in await visitor.text(place)
    assert (await visitor.send(place)).status == 303
    assert (await visitor.get("/operators")).status == 303


@ensureDeferred
async def test_the_last_operator_is_not_shut_out_and_the_page_says_the_way(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    place = f"/operators/operator/{NAME}/disable"
    page = unescape(await visitor.text(place))
    assert "This is the only operator who may sign in" in page
    assert "hs-controller admin reset-password NAME --create" in page
    assert 'name="once"' not in page
    before = await panel.model.footprint()
    assert (await visitor.send(place)).status == 409
    assert await panel.model.footprint() == before


@ensureDeferred
async def test_a_token_is_revoked_on_a_page_that_asks(panel: PanelSite) -> None:
    tokens = await as_host(panel.model, "eve", "bob")
    visitor = await panel.signed_in()
    page = await visitor.text("/operators?operator=eve")
    assert "API tokens of eve" in page
    assert "bob's laptop" not in unescape(page)
    (link,) = [words for words in SeenPage(page).links if words.startswith("Revoke token")]
    page = await followed(visitor, page, link, "Revoke")
    assert f"API {link.removeprefix('Revoke ')} revoked" in page
    assert await operator_of(panel.model, tokens["eve"]) is None
    assert await operator_of(panel.model, tokens["bob"]) == "bob"
    assert link not in SeenPage(page).links
    number = link.rpartition(" ")[2]
    assert "is revoked already" in await visitor.text(f"/operators/tokens/{number}/revoke")


@ensureDeferred
async def test_a_preview_of_either_takes_nothing_away(panel: PanelSite) -> None:
    tokens = await as_host(panel.model, "eve")
    visitor = await panel.signed_in()
    ((number,),) = await panel.model.rows("SELECT id FROM api_token")
    before = await panel.model.footprint()
    for place, words in (
        ("/operators/operator/eve/disable", "Operator eve shut out"),
        (f"/operators/tokens/{number}/revoke", f"API token {number} revoked"),
    ):
        page = (await visitor.send(place, {"preview": "1"})).body.decode()
        assert "Nothing was written" in page
        assert words in page
        assert re.search(r'href="/operators"[^>]*aria-current="page"', page)
    assert await panel.model.footprint() == before
    assert await operator_of(panel.model, tokens["eve"]) == "eve"


@ensureDeferred
async def test_what_does_not_exist_is_not_found(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    for place in ("/operators/operator/nobody/disable", "/operators/tokens/99/revoke"):
        assert (await visitor.get(place)).status == 404
        assert (await visitor.send(place)).status == 404
    assert (await visitor.get("/operators/tokens/x/revoke")).status == 422
    assert "nobody has no API token" in await visitor.text("/operators?operator=nobody")


@ensureDeferred
async def test_long_lists_come_by_pages_each_on_its_own(panel: PanelSite) -> None:
    await panel.model.write(
        "INSERT INTO operator (name) SELECT 'o' || lpad(n::text, 3, '0')"
        " FROM generate_series(1, 60) n"
    )
    await panel.model.write(
        """INSERT INTO api_token (operator_id, label, digest)
           SELECT o.id, 'label ' || n, sha256(n::text::bytea)
           FROM operator o, generate_series(1, 60) n WHERE o.name = 'o001'"""
    )
    visitor = await panel.signed_in()
    page = await visitor.text("/operators")
    assert "o049" in page
    assert "o050" not in page
    assert "label 11<" in page
    assert "label 10<" not in page
    operators, tokens = re.findall(r'href="([^"]*)" rel="next"', page)
    second = await visitor.text(unescape(operators))
    assert "o060" in second
    assert "label 60<" in second
    older = await visitor.text(unescape(tokens).partition("#")[0])
    assert "label 10<" in older
    assert "o001" in older
    assert "First page" in older


@ensureDeferred
async def test_s26_a_label_of_a_token_is_text_and_nothing_else(panel: PanelSite) -> None:
    await labelled(panel.model, PAYLOAD)
    visitor = await panel.signed_in()
    ((number,),) = await panel.model.rows("SELECT id FROM api_token")
    for place in ("/operators", f"/operators/tokens/{number}/revoke"):
        page = await visitor.text(place)
        assert PAYLOAD not in page
        assert PAYLOAD in unescape(page)
    for query in ("operator", "cursor", "older"):
        reply = await visitor.get(f"/operators?{query}=%22%3E%3Cscript%3E")
        assert "<script>" not in reply.body.decode()
