"""Forms that offer names: all where they are few, else a field to type in."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.web.panel.rooms.choices import MOST
from tests.integration.counting import counted
from tests.integration.model import Model
from tests.panel_site import PanelSite, panel_site

pytest_plugins = ("tests.integration.model",)

_FORMS = ("/domains/add", "/servers/add", "/servers/server/mail1.example.net")
LIVE = {"Panel-Live": "1"}


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def _few(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.box("mail1", 9, ("mail",))
    await model.server("mail1", "mail", "qmail")


async def _many(model: Model, first: int = 100, count: int = MOST + 10) -> None:
    await model.write(
        """WITH made AS (
               INSERT INTO box (name, address, groups)
               SELECT 'many' || n, '10.0.0.1/8'::inet, '{web,mail,mysql}'
               FROM generate_series(%s, %s) n RETURNING id, name
           ), servers AS (
               INSERT INTO logical_server (name, group_name, service_type)
               SELECT g.name || made.name || '.example.net', g.group_name, g.type
               FROM made, (VALUES ('w', 'web', 'apache'), ('d', 'mysql', 'mysql'))
                   AS g(name, group_name, type) RETURNING id, name
           ), accounts AS (INSERT INTO account (name) SELECT name FROM made)
           INSERT INTO lane (box_id, logical_server_id)
           SELECT made.id, servers.id FROM servers
           JOIN made ON substr(servers.name, 2) = made.name || '.example.net'""",
        (first, first + count - 1),
    )


@ensureDeferred
async def test_few_names_are_all_offered(panel: PanelSite) -> None:
    await _few(panel.model)
    visitor = await panel.signed_in()
    for path, name in zip(_FORMS, ("web1.example.net", "web1 (web", "LOCAL"), strict=True):
        page = await visitor.text(path)
        assert "<datalist" not in page
        assert f">{name}" in page


@ensureDeferred
async def test_of_many_names_one_is_typed_and_a_page_reads_as_few_as_before(
    panel: PanelSite,
) -> None:
    await _few(panel.model)
    await _many(panel.model)
    visitor = await panel.signed_in()
    read = {}
    for path in _FORMS:
        with counted() as asked:
            page = await visitor.text(path)
        read[path] = asked.values
        assert "<datalist" in page, path
        assert page.count("<option") < 4 * MOST
    await _many(panel.model, 300, 4 * MOST)
    for path in _FORMS:
        with counted() as asked:
            await visitor.text(path)
        assert asked.values <= read[path] * 1.05, path


@ensureDeferred
async def test_what_is_typed_is_proposed_and_taken_without_scripts(panel: PanelSite) -> None:
    await _few(panel.model)
    await _many(panel.model)
    visitor = await panel.signed_in()
    page = unescape(await visitor.text("/domains/add"))
    assert 'hx-get="/names/servers?group=web"' in page
    assert 'href="/servers?group=web">look it up' in page
    proposed = await visitor.text("/names/servers?group=web&on=wmany12", LIVE)
    assert "wmany120.example.net" in proposed
    assert "wmany109.example.net" not in proposed
    assert "dmany120" not in proposed
    assert "many123" in await visitor.text("/names/boxes?group=mail&to=Many12", LIVE)
    assert "option" not in await visitor.text("/names/boxes?group=dns&to=many12", LIVE)
    assert "many123" in await visitor.text("/names/accounts?account=many12", LIVE)
    fields = {"name": "db.example.net", "type": "mysql", "pserver": "many155"}
    assert (await visitor.send("/servers/add", fields)).status == 303
    fields["pserver"] = "nowhere"
    refused = await visitor.send("/servers/add", {**fields, "name": "db2.example.net"})
    assert refused.status == 422
    assert 'value="nowhere"' in refused.body.decode()
    assert "No box has this name" in refused.body.decode()
