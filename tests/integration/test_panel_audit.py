"""The panel's pages of the audit: changes found by what they touched, and the chain proven."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.storage.sealer import seal_batch
from tests.integration.model import OPERATOR, Model
from tests.integration.test_audit import as_owner
from tests.panel_site import PanelSite, panel_site


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_changes_are_found_by_what_they_touched(panel: PanelSite) -> None:
    await panel.model.ask("account.add", name="acme")
    await panel.model.ask("account.add", name="other")
    visitor = await panel.signed_in()
    page = await visitor.text("/changes?filter=acme")
    assert "acme" in page
    assert "other" not in page
    assert "No change of it" in await visitor.text("/changes?filter=nothing")


@ensureDeferred
async def test_the_chain_is_proven_on_a_page_and_a_broken_link_named(
    panel: PanelSite, database_url: str
) -> None:
    visitor = await panel.signed_in()
    assert "Nothing is sealed yet" in await visitor.text("/audit")
    for name in ("acme", "other", "third"):
        await panel.model.ask("account.add", name=name)
    await panel.model.database.transaction(OPERATOR, seal_batch, name="seal")
    assert 'href="/audit"' in await visitor.text("/changes")
    assert "Changes 1 to 3 of 3 are as they were sealed" in await visitor.text("/audit")
    as_owner(
        database_url,
        lambda cursor: cursor.execute("UPDATE change SET actor = 'operator:eve' WHERE seq = 2"),
    )
    page = await visitor.text("/audit")
    assert "The audit does not hold: altered" in page
    assert "change 2" in page
