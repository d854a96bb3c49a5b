"""Previews in the panel: every form says first what it would do, and leads back or on."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from node_agent.wire.questions import Preview, PreviewedFile, PreviewedRefusal
from tests.browser import Browser, installed
from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.integration.test_commands_operators import as_host
from tests.integration.test_panel_browser import look
from tests.integration.test_shared_ssl import certificate
from tests.panel_site import PAYLOAD, PanelSite, Visitor, panel_site

WEB1 = "/servers/server/web1.example.net"
PREVIEW = {"preview": "1"}


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def previewed(visitor: Visitor, path: str, fields: dict[str, str | list[str]]) -> str:
    reply = await visitor.send(path, {**fields, **PREVIEW}, {"Referer": f"{visitor.origin}/boxes"})
    page = unescape(reply.body.decode())
    assert reply.status == 200, page
    assert "Nothing was written" in page
    return page


WITHOUT = {
    "/theme": "colours",
    "/health": "it judges the model and writes none of it",
    "/changes/NAME/undo": "the page is the preview",
    "/servers/server/NAME/drift/verification": "it reads what is on the box",
    "/servers/server/NAME/addresses/move": "its second step has one",
    "/servers/server/NAME/rename": "its first step is the preview",
    "/sign-out": "the session",
    "/boxes/box/NAME/ssh": "a run of steps on the box, with a password",
}
"""Forms that change nothing of the model, or say already what they would do."""


@ensureDeferred
async def test_every_form_that_changes_the_model_has_a_preview(panel: PanelSite) -> None:
    await panel.model.shop()
    await panel.model.box("spare", 9, ("web",))
    await panel.model.server("spare", "web", "apache")
    await panel.model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.100", mask="24", type="dedicated"
    )
    await panel.model.ask("dns.roles", master="ns2.example.net", slave1="ns1.example.net")
    shared = certificate("*.shared.test")
    await panel.model.ask(
        "ssl.upload", domain="shared.test", certificate=shared.chain, key=shared.key
    )
    await panel.model.ask("service.host", account="acme", on="web1.example.net")
    await as_host(panel.model, "eve")
    ((token,),) = await panel.model.rows("SELECT id FROM api_token")
    visitor = await panel.signed_in()
    seen = set()
    for path, text in (await visitor.crawl()).items():
        for form in SeenPage(text).forms:
            if all(control.name != "csrf" for control in form.controls):
                continue  # a search
            if re.sub("(box|server|changes)/[^/]+/", r"\1/NAME/", form.action) not in WITHOUT:
                assert "Preview" in form.buttons, (path, form.action, form.buttons)
                seen.add(form.action)
    assert {
        "/boxes/add",
        "/boxes/box/ns1/settings",
        "/boxes/box/ns1/intent",
        "/boxes/box/ns1/enrolment",
        "/boxes/box/ns1/load/monitoring",
        "/boxes/box/ns1/retire",
        "/boxes/box/spare/settings",
        "/servers/add",
        "/servers/placement",
        "/servers/roles",
        "/servers/server/spare.example.net/delete",
        "/servers/server/spare.example.net/move",
        f"{WEB1}/addresses",
        f"{WEB1}/addresses/delete",
        f"{WEB1}/settings",
        f"{WEB1}/signup",
        f"{WEB1}/description",
        "/accounts/add",
        "/domains/add",
        "/domains/domain/shop.test/records",
        "/domains/domain/shop.test/records/change",
        "/domains/domain/shop.test/records/delete",
        "/domains/domain/shop.test/import",
        "/domains/domain/shop.test/address",
        "/domains/domain/shop.test/delete",
        "/model/import",
        "/ssl/add",
        "/ssl/domain/shared.test",
        "/ssl/domain/shared.test/delete",
        "/service",
        "/service/site/delete",
        "/operators/operator/eve/disable",
        f"/operators/tokens/{token}/revoke",
    } <= seen


@ensureDeferred
async def test_a_preview_says_what_would_happen_and_writes_nothing(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.ask("account.add", name="acme")
    visitor = await panel.signed_in()
    before = await panel.model.footprint()
    page = await previewed(visitor, "/domains/add", {"name": "shop.test", "account": "acme"})
    assert await panel.model.footprint() == before
    assert "Domain shop.test added" in page
    assert '<li class="hs-wrap">Touches ns' in page
    assert "Adds zone shop.test, domain shop.test, site shop.test" in page
    assert "Nothing reloads" in page
    assert "Drawn at random: web server web1.example.net" in page


@ensureDeferred
async def test_a_setting_of_apache_reloads_it_and_the_preview_says_so(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await previewed(visitor, f"{WEB1}/settings", {"settings.timeout": "45"})
    assert "Touches web1.example.net" in page
    assert "web1.example.net reloads" in page.replace("Web1", "web1")


@ensureDeferred
async def test_what_is_sent_on_from_a_preview_is_the_form_that_was_filled_in(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    fields: dict[str, str | list[str]] = {
        "name": "web9",
        "ip": "192.0.2.9",
        "mask": "24",
        "groups": ["web", "mail"],
        "os_family": "linux",
        "description": "a <b> & more",
        "once": "o" * 20,
    }
    page = SeenPage((await visitor.send("/boxes/add", {**fields, **PREVIEW})).body.decode())
    action, sent = page.form("Do it", {})
    assert action == "/boxes/add"
    assert await panel.model.rows("SELECT 1 FROM box") == []
    for _ in range(2):  # twice by mistake is once
        assert (await visitor.send(action, dict(sent))).status == 200  # type: ignore[arg-type]
    box = await panel.model.ask("pserver.show", name="web9")
    assert (box["groups"], box["description"]) == (["web", "mail"], "a <b> & more")
    assert len(await panel.model.rows("SELECT 1 FROM change WHERE command = 'pserver.add'")) == 1


@ensureDeferred
async def test_the_way_back_is_the_form_as_it_was_filled_in(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    fields: dict[str, str | list[str]] = {
        "name": "web9",
        "ip": "192.0.2.9",
        "mask": "24",
        "groups": ["web", "mail"],
        "os_family": "freebsd",
        "description": "spare",
    }
    page = SeenPage((await visitor.send("/boxes/add", {**fields, **PREVIEW})).body.decode())
    action, sent = page.form("Back to the form", {})
    reply = await visitor.send(action, {**sent, "again": "1"})  # type: ignore[dict-item]
    assert reply.status == 200
    assert "alert-danger" not in reply.body.decode()
    _, shown = SeenPage(reply.body.decode()).form("Add the box", {})
    assert {name: shown[name] for name in fields} == fields
    assert await panel.model.rows("SELECT 1 FROM box") == []


@ensureDeferred
async def test_a_part_of_a_page_leads_back_to_it_with_the_rest_as_it_is(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.ask("lserver.set", name="web1.example.net", settings={"timeout": 45})
    visitor = await panel.signed_in()
    reply = await visitor.send(f"{WEB1}/description", {"description": "the first", "again": "1"})
    page = SeenPage(reply.body.decode())
    assert page.form("Save", {})[1]["description"] == "the first"
    assert page.form("Save the settings", {})[1]["settings.timeout"] == "45"
    reply = await visitor.send("/boxes/box/ns1/intent", {"intent": "draining", "again": "1"})
    assert 'value="draining" checked' in reply.body.decode()


@pytest.mark.parametrize(
    ("referer", "led"),
    [
        (f"{WEB1}?cursor=a", f"{WEB1}?cursor=a"),
        ("https://evil.test/", "/"),
        ("//evil.test/", "/"),
        ("javascript:alert(1)", "/"),
        ("/no/such/place", "/"),
        ("\u00e9", "/"),
    ],
)
@ensureDeferred
async def test_a_switch_leads_back_to_the_page_that_it_is_on(
    panel: PanelSite, referer: str, led: str
) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    named = f"{visitor.origin}{referer}" if referer.startswith(("/s", "/n")) else referer
    reply = await visitor.send(
        f"{WEB1}/signup",
        {"signup": "off", **PREVIEW},
        {"Referer": named.encode().decode("latin-1")},
    )
    _, sent = SeenPage(reply.body.decode()).form("Back to the form", {})
    assert sent["from"] == led
    reply = await visitor.send(f"{WEB1}/signup", {"from": referer, "again": "1"})
    assert (reply.status, reply.headers["Location"]) == (303, led)
    assert (await panel.model.ask("lserver.show", name="web1.example.net"))["signup"] is True


@ensureDeferred
async def test_a7_a_preview_shows_the_warnings_and_they_are_not_asked_again(
    panel: PanelSite,
) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    fields: dict[str, str | list[str]] = {"master": "ns1.example.net", "slave1": "ns2.example.net"}
    await visitor.send("/servers/roles", fields)
    place = "/servers/server/ns1.example.net/settings"
    shown = await panel.model.ask("lserver.show", name="ns1.example.net")
    options = {f"settings.{it['name']}": str(it["value"]) for it in shown["options"]}
    options |= {"settings.used_by": "resellers"}
    reply = await visitor.send(place, options)
    assert reply.status == 409  # without a preview the warning is shown first
    page = await previewed(visitor, place, dict(options))
    assert "alert-warning" in page
    action, sent = SeenPage(page).form("Do it", {})
    assert (await visitor.send(action, dict(sent))).status == 303  # type: ignore[arg-type]
    shown = await panel.model.ask("lserver.show", name="ns1.example.net")
    assert shown["settings"]["used_by"] == "resellers"


@ensureDeferred
async def test_what_would_be_refused_is_refused_in_the_form(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    reply = await visitor.send("/accounts/add", {"name": "no such name!", **PREVIEW})
    assert reply.status == 422
    assert SeenPage(reply.body.decode()).form("Add the account", {})[1]["name"] == "no such name!"


@ensureDeferred
async def test_s26_what_was_typed_is_text_in_a_preview(panel: PanelSite) -> None:
    await panel.model.box("web9", 9, ("web",))
    visitor = await panel.signed_in()
    fields: dict[str, str | list[str]] = {
        "ip": "192.0.2.9",
        "mask": "24",
        "groups": ["web"],
        "os_family": "linux",
        "description": PAYLOAD[:500],
        'x"><script>window.pwned=1</script>': PAYLOAD,
    }
    reply = await visitor.send("/boxes/box/web9/settings", {**fields, **PREVIEW})
    page = reply.body.decode()
    assert "<script>window" not in page
    assert "<img" not in page
    assert "49" not in SeenPage(page).form("Do it", {})[1]["description"]
    assert SeenPage(page).form("Do it", {})[1]["description"] == PAYLOAD[:500]


@ensureDeferred
async def test_a_file_of_a_zone_is_carried_whole(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    text = "$TTL 3600\r\n" + "".join(f"host{number} A 192.0.2.7\r\n" for number in range(231))
    place = "/domains/domain/shop.test/import"
    page = await previewed(visitor, place, {"text": text})
    assert "Adds 231 records" in page
    assert "Nothing reloads" in page
    action, sent = SeenPage(page).form("Do it", {})
    assert (await visitor.send(action, dict(sent))).status == 303  # type: ignore[arg-type]
    assert (await panel.model.ask("domain.show", name="shop.test"))["records"] > 231


@pytest.mark.skipif(not installed(), reason="chromium and chromedriver are not installed")
@pytest.mark.parametrize("scripts", [True, False])
@ensureDeferred
async def test_a_person_looks_goes_back_changes_and_does_it(
    panel: PanelSite, scripts: bool
) -> None:
    await panel.model.shop()

    def see(browser: Browser) -> None:
        browser.open(f"{panel.url}/domains/domain/shop.test")
        browser.type("#f-name", "mail")
        browser.type("#f-values", "192.0.2.17")
        browser.click('form[action$="/records"] button[name="preview"]')
        browser.until("Nothing was written", "main")
        assert "Adds record shop.test mail A" in browser.text("main")
        assert "Touches ns" in browser.text("main")
        browser.click('button[name="again"]')
        browser.until("Add a record", "main")
        assert browser.attribute("#f-values", "value") == "192.0.2.17"
        browser.type("#f-ttl", "77")
        browser.click('form[action$="/records"] button[name="preview"]')
        browser.until("Nothing was written", "main")
        browser.click(".hs-form .btn-primary")
        browser.until("Record mail A added", "#progress")
        assert "77" in browser.text(".hs-records")

    await look(panel, see, scripts=scripts)


@ensureDeferred
async def test_a_preview_shows_what_the_boxes_would_come_to(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    file = PreviewedFile(
        path="apache2.conf",
        action="change",
        mode=0o644,
        owner="0:0",
        words=f"mode 0600 becomes 0644 {PAYLOAD}",
        lines=("--- a/apache2.conf", "+++ b/apache2.conf", "@@ -1 +1 @@", f"-{PAYLOAD}", "+new"),
        cut=True,
    )
    panel.model.fleet.answers = [
        Preview(
            files=(file,),
            effects=("write apache2.conf", "reload apache2 gracefully"),
            refused=(PreviewedRefusal("site", "shop.test", "held", "kept \x1b[2J"),),
            pending=2,
            cut=False,
        )
    ]
    reply = await visitor.send(f"{WEB1}/settings", {"settings.timeout": "77", **PREVIEW}, {})
    page = reply.body.decode()
    assert reply.status == 200, page
    assert PAYLOAD not in page
    for words in (
        "<del>-",
        "<ins>+new</ins>",
        "Reload apache2 gracefully",
        "site shop.test would be held",
        "2 objects that it holds already are not applied yet",
    ):
        assert words in page
    assert "\x1b" not in page
    panel.model.fleet.answers = []
    page = await previewed(visitor, f"{WEB1}/settings", {"settings.timeout": "77"})
    assert "nobody answers; its differences are not known" in page


@ensureDeferred
async def test_the_preview_of_a_move_shows_what_the_boxes_come_to(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.ask("account.add", name="acme")
    await panel.model.ask("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    await panel.model.ask("domain.add", name="shop.test", account="acme")
    await panel.model.ask("dns.roles", master="ns2.example.net", slave1="ns1.example.net")
    visitor = await panel.signed_in()
    address = f"{WEB1}/addresses/move"
    given = {"ip": "192.0.2.3", "port": "80", "new": "192.0.2.103"}
    asked = await visitor.get(f"{address}?ip=192.0.2.3")
    shown = await visitor.send(address, given)
    for reply, has in ((asked, False), (shown, True)):
        forms = SeenPage(reply.body.decode()).forms
        assert [("Preview" in form.buttons) for form in forms if form.action == address] == [has]
    given["seen"] = given["new"]
    zones = "/servers/roles/moves/new"
    for place, fields, server in (
        (address, given, "web1.example.net on web1"),
        (zones, {}, "ns2.example.net on ns2"),
    ):
        page = await previewed(visitor, place, fields)
        assert server in page
        assert "nobody answers; its differences are not known" in page
        again = await visitor.send(place, {**fields, "again": "1"})
        assert again.status == 200
    for table in ("address_move", "zone_move"):
        assert await panel.model.rows(f"SELECT count(*) FROM {table}") == [(0,)]
