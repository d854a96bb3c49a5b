"""The panel in a real browser: live without loading anew, without scripts, on a phone, dark."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from tests.browser import Browser, installed
from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PanelSite, panel_site

T = TypeVar("T")

pytestmark = pytest.mark.skipif(
    not installed(), reason="chromium and chromedriver are not installed"
)


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


def sign_in(browser: Browser, panel: PanelSite) -> None:
    browser.open(f"{panel.url}/sign-in")
    browser.type("#f-name", NAME)
    browser.type("#f-password", PASSWORD)
    browser.click(".hs-door button")
    browser.until("Home", "h1")


async def look(panel: PanelSite, see: Callable[[Browser], T], **options: object) -> T:
    """Run ``see`` with a browser that has signed in, in a thread."""

    def work() -> T:
        with Browser(**options) as browser:  # type: ignore[arg-type]
            sign_in(browser, panel)
            found = see(browser)
            # That a form was refused is a status, and Chromium calls each such page an error.
            assert [line for line in browser.console() if "status of 422" not in line] == []
            return found

    return await deferToThread(work)


def connect(panel: PanelSite, box: str) -> None:
    blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(panel.connect(box)))


@ensureDeferred
async def test_a_box_that_connects_loses_its_mark_without_loading_anew(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.write("UPDATE box SET first_seen_at = NULL")

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/boxes")
        browser.run("window.same = true")
        assert browser.count(".hs-bang") == 3
        connect(panel, "ns1")
        browser.until("just now", "tbody tr:first-child")
        assert browser.count(".hs-bang") == 2
        assert browser.run("return window.same") is True

    await look(panel, see)


@ensureDeferred
async def test_a_change_is_seen_going_live_box_by_box(panel: PanelSite) -> None:
    await panel.model.shop()

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/domains/domain/shop.test")
        browser.type("#f-name", "mail")
        browser.type("#f-values", "192.0.2.17")
        browser.click('form[action$="/records"] button[type="submit"]')
        browser.until("Going live: 0 of 2 boxes", "#progress")
        assert "change=" in browser.url
        browser.run("window.same = true")
        connect(panel, "ns1")
        browser.until("Going live: 1 of 2 boxes", "#progress")
        connect(panel, "ns2")
        browser.until("Live on 2 of 2 boxes", "#progress")
        assert browser.run("return window.same") is True
        assert "mail" in browser.text(".hs-records")

    await look(panel, see)


@ensureDeferred
async def test_a_page_of_a_change_follows_it_lane_by_lane(panel: PanelSite) -> None:
    await panel.model.shop()
    ((number,),) = await panel.model.rows("SELECT id FROM change WHERE command = 'domain.add'")

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/changes/{number}")
        browser.until("0 of 3 boxes", ".hs-facts")
        for box in ("ns1", "ns2", "web1"):
            connect(panel, box)
        browser.until("3 of 3 boxes", ".hs-facts")
        browser.until("live everywhere", ".hs-facts")

    await look(panel, see)


@ensureDeferred
async def test_a_list_narrows_while_a_name_is_typed(panel: PanelSite) -> None:
    await panel.model.shop()
    await panel.model.ask("domain.add", name="other.test", account="acme")

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/domains")
        assert "other.test" in browser.text("#live")
        browser.type("#search", "shop")
        browser.until("shop.test", "#live")
        for _ in range(100):
            if "other.test" not in browser.text("#live"):
                return
        browser.until("No domain begins", "#live")

    await look(panel, see)


@ensureDeferred
async def test_every_form_works_without_scripts(panel: PanelSite) -> None:
    await panel.model.cluster()

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/accounts/add")
        browser.type("#f-name", "acme")
        browser.click(".hs-form button")
        browser.until("Account acme added", "#progress")
        browser.open(f"{panel.url}/domains/add")
        browser.type("#f-name", "shop.test")
        browser.choose("#f-account", "acme")
        browser.click(".hs-form button")
        browser.until("Domain shop.test added", "#progress")
        browser.type("#f-name", "bad name")
        browser.type("#f-values", "192.0.2.17")
        browser.click('form[action$="/records"] button[type="submit"]')
        browser.until("one field needs another value")
        assert browser.attribute("#f-name", "aria-invalid") == "true"
        assert browser.attribute("#f-values", "value") == "192.0.2.17"
        browser.type("#f-name", "mail")
        browser.click('form[action$="/records"] button[type="submit"]')
        browser.until("Record mail A added", "#progress")
        assert "192.0.2.17" in browser.text(".hs-records")
        browser.click('a[aria-label="Delete mail A"]')
        browser.until("Delete this record of shop.test?")
        browser.click(".btn-danger")
        browser.until("Record mail A deleted", "#progress")
        assert "192.0.2.17" not in browser.text(".hs-records")

    await look(panel, see, scripts=False)


@ensureDeferred
async def test_no_page_is_wider_than_a_phone(panel: PanelSite) -> None:
    await panel.model.shop()
    long = f"{'long' * 15}.{'name' * 15}.{'here' * 15}.test"
    await panel.model.ask("domain.add", name=long, account="acme")
    await panel.model.ask(
        "record.add", domain="shop.test", name="note", type="TXT", values=("x" * 900,)
    )
    visitor = await panel.signed_in()
    paths = [path for path in await visitor.crawl() if not path.endswith("/export")]

    def see(browser: Browser) -> list[str]:
        wide = []
        for path in paths:
            browser.open(f"{panel.url}{path}")
            if browser.run("return document.documentElement.scrollWidth") > 390:
                wide.append(path)
        return wide

    assert await look(panel, see, width=390, height=844) == []


@ensureDeferred
async def test_on_a_phone_the_tab_of_the_page_is_in_sight(panel: PanelSite) -> None:
    await panel.model.shop()

    def see(browser: Browser) -> list[float]:
        browser.open(f"{panel.url}/boxes/box/web1/settings")
        return browser.run(
            "const tab = document.querySelector('.hs-tabs [aria-current]').getBoundingClientRect();"
            "return [tab.left, tab.right, scrollY]"
        )

    left, right, scrolled = await look(panel, see, width=390, height=844)
    assert 0 <= left < right <= 390
    assert scrolled == 0


@ensureDeferred
async def test_the_colours_follow_the_system_until_somebody_chooses(panel: PanelSite) -> None:
    def see(browser: Browser) -> None:
        assert browser.attribute("html", "data-bs-theme") == "dark"
        browser.click('.hs-nav-wide button[value="light"]')
        browser.until_there('[data-bs-theme="light"] button[value="light"][aria-pressed="true"]')
        browser.open(f"{panel.url}/boxes")
        assert browser.attribute("html", "data-bs-theme") == "light"

    await look(panel, see, dark=True)


@ensureDeferred
async def test_every_field_and_control_has_a_name(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    paths = [path for path in await visitor.crawl() if not path.endswith("/export")]

    def see(browser: Browser) -> list[str]:
        nameless = []
        for path in paths:
            browser.open(f"{panel.url}{path}")
            found = browser.run(
                "return [...document.querySelectorAll('input:not([type=hidden]), select, textarea,"
                " button, a')].filter(e => !(e.labels && e.labels.length) &&"
                " !e.getAttribute('aria-label') && !e.title && !e.textContent.trim())"
                ".map(e => e.outerHTML)"
            )
            nameless += [f"{path}: {entry}" for entry in found]
            if browser.count("h1") != 1:
                nameless.append(f"{path}: not one heading")
        return nameless

    assert await look(panel, see) == []


@ensureDeferred
async def test_of_many_web_servers_those_are_proposed_that_fit_what_is_typed(
    panel: PanelSite,
) -> None:
    await panel.model.shop()
    await panel.model.write(
        """INSERT INTO logical_server (name, group_name, service_type)
           SELECT 'w' || n || '.example.net', 'web', 'apache' FROM generate_series(100, 199) n"""
    )

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/domains/add")
        assert browser.count('#l-on option[value="w197.example.net"]') == 0
        browser.type("#f-on", "w197")
        browser.until_there('#l-on option[value="w197.example.net"]')
        assert browser.count("#l-on option") == 1

    await look(panel, see)
