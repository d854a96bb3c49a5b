"""What is said of a move of an address before it is begun, and what boxes are asked about it."""

import pytest
import pytest_twisted

from controller.hosting.moves import GRACE_SECONDS, REHEARSED
from controller.hosting.service_zone import TTL
from tests.integration.address_moves import (
    LATER,
    NEW,
    OLD,
    WEB1,
    WEB_NEW,
    WEB_OLD,
    to_the_end,
)
from tests.integration.hosted import NS1, NS2, hosted
from tests.integration.model import NOW, Model
from tests.integration.rehearsals import rehearse


@pytest_twisted.ensureDeferred
async def test_a_dry_run_says_what_would_follow_and_writes_nothing(model: Model) -> None:
    await hosted(model)
    policy = f'"v=spf1 ip4:{OLD} -all"'
    await model.ask("record.add", domain="z0.test", name="@", type="TXT", values=(policy,))
    await model.ask(
        "record.add", domain="z0.test", name="no", type="TXT", values=(f'"ip4:{OLD}0"',)
    )
    await model.ask("lserver.set", name=WEB1, settings={"rsync_ips": OLD})
    before = await model.footprint()
    dry = await model.run("ip.move", dry_run=True, ip=OLD, new=NEW)
    assert await model.footprint() == before
    assert await model.rows("SELECT count(*) FROM address_move") == [(0,)]
    answer = dry.result
    assert (answer["zones"], answer["old_answers_seconds"]) == (2, TTL + GRACE_SECONDS)
    assert dry.plan is not None
    assert dry.plan.words == (
        f"touches {NS1}, {NS2}",
        f"answers on {NEW} in place of {OLD}, on {NS1}",
        "2 zones follow",
        "daemons reload on 1 box at once",
    )
    assert answer["by_hand"] == [{"zone": "z0.test", "name": "@", "type": "TXT", "data": policy}]
    assert answer["settings"] == [{"server": WEB1, "setting": "rsync_ips"}]
    assert answer["warnings"] == [
        f"{NEW} is not brought up on ns1 by itself: do it by hand; the move waits for it"
    ]


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        (OLD, NEW, {NS1, NS2}),
        ("192.0.2.2", "192.0.2.102", {NS1, NS2}),
        (WEB_OLD, WEB_NEW, {NS1, WEB1}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_dry_run_asks_the_boxes_for_what_the_whole_move_then_does(
    model: Model, old: str, new: str, touched: set[str]
) -> None:
    await hosted(model, 2)
    rehearsal = await rehearse(model, "ip.move", ip=old, new=new)
    assert rehearsal.told.keys() == touched
    await model.ask("ip.move", ip=old, new=new)
    for now in (NOW, LATER, LATER + 10 * 86400):
        await to_the_end(model, now)
    await rehearsal.check(model)


@pytest.mark.parametrize(
    ("server", "type_", "site", "touched", "words"),
    [
        (WEB1, "dedicated", "z0.test", {NS1, WEB1}, "daemons reload on 1 box at once"),
        (WEB1, "dedicated", "", set(), "nothing reloads"),
        ("m1.example.net", "service", "", {NS1}, "nothing reloads"),
        ("m1.example.net", "outgoing", "", set(), "nothing reloads"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_dry_run_names_the_servers_that_are_told_and_no_others(
    model: Model, server: str, type_: str, site: str, touched: set[str], words: str
) -> None:
    await hosted(model)
    await model.box("m1", 9, ("mail",))
    await model.server("m1", "mail", "qmail")
    await model.ask("ip.add", lserver=server, first="192.0.2.50", mask="24", type=type_)
    if site:
        await model.ask("site.address", name=site, type="dedicated")
    rehearsal = await rehearse(model, "ip.move", ip="192.0.2.50", new="192.0.2.60")
    assert rehearsal.told.keys() == touched
    assert set(rehearsal.plan.foreseen.logical_servers) == touched
    assert rehearsal.plan.words[-1] == words


@pytest_twisted.ensureDeferred
async def test_a_dry_run_names_who_has_the_alias_of_a_dedicated_site(model: Model) -> None:
    await hosted(model)
    await model.ask("service.set", instant_access=True)
    await model.ask("dns.roles", master=NS2, slave1=NS1)
    await model.ask("domain.add", name="aliased.test", account="acme")
    await model.ask("ip.add", lserver=WEB1, first="192.0.2.50", mask="24", type="dedicated")
    await model.ask("site.address", name="aliased.test", type="dedicated")
    rehearsal = await rehearse(model, "ip.move", ip="192.0.2.50", new="192.0.2.60")
    assert ("zone", "example.net") in rehearsal.told[NS1]
    assert set(rehearsal.plan.foreseen.logical_servers) == {NS1, NS2, WEB1}


@pytest_twisted.ensureDeferred
async def test_no_box_is_asked_for_more_than_it_answers(model: Model) -> None:
    await hosted(model, REHEARSED + 1)
    rehearsal = await rehearse(model, "ip.move", ip=WEB_OLD, new=WEB_NEW)
    assert len(rehearsal.told[NS1]) == REHEARSED + 1  # the service zone too
    assert rehearsal.plan.differences is not None
    notes = " ".join(words for lane in rehearsal.plan.differences for words in lane.words)
    assert "too many" not in notes
