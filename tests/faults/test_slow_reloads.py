"""An Apache that takes a minute or longer to reload: nobody is blamed, and all comes by itself.

Its parent is stopped: the children serve what they did, and nothing new is read.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred

from node_agent.box import daemons
from tests.integration.real_lane import RealLane, own, site

pytestmark = pytest.mark.timeout(180)


@pytest_twisted.async_yield_fixture
async def lane() -> AsyncIterator[RealLane]:
    made = RealLane("apache")
    await made.start()
    try:
        await made.take(made.server(), site("old.test", 1, settings=own()))
        yield made
    finally:
        if made.process is not None:
            made.process.resume()
        await made.end()


@pytest_twisted.ensureDeferred
async def test_a_slow_reload_is_waited_for_while_the_old_is_served(
    lane: RealLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons, "RELOAD_LOOK", 0.1)
    parent = lane.process
    assert parent is not None
    parent.suspend()
    call = reactor.callLater(1.0, parent.resume)
    assert await lane.take(site("slow.test", 2, settings=own())) == {"slow.test": "applied"}
    assert not call.active()
    assert (await lane.status("slow.test"))[0] == 403


@pytest_twisted.ensureDeferred
async def test_a_reload_beyond_the_deadline_blames_nobody_and_comes_live_later(
    lane: RealLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons, "RELOAD_DEADLINE", 0.3)
    parent = lane.process
    assert parent is not None
    parent.suspend()
    outcomes = ensureDeferred(
        lane.take(site("slow.test", 2, settings=own()), site("plain.test", 3))
    )
    await lane.until(lambda: lane.lane.reports.condition == "daemon-down")
    assert "does not finish its reload" in lane.lane.reports.message
    assert "quarantined" not in lane.outcomes().values()
    # The last good configuration is served, of the new one nothing stands on the disk.
    assert (await lane.status("old.test"))[0] == 403
    parent.resume()
    told = await outcomes
    assert "quarantined" not in told.values()
    await lane.until(lambda: lane.lane.reports.condition == "ok")
    assert not lane.journal.exceptions(lane.id)
    assert (await lane.status("slow.test"))[0] == 403
    assert (await lane.status("plain.test"))[0] == 200
