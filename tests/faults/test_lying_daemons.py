"""Daemons that say yes and do something else: no object is blamed, and all comes by itself."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import pytest_twisted

from templates.apache.names import HEALTH
from templates.apache.objects import SiteSpec
from templates.effects import ControlEffect, ProbeHttp
from tests.integration.real_lane import RealLane, lane_of, own, site, zone

pytestmark = pytest.mark.timeout(180)

HOUR = 3600.0


@pytest_twisted.async_yield_fixture
async def name_server() -> AsyncIterator[RealLane]:
    async for lane in lane_of("bind"):
        yield lane


@pytest_twisted.async_yield_fixture
async def web_server() -> AsyncIterator[RealLane]:
    async for lane in lane_of("apache"):
        yield lane


@contextmanager
def deaf(lane: RealLane, domain: str = "") -> Iterator[None]:
    """Have the daemon say yes to every reload, and every command for a zone, and do nothing."""
    box: Any = lane.lane.box
    control: Callable[[ControlEffect], Awaitable[None]] = box.control

    async def partly(effect: ControlEffect) -> None:
        if getattr(effect, "zone", "") != domain:
            await control(effect)

    async def nothing() -> None:
        """A yes."""

    box.control, box.reload = partly, nothing
    try:
        yield
    finally:
        del box.control, box.reload


def healed(lane: RealLane) -> bool:
    """Whether every object is live, and the lane well."""
    return lane.lane.reports.condition == "ok" and not lane.journal.exceptions(lane.id)


@pytest_twisted.ensureDeferred
async def test_named_that_says_yes_and_serves_nothing_quarantines_nothing(
    name_server: RealLane,
) -> None:
    """A new zone is not served, an old one not read again, a third not taken out; others are."""
    lane = name_server
    await lane.take(zone("changed.test"), zone("removed.test"))
    for name, spec, serials in (
        ("new.test", zone("new.test")[2], (None, 1)),
        ("changed.test", zone("changed.test", 2)[2], (1, 2)),
        ("removed.test", None, (1, None)),
    ):
        with deaf(lane, name):
            told = await lane.take(("zone", name, spec), zone(f"beside-{name}"))
            assert told == {name: "failed", f"beside-{name}": "applied"}
            assert await lane.serial(f"beside-{name}") == 1
            # What it served it serves still, and the words are what was seen.
            assert await lane.serial(name) == serials[0]
            assert name in lane.words()
            assert lane.lane.reports.condition == "ok"
        await lane.until(lambda: healed(lane))
        assert await lane.serial(name) == serials[1]


@pytest_twisted.ensureDeferred
async def test_a_zone_written_after_the_clock_was_set_back_is_served(name_server: RealLane) -> None:
    """Its time stamp is before named's last load: named answers yes and does not read it."""
    lane = name_server
    await lane.take(zone("back.test", 1))
    box: Any = lane.lane.box
    control = box.control

    async def an_hour_ago(effect: ControlEffect) -> None:
        then = time.time() - HOUR
        for file in lane.root.rglob("back.test*"):
            os.utime(file, (then, then))
        await control(effect)

    box.control = an_hour_ago
    assert await lane.take(zone("back.test", 2)) == {"back.test": "applied"}, lane.words()
    assert await lane.serial("back.test") == 2
    await lane.cold_restart()
    await lane.until(lambda: lane.process is not None)
    assert await lane.serial("back.test") == 2


@pytest_twisted.ensureDeferred
async def test_apache_that_does_not_take_up_a_site_quarantines_nothing(
    web_server: RealLane,
) -> None:
    """Its links are answered meanwhile: that alone does not make the site's settings live."""
    lane = web_server
    with deaf(lane):
        told = await lane.take(site("own.test", 1, settings=own()), site("plain.test", 2))
        assert told == {"own.test": "failed", "plain.test": "applied"}
        assert "not taken up" in lane.words()
        assert (await lane.status("plain.test"))[0] == 200
        assert lane.lane.reports.condition == "ok"
    await lane.until(lambda: healed(lane))
    # No start.html is there: its settings are in effect.
    assert (await lane.status("own.test"))[0] == 403
    with deaf(lane):
        assert await lane.take(site("own.test", 1)) == {"own.test": "failed"}
        assert (await lane.status("own.test"))[0] == 403
    await lane.until(lambda: healed(lane))
    assert (await lane.status("own.test"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_each_reading_of_apache_is_known_by_a_word_of_its_own(web_server: RealLane) -> None:
    lane = web_server
    file = lane.root / "run/taken-up.conf"
    words = []
    for number in range(2):
        taken = await lane.take(site(f"own{number}.test", number + 1, settings=own()))
        assert set(taken.values()) == {"applied"}
        words.append(file.read_text().split('"')[1])
    assert [(await lane.status(HEALTH, word))[0] for word in words] == [403, 204]
    assert (await lane.status(HEALTH))[0] == 204


@pytest_twisted.ensureDeferred
async def test_many_sites_that_apache_does_not_take_up_all_come_later(web_server: RealLane) -> None:
    """More sites of one account than there are reloads to find a culprit with."""
    lane = web_server
    sites = [
        ("site", f"s{n}.test", SiteSpec(site=f"{n:04}", account=7, settings=own()))
        for n in range(8)
    ]
    with deaf(lane):
        told = await lane.take(*sites)
        assert set(told.values()) == {"failed"}, lane.words()
    await lane.until(lambda: healed(lane))
    assert (await lane.status("s5.test"))[0] == 403


@pytest_twisted.ensureDeferred
async def test_apache_that_answers_with_anothers_page_is_not_called_live(
    web_server: RealLane,
) -> None:
    """It answers 200 for any name, as a server that another program put before it does."""
    lane = web_server
    assert await lane.take(site("others.test", 2)) == {"others.test": "applied"}
    box: Any = lane.lane.box
    probe: Callable[..., Awaitable[None]] = box.probe

    async def anothers(asked: ProbeHttp, *, once: bool = False) -> None:
        well = asked.host == HEALTH and asked.path == "/"
        host = HEALTH if well else "others.test"
        await probe(msgspec.structs.replace(asked, host=host), once=once)

    box.probe = anothers
    assert await lane.take(site("page.test", 1, settings=own())) == {"page.test": "failed"}
    del box.probe
    await lane.until(lambda: healed(lane))
    assert (await lane.status("page.test"))[0] == 403
