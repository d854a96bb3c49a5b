"""S26: no text of a customer, a box or a log runs in the operator's browser.

Cases: Froxlor CVE-2026-109960, -100720 (certificate issuer); Plesk CVE-2023-0829; H-Sphere
CVE-2006-0193, -3278, CVE-2008-6465, CVE-2022-30777; Hestia CVE-2022-0752 and others.
"""

import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from controller.web.panel.assets import Assets
from controller.web.panel.rendering import Renderer
from tests.browser import Browser, installed
from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PAYLOAD, PanelSite, panel_site

TEMPLATES = Path(__file__).parents[2] / "controller" / "web" / "panel" / "templates"


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def plant(panel: PanelSite) -> None:
    """Put the payload into whatever takes text: what people send, and what boxes report."""
    ask, write = panel.model.ask, panel.model.write
    await panel.model.shop()
    await ask(
        "lserver.add",
        name="noted.example.net",
        group="web",
        type="apache",
        pserver="web1",
        description=PAYLOAD,
    )
    await ask("record.add", domain="shop.test", name="note", type="TXT", values=("x" + PAYLOAD,))
    await panel.connect("ns1")
    facts = {
        "host": PAYLOAD,
        "os": PAYLOAD,
        "kernel": PAYLOAD,
        "cpu": {"model": PAYLOAD, "count": PAYLOAD, "load": [PAYLOAD, {}, 1], "percent": PAYLOAD},
        "memory": {"total": PAYLOAD, "available": -1},
        "uptime": PAYLOAD,
        "clock_skew": PAYLOAD,
        "disks": [{"mount": PAYLOAD, "type": PAYLOAD, "device": PAYLOAD, "total": 9, "free": 1}, 7],
        "interfaces": [
            {"name": PAYLOAD, "mac": PAYLOAD, "up": PAYLOAD, "addresses": [{"address": PAYLOAD}]}
        ],
        "services": [{"name": PAYLOAD, "service_type": PAYLOAD, "running": PAYLOAD}],
        PAYLOAD: PAYLOAD,
    }
    await write(
        """UPDATE box SET facts = %s::jsonb, facts_at = now(), agent_version = %s,
                  machine_id = %s, boot_id = %s""",
        (json.dumps(facts), PAYLOAD, PAYLOAD, PAYLOAD),
    )
    await write("UPDATE lane SET condition = 'daemon-down', message = %s", (PAYLOAD,))
    await write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, l.logical_server_id, o.kind, o.key, o.revision, 'quarantined', %s
           FROM desired_object o JOIN lane l ON l.logical_server_id = o.logical_server_id""",
        (PAYLOAD,),
    )
    # As a program with a hole of its own would have left it: no rule of ours has seen these.
    await write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT box_id, logical_server_id, %s, %s, 1, 'failed', %s FROM lane LIMIT 1""",
        (PAYLOAD, PAYLOAD, PAYLOAD),
    )
    await write("UPDATE record SET data = %s WHERE name = 'www'", (PAYLOAD,))
    await write(
        """INSERT INTO api_token (operator_id, label, digest)
           SELECT id, %s, sha256('planted') FROM operator""",
        (PAYLOAD,),
    )
    await write(
        """INSERT INTO drift_finding (box_id, logical_server_id, path, what, words)
           SELECT box_id, logical_server_id, %s, 'changed', %s FROM lane LIMIT 1""",
        (PAYLOAD, PAYLOAD),
    )
    await write(
        """WITH c AS (INSERT INTO change (actor, origin, command, request, reason)
                      VALUES (%s, %s, %s, %s::jsonb, %s) RETURNING id),
                d AS (INSERT INTO change (actor, origin, command, request, reason)
                      VALUES ('operator:x', %s, 'domain.add', %s::jsonb, %s))
           INSERT INTO change_row (change_id, position, relation, row_key, before, after)
           SELECT id, 0, %s, %s, %s::jsonb, %s::jsonb FROM c""",
        (
            PAYLOAD,
            PAYLOAD,
            PAYLOAD,
            json.dumps({PAYLOAD: PAYLOAD, "name": PAYLOAD}),
            PAYLOAD,
            PAYLOAD,
            json.dumps({"name": PAYLOAD}),
            PAYLOAD,
            PAYLOAD,
            PAYLOAD,
            json.dumps({PAYLOAD: [PAYLOAD, {PAYLOAD: PAYLOAD}]}),
            json.dumps({"name": PAYLOAD}),
        ),
    )


@attrs.define
class Markup:
    """What of a page could run."""

    handlers: list[str] = attrs.field(factory=list)
    scripts: list[str] = attrs.field(factory=list)
    addresses: list[str] = attrs.field(factory=list)
    odd: list[str] = attrs.field(factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found = Markup()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name.startswith("on") or name in ("srcdoc", "style"):
                self.found.handlers.append(f"{tag} {name}")
            if name in ("href", "src", "action", "formaction", "hx-get", "data-events"):
                self.found.addresses.append(value or "")
        if tag == "script":
            self.found.scripts.append(dict(attributes).get("src") or "inline")
        if tag in ("img", "iframe", "object", "embed", "base", "style"):
            self.found.odd.append(tag)


def markup(page: str) -> Markup:
    reader = _Reader()
    reader.feed(page)
    return reader.found


def harmless(page: str) -> None:
    found = markup(page)
    assert found.handlers == []
    assert found.odd == []
    assert all(source.startswith("/static/") for source in found.scripts)
    assert all(
        address in ("data:,", "#main") or (address.startswith("/") and not address.startswith("//"))
        for address in found.addresses
    )
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert page.count("alert(2)&gt;") == page.count("alert(2)&gt;{{7*7}}")


@ensureDeferred
async def test_no_page_holds_planted_text_as_markup(panel: PanelSite) -> None:
    await plant(panel)
    visitor = await panel.signed_in()
    pages = await visitor.crawl()
    assert len(pages) > 40
    for path, page in pages.items():
        if path.endswith("/export"):
            reply = await visitor.get(path)
            assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert reply.headers["Content-Disposition"].startswith("attachment; ")
        else:
            harmless(page)
    shown = sum("window.pwned" in page for page in pages.values())
    assert shown > 8, "the payload is not on the pages: it was planted in vain"


FORMS = {
    "/boxes/add": ("name", "ip", "mask", "groups", "os_family"),
    "/servers/add": ("name", "type", "pserver", "description"),
    "/servers/server/web1.example.net/addresses": ("first", "last", "mask", "type", "tag", "port"),
    "/accounts/add": ("name",),
    "/domains/add": ("name", "account", "on"),
    "/domains/domain/shop.test/records": ("name", "type", "values", "ttl"),
    "/domains/domain/shop.test/records/change": ("name", "type", "values", "ttl"),
    "/domains/domain/shop.test/records/delete": ("name", "type", "values"),
    "/domains/domain/shop.test/import": ("text", "replace"),
    "/faults/retry": ("lserver", "kind", "key"),
    "/servers/server/web1.example.net/addresses/delete": ("ip", "port"),
}


@ensureDeferred
async def test_every_field_of_every_form_gives_it_back_as_text(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    for path, fields in FORMS.items():
        for field in (*fields, "once"):
            others = dict.fromkeys(fields, "x")
            reply = await visitor.send(path, {**others, field: PAYLOAD})
            harmless(reply.body.decode())
            assert reply.status in (303, 404, 409, 422), (path, field)
            assert "pwned" not in reply.headers.get("Location", "")
    for field in ("filter", "cursor", "change", "next", "group", "account", "name", "port"):
        for path in ("/boxes", "/servers", "/domains/add", "/sign-in"):
            reply = await visitor.site.ask(
                "GET",
                f"{path}?{field}=%22%3E%3Cscript%3Ewindow.pwned%3D1%3C%2Fscript%3E",
                token=None,
                headers={"Cookie": f"__Host-hs_session={visitor.cookie}"}
                if path != "/sign-in"
                else {},
            )
            harmless(reply.body.decode())
    stranger = panel.visitor()
    await stranger.get("/sign-in")
    reply = await stranger.send("/sign-in", {"name": PAYLOAD, "password": PAYLOAD, "next": PAYLOAD})
    harmless(reply.body.decode())


@pytest.mark.skipif(not installed(), reason="chromium and chromedriver are not installed")
@ensureDeferred
async def test_a_browser_that_walks_all_pages_runs_nothing(panel: PanelSite) -> None:
    await plant(panel)
    visitor = await panel.signed_in()
    paths = [path for path in await visitor.crawl() if not path.endswith("/export")]

    def walk() -> list[str]:
        complaints: list[str] = []
        with Browser() as browser:
            browser.open(f"{panel.url}/sign-in")
            browser.type("#f-name", NAME)
            browser.type("#f-password", PASSWORD)
            browser.click(".hs-door button")
            browser.until("Home", "h1")
            for path in paths:
                browser.open(f"{panel.url}{path}")
                if not browser.run("return document.URL.startsWith('https:')"):
                    browser.open(f"{panel.url}{path}")  # a page of the browser's: not reached
                if browser.alert() is not None:
                    complaints.append(f"{path}: a dialogue opened")
                found = browser.run(
                    "return [window.pwned === undefined,"
                    " [...document.querySelectorAll('*')].every(e =>"
                    " [...e.attributes].every(a => !a.name.startsWith('on'))),"
                    " [...document.scripts].every(s => s.src.startsWith(location.origin)),"
                    " document.images.length === 0]"
                )
                if found != [True] * 4:
                    complaints.append(f"{path}: {found}")
                refused = [line for line in browser.console() if "favicon" not in line]
                complaints += [f"{path}: {line}" for line in refused]
        return complaints

    assert await deferToThread(walk) == []


def test_every_template_escapes_and_none_says_otherwise() -> None:
    renderer = Renderer(Assets())
    assert renderer.names()
    for name in renderer.names():
        text = (TEMPLATES / name).read_text()
        for word in (
            "|safe",
            "| safe",
            "autoescape",
            "Markup",
            "|forceescape",
            "<style",
            " style=",
        ):
            assert word not in text, (name, word)
    for path in (TEMPLATES.parent).rglob("*.py"):
        if path.name != "assets.py":
            assert "Markup" not in path.read_text(), path
