"""Logical servers in the panel: every setting by a form, roles, moves, and what is told of them."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from templates.registry import KNOWN_TYPES
from templates.settings import settings_of
from tests.integration.logical_servers import TYPES, one_of_each
from tests.integration.model import Model
from tests.panel_site import PanelSite, panel_site

pytest_plugins = ("tests.integration.model",)


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


@ensureDeferred
async def test_r289_every_setting_of_every_type_stands_in_a_form_with_its_help(
    panel: PanelSite,
) -> None:
    await one_of_each(panel.model)
    visitor = await panel.signed_in()
    for type_ in TYPES:
        page = unescape(await visitor.text(f"/servers/server/{type_}.example.net"))
        settings = settings_of(KNOWN_TYPES[type_].settings).values()
        for setting in settings:
            shown = f'name="settings.{setting.name}"' in page
            assert shown != setting.balanced, setting.name
            if shown:
                assert setting.help in page
        assert ("Save the settings" in page) == bool(settings)


@ensureDeferred
async def test_r297_settings_are_saved_and_a_wrong_one_is_marked(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    place = "/servers/server/web1.example.net"
    form = {"settings.timeout": "45", "settings.tls_port": "", "settings.miva": "mvc"}
    reply = await visitor.send(f"{place}/settings", form)
    assert reply.status == 303, reply.body.decode()
    shown = await panel.model.ask("lserver.show", name="web1.example.net")
    assert shown["settings"] == {"timeout": 45, "miva": "mvc"}
    before = await panel.model.footprint()
    reply = await visitor.send(f"{place}/settings", {**form, "settings.timeout": "1"})
    page = unescape(reply.body.decode())
    assert reply.status == 422
    assert 'id="f-settings.timeout" name="settings.timeout"' in page
    assert "Allowed: 5 to 3600" in page
    reply = await visitor.send(f"{place}/settings", {"settings.tls_port": "80"})
    assert reply.status == 409
    assert "its TLS port" in unescape(reply.body.decode())
    assert await panel.model.footprint() == before


@pytest.mark.parametrize(
    ("condition", "alert"),
    [("behind", "alert-info"), ("blocked", "alert-warning"), ("daemon-down", "alert-danger")],
)
@ensureDeferred
async def test_a_server_that_rests_is_no_alarm_and_one_that_is_down_is(
    panel: PanelSite, condition: str, alert: str
) -> None:
    await panel.model.cluster()
    await panel.model.write(
        """UPDATE lane SET condition = %s, message = 'some words' FROM logical_server s
           WHERE s.id = lane.logical_server_id AND s.name = 'web1.example.net'""",
        (condition,),
    )
    visitor = await panel.signed_in()
    page = await visitor.text("/servers/server/web1.example.net")
    assert re.findall(r'class="alert (alert-[a-z]+)"(?:(?!class="alert).)*some words', page) == [
        alert
    ]
    assert "serves on" not in page, "nobody knows: its box is not connected"
    await panel.model.write("UPDATE box SET connected = true WHERE name = 'web1'")
    page = await visitor.text("/servers/server/web1.example.net")
    assert ("serves on" in page) == (condition == "blocked")


@ensureDeferred
async def test_r267_a_modelled_server_is_added_described_moved_and_says_what_it_is(
    panel: PanelSite,
) -> None:
    for number, name in enumerate(("mail1", "mail2"), start=1):
        await panel.model.box(name, number, ("mail",))
    visitor = await panel.signed_in()
    assert "Mail: qmail (modelled)" in unescape(await visitor.text("/servers/add"))
    reply = await visitor.send(
        "/servers/add", {"name": "mail.example.net", "type": "qmail", "pserver": "mail1"}
    )
    assert reply.status == 303, reply.body.decode()
    place = "/servers/server/mail.example.net"
    assert "no box runs a server of the type qmail" in await visitor.text(place)
    assert "/servers/server/mail.example.net" not in await visitor.text("/")  # no trouble
    assert (await visitor.send(f"{place}/description", {"description": "old"})).status == 303
    assert (await visitor.send(f"{place}/description", {"description": "x" * 501})).status == 422
    assert (await visitor.send(f"{place}/move", {"to": "mail2"})).status == 303
    (server,) = (await panel.model.ask("lserver.list"))["items"]
    assert (server["description"], server["lanes"][0]["pserver"]) == ("old", "mail2")
    assert (await visitor.send(f"{place}/move", {"to": "nowhere"})).status == 422


@ensureDeferred
async def test_a_server_with_an_address_offers_no_move(panel: PanelSite) -> None:
    await panel.model.cluster()
    await panel.model.box("web2", 8, ("web",))
    visitor = await panel.signed_in()
    assert "Move to another box" not in await visitor.text("/servers/server/web1.example.net")
    await panel.model.server("web2", "web", "apache")
    assert "Move to another box" in await visitor.text("/servers/server/web2.example.net")


@ensureDeferred
async def test_r286_the_page_names_the_setting_that_keeps_a_server(panel: PanelSite) -> None:
    await one_of_each(panel.model)
    place = "/servers/server/apache.example.net"
    visitor = await panel.signed_in()
    assert f"{place}/delete" in await visitor.text(place)
    await panel.model.ask(
        "lserver.set",
        name="mysql.example.net",
        settings={"phpmyadmin_server": "apache.example.net"},
    )
    page = await visitor.text(place)
    assert "a setting of mysql.example.net" in page
    assert f"{place}/delete" not in page


@ensureDeferred
async def test_r361_roles_are_assigned_on_one_page(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    assert "are placed at random" in await visitor.text("/servers/roles")
    wanted = {"master": "ns2.example.net", "slave1": "ns1.example.net", "slave2": ""}
    assert (await visitor.send("/servers/roles", wanted)).status == 303
    assert "are placed by role" in await visitor.text("/servers/roles")
    reply = await visitor.send("/servers/roles", {**wanted, "master": "ns1.example.net"})
    assert reply.status == 422
    assert "cannot have two roles" in reply.body.decode()


@ensureDeferred
async def test_r371_the_page_says_whose_signups_fail(panel: PanelSite) -> None:
    await panel.model.cluster()
    for name in ("ns1", "ns2"):
        await panel.model.ask(
            "lserver.set", name=f"{name}.example.net", settings={"used_by": "resellers"}
        )
    visitor = await panel.signed_in()
    assert "Their signups fail" in await visitor.text("/servers/roles")


@ensureDeferred
async def test_r273_the_page_shows_the_generated_records(panel: PanelSite) -> None:
    await panel.model.cluster()
    visitor = await panel.signed_in()
    page = await visitor.text("/servers/server/web1.example.net")
    assert "A 192.0.2.3, TTL 3600" in page
    assert "generated" in page


@ensureDeferred
async def test_a7_a_change_with_a_warning_is_shown_first_and_made_when_sent_again(
    panel: PanelSite,
) -> None:
    await panel.model.cluster()
    await panel.model.ask("lserver.set", name="ns1.example.net", settings={"used_by": "resellers"})
    visitor = await panel.signed_in()
    place = "/servers/server/ns2.example.net/settings"
    before = await panel.model.footprint()
    reply = await visitor.send(place, {"settings.used_by": "resellers"})
    page = reply.body.decode()
    assert reply.status == 409
    assert "their signups fail" in page
    assert await panel.model.footprint() == before
    confirmed = re.search('name="confirmed" value="([^"]*)"', page)
    assert confirmed is not None
    form = {"settings.used_by": "resellers", "confirmed": unescape(confirmed[1])}
    assert (await visitor.send(place, {**form, "confirmed": "something else"})).status == 409
    assert (await visitor.send(place, form)).status == 303
    shown = await panel.model.ask("lserver.show", name="ns2.example.net")
    assert shown["settings"]["used_by"] == "resellers"


@ensureDeferred
async def test_r358_existing_zones_are_moved_from_the_page_of_the_roles(panel: PanelSite) -> None:
    model = panel.model
    await model.cluster()
    await model.ask("account.add", name="acme")
    visitor = await panel.signed_in()
    place = "/servers/roles/moves/new"
    assert "roles do not say where zones belong" in await visitor.text(place)
    await model.ask("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    await model.ask("domain.add", name="shop.test", account="acme")
    assert "All zones are where the roles want them" in await visitor.text(place)
    await model.ask("dns.roles", master="ns2.example.net", slave1="ns1.example.net")
    assert "1 zone changes master" in await visitor.text(place)
    assert await model.rows("SELECT count(*) FROM zone_move") == [(0,)]
    reply = await visitor.send(place, {})
    begun = reply.headers["Location"]
    move = int(begun.removeprefix("/servers/roles/moves/"))
    assert reply.status == 303
    assert "0 of 1" in await visitor.text(begun)
    assert begun in await visitor.text("/servers/roles")
    assert (await visitor.send(place, {})).status == 409
    assert (await visitor.send(f"{begun}/stop", {})).status == 303
    assert (await model.ask("dns.progress", id=move))["state"] == "stopped"
    await model.ask("lserver.signup", name="ns1.example.net", signup=False)
    assert "Let zones be on fewer servers" in await visitor.text(place)
    assert (await visitor.send(place, {})).status == 409
    held = (await visitor.send(place, {"allow_fewer": "true"})).headers["Location"]
    assert await model.rows("SELECT count(*) FROM zone_move") == [(1,)]
    assert (await visitor.send(held, {"accept.root-ns": "1"})).status == 303
    assert await model.rows("SELECT count(*) FROM zone_move") == [(2,)]


@ensureDeferred
async def test_r356_a_range_of_addresses_is_listed_by_page(panel: PanelSite) -> None:
    await panel.model.cluster()
    range_ = {"first": "198.51.100.100", "last": "198.51.100.179", "mask": "24"}
    await panel.model.ask("ip.add", lserver="web1.example.net", type="dedicated", **range_)
    visitor = await panel.signed_in()
    place = "/servers/server/web1.example.net"
    first = await visitor.text(place)
    assert first.count("/24, dedicated") + first.count("/24, shared") == 50
    following = re.search('href="([^"]*)" rel="next"', first)
    assert following is not None
    second = await visitor.text(unescape(following[1]))
    assert second.count("/24, dedicated") + second.count("/24, shared") == 31
    assert 'rel="next"' not in second
    assert "First page" in second


@ensureDeferred
async def test_r345_a_mail_server_is_offered_each_of_its_single_addresses_once(
    panel: PanelSite,
) -> None:
    await panel.model.box("mail1", 1, ("mail",))
    await panel.model.server("mail1", "mail", "qmail")
    visitor = await panel.signed_in()
    place = "/servers/server/mail1.example.net"
    for number, kind in enumerate(("service", "outgoing", "bouncing"), start=1):
        assert f">{kind}: " in await visitor.text(place)
        form = {"first": f"192.0.2.{number}", "mask": "24", "type": kind}
        assert (await visitor.send(f"{place}/addresses", form)).status == 303
        assert f">{kind}: " not in await visitor.text(place)
    assert "Add an address" not in await visitor.text(place)


@ensureDeferred
async def test_r357_a_server_is_renumbered_from_its_list_of_addresses(panel: PanelSite) -> None:
    model = panel.model
    await model.shop()
    hand = {"name": "ftp", "type": "A", "values": ("192.0.2.3",)}
    await model.ask("record.add", domain="shop.test", **hand)
    visitor = await panel.signed_in()
    own = "/servers/server/web1.example.net"
    place = f"{own}/addresses/move"
    assert f'href="{place}?ip=192.0.2.3&amp;port=80"' in await visitor.text(own)
    assert "Show what follows" in await visitor.text(f"{place}?ip=192.0.2.3&port=80")
    form = {"ip": "192.0.2.3", "port": "80", "new": "192.0.2.2", "mask": "", "keep_hours": ""}
    assert (await visitor.send(place, {**form, "new": "192.0.2.3"})).status == 422
    wrong = await visitor.send(place, {**form, "keep_hours": "many"})
    assert (wrong.status, 'id="e-keep_hours"' in wrong.body.decode()) == (422, True)
    form["new"] = "192.0.2.103"
    look = await visitor.send(place, form)
    assert look.status == 200
    assert "The records of 1 site follow" in look.body.decode()
    assert "ftp A 192.0.2.3" in look.body.decode()
    assert await model.rows("SELECT count(*) FROM address_move") == [(0,)]
    begun = await visitor.send(place, {**form, "seen": "192.0.2.103"})
    assert begun.status == 303
    moving = begun.headers["Location"]
    number = int(moving.removeprefix("/servers/moves/"))
    page = await visitor.text(moving)
    assert ("Give up" in page, "ftp A 192.0.2.3" in page) == (True, True)
    assert f'href="{moving}"' in await visitor.text(own)
    assert f'href="{moving}"' in await visitor.text("/servers/moves")
    assert (await visitor.send(place, {**form, "new": "192.0.2.104"})).status == 409
    assert (await visitor.send(f"{moving}/stop", {})).status == 303
    assert (await model.ask("ip.progress", id=number))["state"] == "stopped"
    await model.write("UPDATE address_move SET state = 'running', phase = 'switched'")
    refused = await visitor.send(f"{moving}/stop", {})
    assert (refused.status, "own already" in refused.body.decode()) == (409, True)
    assert "Give up" not in await visitor.text(moving)
    assert (await visitor.get("/servers/moves/99")).status == 404


@ensureDeferred
async def test_r264_a_server_is_renamed_after_a_look_at_what_follows(panel: PanelSite) -> None:
    model = panel.model
    await model.shop()
    hand = {"name": "ftp", "type": "CNAME", "values": ("web1.example.net.",)}
    await model.ask("record.add", domain="shop.test", **hand)
    visitor = await panel.signed_in()
    own = "/servers/server/web1.example.net"
    assert f'href="{own}/rename"' in await visitor.text(own)
    assert "Show what follows" in await visitor.text(f"{own}/rename")
    taken = await visitor.send(f"{own}/rename", {"to": "ns1.example.net"})
    assert (taken.status, 'id="e-to"' in taken.body.decode()) == (422, True)
    look = await visitor.send(f"{own}/rename", {"to": "www1.example.net"})
    assert "ftp CNAME web1.example.net." in look.body.decode()
    assert "web1.example.net" in await visitor.text("/servers")
    form = {"to": "www1.example.net", "seen": "www1.example.net"}
    done = await visitor.send(f"{own}/rename", form)
    assert done.status == 303
    assert done.headers["Location"].startswith("/servers/server/www1.example.net")


@ensureDeferred
async def test_r38_the_placement_of_a_group_is_shown_explained_simulated_and_chosen(
    panel: PanelSite,
) -> None:
    await panel.model.cluster()
    await panel.model.write("UPDATE box SET connected = true")
    await panel.model.ask("lserver.signup", name="ns2.example.net", signup=False)
    visitor = await panel.signed_in()
    assert "/servers/placement" in await visitor.text("/servers")
    page = unescape(await visitor.text("/servers/placement?group=dns&count=40"))
    assert "signup is off" in page
    assert "as master" in page
    assert '<progress class="progress" value="40" max="40" aria-label="ns1.example.net">' in page
    place = "/servers/placement"
    lines = "web1.example.net = 3"
    form = {"group": "web", "policy": "weighted", "weights": lines, "pinned": ""}
    reply = await visitor.send(place, form)
    assert reply.status == 303, reply.body.decode()
    page = unescape(await visitor.text(f"{place}?group=web"))
    assert "web1.example.net=3" in page
    before = await panel.model.footprint()
    for wrong, words in (
        ({"weights": "web1.example.net"}, "Allowed: 1 to 1000"),
        ({"weights": "web1.example.net=" + "9" * 5000}, "Allowed: 1 to 1000"),
        ({"weights": ""}, "needs weights"),
        ({"weights": "ns1.example.net=2"}, "No server of the group web has this name"),
        ({"policy": "pinned"}, "needs a server"),
        ({"policy": "fastest"}, "Not a policy of placement"),
    ):
        reply = await visitor.send(place, {**form, **wrong})
        assert reply.status in (404, 422), wrong
        assert words in unescape(reply.body.decode()), wrong
    reply = await visitor.send(place, {**form, "group": "nope"})
    assert reply.status == 422
    assert await panel.model.footprint() == before
    reply = await visitor.send(
        place, {"group": "dns", "policy": "pinned", "pinned": "ns2.example.net"}
    )
    assert reply.status == 303
    page = unescape(await visitor.text(f"{place}?group=dns"))
    assert "New zones cannot be placed" in page
    assert "All of them would be refused" in page
    for count in ("0", "1001", "many", "9" * 5000):
        page = unescape(await visitor.text(f"{place}?group=web&count={count}"))
        assert "Allowed: 1 to 1000" in page


@ensureDeferred
async def test_placement_of_an_empty_cluster_says_what_to_do(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    assert "No logical server in this group yet" in await visitor.text("/servers/placement")
