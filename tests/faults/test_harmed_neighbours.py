"""A reload of real Apache takes up more than was asked for: what was broken by hand beside it."""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from tests.integration.real_lane import RealLane, lane_of, own, site

pytestmark = pytest.mark.timeout(180)

GONE = (
    '<VirtualHost ${HS_HTTP}>\n    ServerName "beside.test"\n    Redirect 410 "/"\n</VirtualHost>\n'
)


@pytest_twisted.async_yield_fixture
async def lane() -> AsyncIterator[RealLane]:
    async for running in lane_of("apache"):
        yield running


@pytest_twisted.ensureDeferred
async def test_a_site_that_only_a_reload_takes_away_blames_nobody_and_holds_up_nobody(
    lane: RealLane,
) -> None:
    await lane.take(site("beside.test", 2, settings=own("index.html")))
    assert (await lane.status("beside.test"))[0] == 200
    (lane.root / "accounts/2.conf").write_text(GONE)
    assert (await lane.status("beside.test"))[0] == 200, "nothing has read it yet"
    told = await lane.take(site("own.test", 1, settings=own("index.html")))
    assert told == {"own.test": "failed"}
    assert "which is not changed, was answered before" in lane.words()
    await lane.until(lambda: not lane.journal.exceptions(lane.id))
    assert (await lane.status("own.test"))[0] == 200
