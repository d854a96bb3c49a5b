"""The panel as a browser without scripts meets it: every room, every form, every refusal."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.integration.model import Model
from tests.panel_site import NAME, PASSWORD, PanelSite, panel_site


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_every_page_needs_signing_in_and_leads_back_to_itself(panel: PanelSite) -> None:
    visitor = panel.visitor()
    reply = await visitor.get("/domains?filter=shop")
    assert reply.status == 303
    assert reply.headers["Location"] == "/sign-in?next=%2Fdomains%3Ffilter%3Dshop"
    await visitor.get(reply.headers["Location"])
    reply = await visitor.send(
        "/sign-in", {"name": NAME, "password": PASSWORD, "next": "/domains?filter=shop"}
    )
    assert (reply.status, reply.headers["Location"]) == (303, "/domains?filter=shop")
    assert "Domains" in await visitor.text("/domains?filter=shop")


@ensureDeferred
async def test_signing_out_ends_the_session(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    cookie = visitor.cookie
    reply = await visitor.send("/sign-out")
    assert reply.headers["Location"] == "/sign-in?left=1"
    visitor.cookie = cookie
    assert (await visitor.get("/")).status == 303


@ensureDeferred
async def test_an_empty_cluster_says_the_next_step_everywhere(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    for path, step in (
        ("/", "/boxes/add"),
        ("/boxes", "/boxes/add"),
        ("/servers", "/servers/add"),
        ("/servers/add", "/boxes/add"),
        ("/accounts", "/accounts/add"),
        ("/domains", "/domains/add"),
        ("/domains/add", "/accounts/add"),
    ):
        assert f'href="{step}"' in await visitor.text(path)
    assert "No faults" in await visitor.text("/faults")
    assert "No change yet" in await visitor.text("/changes")
    assert "All rules hold" in await visitor.text("/health")


@ensureDeferred
async def test_a_box_is_added_by_a_form_and_its_line_is_shown_once(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    form = await visitor.text("/boxes/add")
    once = re.search(r'name="once" value="([^"]+)"', form)
    assert once is not None
    fields: dict[str, str | list[str]] = {
        "name": "Web9",
        "ip": "198.51.100.9",
        "mask": "24",
        "groups": ["web", "dns"],
        "os_family": "linux",
        "once": once[1],
    }
    first = (await visitor.send("/boxes/add", fields)).body.decode()
    assert "hs-agent enrol --controller" in first
    again = (await visitor.send("/boxes/add", fields)).body.decode()
    assert "was shown already" in again
    assert "hs-agent enrol --controller" not in again
    assert await panel.model.rows("SELECT name, groups FROM box") == [("web9", ["web", "dns"])]
    assert 'aria-label="Never connected">!' in await visitor.text("/boxes")


@ensureDeferred
async def test_a_refused_field_is_marked_and_the_others_keep_their_values(
    panel: PanelSite,
) -> None:
    visitor = await panel.signed_in()
    await visitor.text("/boxes/add")
    reply = await visitor.send(
        "/boxes/add", {"name": "web9", "ip": "198.51.100.999", "mask": "24", "groups": "web"}
    )
    page = reply.body.decode()
    assert reply.status == 422
    field = re.search(r'<input[^>]*name="ip"[^>]*>', page)
    assert field is not None
    assert 'aria-invalid="true"' in field[0]
    assert 'value="198.51.100.999"' in field[0]
    assert "Allowed:" in page
    assert 'value="web9"' in page
    assert 'value="web" checked' in page
    assert await panel.model.rows("SELECT 1 FROM box") == []


@ensureDeferred
async def test_a_domain_and_its_records_are_kept_by_forms_alone(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    reply = await visitor.send("/accounts/add", {"name": "acme"})
    assert re.fullmatch(r"/accounts/account/acme\?change=\d+", reply.headers["Location"])
    reply = await visitor.send("/domains/add", {"name": "Shop.test", "account": "acme", "on": ""})
    landed = reply.headers["Location"]
    assert re.fullmatch(r"/domains/domain/shop\.test\?change=\d+", landed)
    assert "Going live: 0 of 3 boxes" in await visitor.text(landed)

    records = "/domains/domain/shop.test/records"
    reply = await visitor.send(
        records, {"name": "mail", "type": "A", "values": "192.0.2.17", "ttl": ""}
    )
    assert reply.status == 303
    reply = await visitor.send(
        records, {"name": "bad name", "type": "A", "values": "nonsense", "ttl": ""}
    )
    page = reply.body.decode()
    assert reply.status == 422
    assert 'value="nonsense"' in page
    assert 'id="e-name"' in page

    form = await visitor.text(f"{records}/change?name=mail&type=A")
    assert "192.0.2.17" in form
    reply = await visitor.send(
        f"{records}/change",
        {"name": "mail", "type": "A", "values": "192.0.2.8\r\n192.0.2.9\r\n", "ttl": "60"},
    )
    assert reply.status == 303
    changed = await visitor.text("/domains/domain/shop.test")
    assert "192.0.2.8" in changed
    assert "192.0.2.17" not in changed

    assert "192.0.2.9" in await visitor.text(f"{records}/delete?name=mail&type=A")
    reply = await visitor.send(
        f"{records}/delete",
        {"name": "mail", "type": "A", "values": ["192.0.2.8", "192.0.2.9"]},
    )
    assert reply.status == 303
    assert "192.0.2.9" not in await visitor.text("/domains/domain/shop.test")

    export = await visitor.get("/domains/domain/shop.test/export")
    assert export.headers["Content-Disposition"] == 'attachment; filename="shop.test.zone"'
    reply = await visitor.send(
        "/domains/domain/shop.test/import", {"text": "ftp 300 IN A 192.0.2.10\r\n"}
    )
    assert reply.status == 303
    assert "ftp" in await visitor.text("/domains/domain/shop.test")

    assert "its zone with" in await visitor.text("/domains/domain/shop.test/delete")
    reply = await visitor.send("/domains/domain/shop.test/delete")
    assert reply.status == 303
    assert await panel.model.rows("SELECT 1 FROM domain") == []


@ensureDeferred
async def test_r329_a_site_takes_a_dedicated_address_and_gives_it_back(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    page = "/domains/domain/shop.test/address"
    assert "may have a free dedicated address" in await visitor.text(page)
    refused = await visitor.send(page, {"type": "dedicated"})
    assert (refused.status, "has no free dedicated address" in refused.body.decode()) == (409, True)
    await panel.model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.50", mask="24", type="dedicated"
    )
    assert (await visitor.send(page, {"type": "dedicated"})).status == 303
    assert "192.0.2.50:80</a>, dedicated" in await visitor.text("/domains/domain/shop.test")
    assert "Give it back" in await visitor.text(page)
    refused = await visitor.send(page, {"type": "shared", "tag": "9"})
    assert (refused.status, "no shared address of tag 9" in refused.body.decode()) == (409, True)
    assert (await visitor.send(page, {"type": "shared"})).status == 303
    assert "dedicated" not in await visitor.text("/domains/domain/shop.test")


@ensureDeferred
async def test_an_internationalised_name_is_shown_in_both_forms(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    reply = await visitor.send("/domains/add", {"name": "bücher.test", "account": "acme"})
    assert reply.headers["Location"].startswith("/domains/domain/xn--bcher-kva.test?")
    for path in (
        "/domains",
        "/domains?filter=b%C3%BCcher.test",
        "/domains/domain/xn--bcher-kva.test",
    ):
        page = await visitor.text(path)
        assert "bücher.test" in page
        assert "xn--bcher-kva.test" in page


@ensureDeferred
async def test_a_box_can_be_deleted_only_when_it_is_free(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.box("spare", 9, ("web",))
    visitor = await panel.signed_in()
    assert "/boxes/box/web1/delete" not in await visitor.text("/boxes/box/web1")
    assert "/boxes/box/spare/delete" in await visitor.text("/boxes/box/spare")
    refused = await visitor.send("/boxes/box/web1/delete")
    assert refused.status == 409
    assert (await visitor.send("/boxes/box/spare/delete")).status == 303
    assert await panel.model.rows("SELECT 1 FROM box WHERE name = 'spare'") == []


@ensureDeferred
async def test_a_logical_server_is_set_up_and_taken_away_by_forms(panel: PanelSite) -> None:
    await panel.model.box("ns9", 9, ("dns",))
    visitor = await panel.signed_in()
    reply = await visitor.send(
        "/servers/add", {"name": "ns9.example.net", "type": "bind", "pserver": "ns9"}
    )
    assert reply.status == 303, reply.body.decode()
    place = "/servers/server/ns9.example.net"
    assert "ns9.example.net has no service IP" in await visitor.text(place)
    reply = await visitor.send(
        f"{place}/addresses", {"first": "192.0.2.9", "mask": "24", "type": "service"}
    )
    assert reply.status == 303, reply.body.decode()
    assert '<option value="service"' not in await visitor.text(place)  # it has its one (R339)
    assert (await visitor.send(f"{place}/signup", {"signup": "on"})).status == 303
    assert "New customers are placed" in await visitor.text(place)
    assert f"{place}/delete" not in await visitor.text(place)
    await visitor.text(f"{place}/addresses/delete?ip=192.0.2.9&port=53")
    reply = await visitor.send(f"{place}/addresses/delete", {"ip": "192.0.2.9", "port": "53"})
    held = reply.headers["Location"]  # it is the last name server
    assert "removes the last name server" in (await visitor.text("/held"))
    assert (await visitor.send(held, {"accept.last-name-server": "1"})).status == 303
    assert f"{place}/delete" in await visitor.text(place)
    assert (await visitor.send(f"{place}/delete")).status == 303
    assert await panel.model.rows("SELECT 1 FROM logical_server") == []


@ensureDeferred
async def test_a_change_is_shown_with_who_what_and_every_lane(panel: PanelSite) -> None:
    await panel.model.shop()
    visitor = await panel.signed_in()
    await panel.model.write("UPDATE box SET first_seen_at = NULL")
    reply = await visitor.send(
        "/domains/domain/shop.test/records",
        {"name": "mail", "type": "A", "values": "192.0.2.17", "ttl": ""},
    )
    number = reply.headers["Location"].partition("change=")[2]
    page = await visitor.text(f"/changes/{number}")
    assert "Record mail A added in shop.test" in page
    assert f"{NAME} <span" in page
    assert "panel 127.0.0.1" in page
    assert '<ins class="hs-value">192.0.2.17</ins>' in page
    assert "0 of 2 boxes" in page
    assert "the box never connected" in page
    for box in ("ns1", "ns2"):
        await panel.connect(box)
    assert "2 of 2 boxes" in await visitor.text(f"/changes/{number}")
    banner = await visitor.text(f"/changes/{number}/progress", {"Panel-Live": "1"})
    assert "Live on 2 of 2 boxes." in banner
    assert "hx-get" not in banner


@ensureDeferred
async def test_faults_are_listed_in_the_daemons_words_and_can_be_retried(
    panel: PanelSite,
) -> None:
    await panel.model.shop()
    await panel.model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, l.logical_server_id, 'zone', 'shop.test', 1, 'quarantined',
                  'zone shop.test/IN: not loaded' FROM lane l
           JOIN logical_server s ON s.id = l.logical_server_id WHERE s.name = 'ns1.example.net'"""
    )
    visitor = await panel.signed_in()
    page = await visitor.text("/faults")
    assert "zone shop.test/IN: not loaded" in page
    assert "not loaded" in await visitor.text("/")
    await panel.model.write(
        """UPDATE box SET connected = true;
           UPDATE lane SET condition = 'ok', settled_revision = 99"""
    )
    assert "up to date" not in await visitor.text("/servers/server/ns1.example.net")
    for path in ("/servers", "/servers/server/ns1.example.net"):
        assert "1 fault<" in await visitor.text(path)
    assert "up to date" in await visitor.text("/servers/server/ns2.example.net")
    reply = await visitor.send(
        "/faults/retry", {"lserver": "ns1.example.net", "kind": "zone", "key": "shop.test"}
    )
    assert reply.headers["Location"] == "/faults?retried=1"
    assert [kind for _, kind, _ in panel.model.fleet.retried] == ["zone"]


@ensureDeferred
async def test_health_shows_every_finding_with_its_repair_and_home_counts_them(
    panel: PanelSite,
) -> None:
    await panel.model.box("b1", 1, ("web", "dns"))
    await panel.model.server("web1", "web", "apache", "b1")
    await panel.model.server("ns1", "dns", "bind", "b1")
    visitor = await panel.signed_in()
    page = await visitor.text("/health")
    assert "web1.example.net has no default shared IP (tag 2)." in page
    assert "hsctl ip add web1.example.net --from 198.51.100.1 --mask 24 --type shared" in page
    assert 'href="/servers/server/ns1.example.net"' in page
    assert "0 breaches, 5 warnings" in page
    assert "ns1.example.net" not in await visitor.text("/health?filter=web1")
    assert "Judged <time" in page
    reply = await visitor.send("/health")
    assert (reply.status, reply.headers["Location"]) == (303, "/health")
    assert 'href="/health"><span' in (home := await visitor.text("/"))
    assert "<strong>5</strong><span>Health findings</span>" in home


@ensureDeferred
async def test_only_the_live_part_is_given_to_a_page_that_follows(panel: PanelSite) -> None:
    await panel.model.box("new1", 9, ("web",))
    visitor = await panel.signed_in()
    part = await visitor.text("/boxes", {"Panel-Live": "1"})
    assert "never connected" in part
    assert "<html" not in part
    assert "csrf" not in part
    visitor.cookie = ""
    assert (await visitor.get("/boxes", {"Panel-Live": "1"})).status == 401


@ensureDeferred
async def test_lists_are_paged_and_lead_back_to_their_beginning(panel: PanelSite) -> None:
    for number in range(53):
        await panel.model.ask("account.add", name=f"customer{number:02}")
    visitor = await panel.signed_in()
    first = await visitor.text("/accounts")
    assert "customer49" in first
    assert "customer50" not in first
    following = re.search(r'href="(/accounts\?cursor=[^"]+)" rel="next"', first)
    assert following is not None
    second = await visitor.text(following[1])
    assert "customer52" in second
    assert 'href="/accounts">First page' in second


@ensureDeferred
async def test_the_colours_chosen_are_kept_in_a_cookie(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    reply = await visitor.send("/theme", {"theme": "dark", "next": "/boxes"})
    assert reply.headers["Location"] == "/boxes"
    theme = reply.headers["Set-Cookie"].partition(";")[0]
    page = await visitor.site.ask(
        "GET",
        "/boxes",
        token=None,
        headers={"Cookie": f"__Host-hs_session={visitor.cookie}; {theme}"},
    )
    assert b'data-bs-theme="dark"' in page.body
    assert "Set-Cookie" not in (await visitor.send("/theme", {"theme": "x"})).headers


@ensureDeferred
async def test_going_back_and_sending_another_value_is_another_request(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    once = "a" * 24
    for name in ("first", "second"):
        reply = await visitor.send("/accounts/add", {"name": name, "once": once})
        assert reply.headers["Location"].startswith(f"/accounts/account/{name}?")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("//evil.test/", 404),
        ("/boxes/", 404),
        ("/boxes/box/none", 404),
        ("/domains/domain/none.test", 404),
        ("/changes/999", 404),
        ("/changes/abc", 422),
        ("/boxes?cursor=x", 422),
        ("/boxes?filter=%00", 400),
        ("/boxes?filter=%ff", 400),
        ("/boxes/box/a%2fb", 404),
        ("/boxes/box/%0d%0aSet-Cookie:x", 404),
    ],
)
@ensureDeferred
async def test_what_is_not_there_is_said_on_a_page(
    panel: PanelSite, path: str, status: int
) -> None:
    visitor = await panel.signed_in()
    reply = await visitor.get(path)
    assert reply.status == status
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"Go to the start" in reply.body
    assert b"Sign out" in reply.body
