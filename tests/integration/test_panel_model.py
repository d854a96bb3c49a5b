"""The panel's page of the model as a file."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.integration.model import Model
from tests.panel_site import PanelSite, panel_site


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_the_model_is_downloaded_looked_at_and_imported_by_forms(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    assert 'href="/model"' in await visitor.text("/servers")
    assert "Preview" in await visitor.text("/model")
    text = await visitor.text("/model/export")
    assert "[boxes.ns1]" in text
    wider = text.replace(
        "[boxes.ns1]", '[boxes.new]\nip = "192.0.2.77/24"\ngroups = ["web"]\n\n[boxes.ns1]'
    )

    looked = (await visitor.send("/model/import", {"model": wider})).body.decode()
    assert "What an import would do" in looked
    assert "pserver.add" in looked
    assert "hs-agent enrol" not in looked
    assert "[boxes.new]" in looked  # the form keeps it for the second step
    assert await panel.model.rows("SELECT 1 FROM box WHERE name = 'new'") == []

    once = re.search(r'name="once" value="([^"]+)"', looked)
    assert once is not None
    fields: dict[str, str | list[str]] = {"model": wider, "import": "1", "once": once[1]}
    done = (await visitor.send("/model/import", fields)).body.decode()
    assert "Imported: <a" in done
    assert "hs-agent enrol --controller" in done
    assert await panel.model.rows("SELECT 1 FROM box WHERE name = 'new'") == [(1,)]
    again = (await visitor.send("/model/import", fields)).body.decode()
    assert "hs-agent enrol --controller" not in again  # once, however often it is sent

    fields = {"model": text, "import": "1", "prune": "on"}
    pruned = (await visitor.send("/model/import", fields)).body.decode()
    assert "pserver.delete" in pruned
    assert await visitor.text("/model/export") == text


@ensureDeferred
async def test_a_file_that_is_refused_says_why_beside_its_field(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    await visitor.text("/model")
    for text, words in (
        ("format 1", "Expected"),
        ("format = 2", "Not a model that this program can read"),
        ('format = 1\n[boxes.a]\nip = "10.0.0.300/8"\ngroups = ["web"]', "Not an IP address"),
    ):
        reply = await visitor.send("/model/import", {"model": text, "import": "1"})
        page = reply.body.decode()
        assert reply.status == 422, text
        assert words in page, text
        assert 'aria-invalid="true"' in page
