"""The panel's pages of rollouts."""

from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.integration.model import Model
from tests.integration.test_rollouts import WEB, changed, fail, farm, step
from tests.panel_site import PanelSite, panel_site

PLACE = "/servers/rollouts"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_a_rollout_is_begun_pauses_goes_on_and_ends(panel: PanelSite) -> None:
    model = panel.model
    await farm(model)
    visitor = await panel.signed_in()
    assert f'href="{PLACE}"' in await visitor.text("/servers")
    assert "No rollout yet" in await visitor.text(PLACE)
    given = {"type": "apache", "settings": "timeout = 45\n", "waves": "1, 2"}
    looked = unescape((await visitor.send(PLACE, {**given, "preview": "1"})).body.decode())
    assert "Changes 4 servers in 3 waves, of 1, 2, 1" in looked
    wrong = await visitor.send(PLACE, {**given, "waves": "many"})
    assert wrong.status == 422
    assert "not the waves of a rollout" in unescape(wrong.body.decode()).lower()
    begun = (await visitor.send(PLACE, given)).headers["Location"]
    await step(model)
    await fail(model, WEB[1])
    await step(model)
    page = await visitor.text(begun)
    assert "Web2: no memory" in page
    assert "Resume" in page
    resumed = await visitor.send(f"{begun}/resume", {"past_failure": "true"})
    assert resumed.status == 303
    await step(model)
    assert await changed(model) == [WEB[1], WEB[2], WEB[3]]
    assert (await visitor.send(f"{begun}/resume", {})).status == 409
    assert (await visitor.send(f"{begun}/stop", {})).status == 303
    page = await visitor.text(begun)
    assert "Resume" not in page
    assert "stopped" in await visitor.text(PLACE)
