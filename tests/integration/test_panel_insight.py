"""Load, packages, services and logs of a box in the panel (R249 to R251)."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from controller.fleet.monitoring import Dated, write_samples
from node_agent.wire.messages import Sample
from node_agent.wire.questions import (
    ActionDone,
    AnyAsk,
    AnyFound,
    AskAction,
    AskLog,
    AskPackages,
    Declined,
    LogLines,
    Package,
    Packages,
    ServiceFacts,
    Services,
)
from tests.browser import Browser, installed
from tests.integration.model import NOW, OPERATOR, Model
from tests.integration.test_panel_browser import look
from tests.panel_site import PAYLOAD, PanelSite, panel_site

LANE = ServiceFacts(
    name="ns1.example.net", kind="lane", state="running", boots="enabled", actions=("stop",)
)
CRON = ServiceFacts(
    name="cron",
    kind="system",
    state="stopped",
    boots="disabled",
    detail=PAYLOAD,
    actions=("start", "enable"),
)


def answering(ask: AnyAsk) -> AnyFound:
    match ask:
        case AskPackages():
            return Packages(packages=(Package(f"{ask.search}{PAYLOAD}", "1.0"),), more=True)
        case AskAction():
            return ActionDone(service=CRON)
        case AskLog():
            return LogLines(lines=(PAYLOAD, "second line"), cut=False)
    return Services(services=(LANE, CRON))


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    await model.box("ns1", 1, ("dns",))
    await model.write("UPDATE box SET connected = true, first_seen_at = now()")
    model.fleet.answering = answering
    async with panel_site(model, tmp_path) as running:
        yield running


async def add_sample(model: Model, at: float, load: float) -> None:
    ((box,),) = await model.rows("SELECT id::text FROM box")
    sample = Sample(
        processor=25.0,
        load=load,
        memory_used=2**30,
        memory_total=2**32,
        disk_used=10,
        disk_total=100,
        disk_read=0.0,
        disk_written=2048.0,
        net_received=1e6,
        net_sent=1e5,
    )
    await model.database.transaction(
        OPERATOR, lambda tx: write_samples(tx, [Dated(box, 0, at, sample)]), name="test"
    )


@ensureDeferred
async def test_r249_the_load_is_told_in_numbers_and_a_table_without_scripts(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    assert "No samples in this span" in await visitor.text("/boxes/box/ns1/load")
    for number in range(30):
        await add_sample(panel.model, NOW - 600 + 10 * number, 1.25)
    page = await visitor.text("/boxes/box/ns1/load")
    assert "25 %" in page
    assert "1.0 GiB of 4.0 GiB" in page
    assert page.count("<tr>") == 11
    assert "No samples in this span" not in await visitor.text("/boxes/box/ns1/load?span=month")
    reply = await visitor.get("/boxes/box/ns1/load?span=year")
    assert reply.status == 422


@ensureDeferred
async def test_r250_every_tab_says_that_monitoring_is_off(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    await panel.model.ask("pserver.monitoring", name="ns1", monitoring=False)
    for tab in ("load", "packages", "services", "services/cron/log"):
        page = await visitor.text(f"/boxes/box/ns1/{tab}")
        assert "onitoring is switched off for this box" in page, tab
    assert panel.model.fleet.questions == []


@ensureDeferred
async def test_r250_monitoring_is_switched_by_a_button(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    ((box,),) = await panel.model.rows("SELECT id::text FROM box")
    assert "Monitoring is on" in await visitor.text("/boxes/box/ns1/load")
    for word, on in (("off", False), ("on", True)):
        reply = await visitor.send("/boxes/box/ns1/load/monitoring", {"monitoring": word})
        assert reply.status == 303
        assert f"Monitoring is {word}" in await visitor.text(reply.headers["Location"])
        assert panel.model.fleet.monitored[-1] == (box, on)


@ensureDeferred
async def test_a_box_that_is_away_has_pages_that_say_the_way_out(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    ((box,),) = await panel.model.rows("SELECT id::text FROM box")
    panel.model.fleet.away.add(box)
    for tab in ("packages", "services", "services/cron/log"):
        page = await visitor.text(f"/boxes/box/ns1/{tab}")
        assert "The box is not connected, so it cannot be asked" in page
        assert "start hs-agent on it" in page.lower()
    assert (await visitor.get("/boxes/box/nobody/services")).status == 404


@ensureDeferred
async def test_r251_what_a_box_says_is_text_and_nothing_else(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    for tab in ("packages?filter=bind", "services", "services/cron/log"):
        page = await visitor.text(f"/boxes/box/ns1/{tab}")
        assert PAYLOAD not in page, tab
        assert PAYLOAD in unescape(page), tab
    assert panel.model.fleet.questions[0] == AskPackages(search="bind", limit=100)
    page = await visitor.text("/boxes/box/ns1/packages?filter=bind")
    onward = re.search(r'href="([^"]*cursor=[^"]*)" rel="next"', page)
    assert onward is not None
    await visitor.text(unescape(onward[1]))
    after = panel.model.fleet.questions[-1]
    assert isinstance(after, AskPackages)
    assert after.after.endswith("\t1.0")


@ensureDeferred
async def test_r251_a_service_is_managed_by_forms_and_the_answer_is_shown(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    await visitor.get("/boxes/box/ns1/services")
    reply = await visitor.send("/boxes/box/ns1/services/cron", {"action": "start"})
    assert reply.status == 200
    assert "Start cron: done" in reply.body.decode()
    assert panel.model.fleet.questions[-2] == AskAction(service="cron", action="start")
    page = await visitor.text("/boxes/box/ns1/services/ns1.example.net/stop")
    assert "Stop it" in page
    panel.model.fleet.answers = [Declined(reason="failed", words="Access denied")]
    reply = await visitor.send("/boxes/box/ns1/services/cron", {"action": "stop"})
    assert "refused by the box" in reply.body.decode()
    assert "Access denied" in reply.body.decode()
    changes = await visitor.text("/changes")
    assert "Box ns1 asked to stop cron" in changes
    assert "Box ns1: stop cron refused" in changes


@ensureDeferred
async def test_s27_a_service_is_not_touched_by_a_form_of_elsewhere(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    asked = len(panel.model.fleet.questions)
    for headers in ({"Origin": "https://evil.test"}, None):
        fields = {"action": "stop", **({} if headers else {"csrf": "0" * 64})}
        reply = await visitor.send("/boxes/box/ns1/services/cron", fields, headers)
        assert reply.status == 403
    assert len(panel.model.fleet.questions) == asked


@pytest.mark.skipif(not installed(), reason="chromium and chromedriver are not installed")
@ensureDeferred
async def test_r249_graphs_are_drawn_and_drawn_anew_when_the_box_tells(panel: PanelSite) -> None:
    for number in range(60):
        await add_sample(panel.model, NOW - 600 + 10 * number, 1.25)

    def tell() -> None:
        def run() -> Deferred[None]:
            return Deferred.fromCoroutine(add_sample(panel.model, NOW, 7.75))

        blockingCallFromThread(reactor, run)

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/boxes/box/ns1/load")
        browser.until("1.25", "#graphs .card:nth-child(2) .hs-now", 60)
        assert browser.count("#graphs canvas") == 6
        browser.run("window.same = true")
        tell()
        browser.run("document.body.dispatchEvent(new CustomEvent('hs-box'))")
        browser.until("7.75", "#graphs .card:nth-child(2) .hs-now", 60)
        assert browser.count("#graphs canvas") == 6
        assert browser.run("return window.same") is True

    await look(panel, see)
