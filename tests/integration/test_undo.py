"""Undo: a new change that brings back exactly what another one changed, or a refusal."""

import time
from typing import Any

import msgspec
import pytest
import pytest_twisted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.cluster.undo_table import DECISIONS
from controller.refusal import CommandError
from controller.registry import EnrolmentInfo, build_registry
from controller.storage.secrets import Secrets
from tests.integration.key_pairs import pair
from tests.integration.model import OPERATOR, Model, NotedFleet
from tests.integration.test_audit import as_owner
from tests.strategies import undoable_commands


async def undo(model: Model, change: int | None) -> Any:
    return await model.run("change.undo", id=change)


CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "account.add": ({"name": "other"},),
    "account.delete": ({"name": "idle"},),
    "dns.roles": ({"master": "ns2.example.net", "slave1": "ns1.example.net"}, {}),
    "domain.add": ({"name": "two.test", "account": "acme"},),
    "domain.delete": ({"name": "one.test"},),
    "domain.import": (
        {"name": "one.test", "text": "a 60 IN MX 1 m\nb 60 IN A 192.0.2.9\n"},
        {"name": "one.test", "text": "www 60 IN A 192.0.2.9\n", "replace": True},
        {"name": "two.test", "text": "www 60 IN TXT x\n", "account": "acme"},
        {"name": "two.test", "text": "www 60 IN A 192.0.2.9\n", "account": "acme"},
    ),
    "ip.add": (
        {"first": "203.0.113.50", "mask": "24", "type": "shared", "tag": 9},
        {"first": "203.0.113.60", "last": "203.0.113.90", "mask": "24", "type": "dedicated"},
    ),
    "ip.delete": ({"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "last": "203.0.113.30"}),
    "ip.edit": ({"ip": "203.0.113.1", "mask": "28"}, {"ip": "203.0.113.100", "new_port": 8080}),
    "lserver.add": ({"name": "new.example.net", "group": "web", "type": "apache"},),
    "lserver.edit": ({"name": "web1.example.net", "description": "the second"},),
    "lserver.move": ({"name": "idle.example.net", "to": "web1"},),
    "lserver.set": (
        {"settings": {"tls_port": 443, "timeout": 30}},
        {"settings": {"max_request_workers": 200}},
    ),
    "lserver.signup": ({"name": "web1.example.net", "signup": False},),
    "pserver.edit": ({"ip": "198.51.100.70", "mask": "25", "groups": ("web",)},),
    "pserver.intent": ({"intent": "maintenance"},),
    "pserver.monitoring": ({"monitoring": False},),
    "record.add": (
        {"name": "www", "values": ("192.0.2.9",)},
        {"name": "x", "values": ("192.0.2.9",)},
    ),
    "record.delete": ({"name": "www"},),
    "record.set": ({"name": "www", "values": ("192.0.2.9", "192.0.2.8"), "ttl": 60},),
    "service.set": ({"third_level": True}, {"instant_access": True}),
    "site.address": ({"type": "dedicated"},),
    "site.set": ({"index": ("a.html",), "indexes": True}, {"certificate": "a new one"}),
}
"""Each command that can be undone, with what is asked of it."""
GIVEN: dict[str, dict[str, Any]] = {
    "ip.add": {"lserver": "web1.example.net"},
    "lserver.add": {"pserver": "spare"},
    "lserver.set": {"name": "web1.example.net"},
    "pserver.edit": {"name": "spare"},
    "pserver.intent": {"name": "spare"},
    "pserver.monitoring": {"name": "spare"},
    "record.add": {"domain": "one.test", "type": "A"},
    "record.delete": {"domain": "one.test"},
    "record.set": {"domain": "one.test", "type": "A"},
    "site.address": {"name": "one.test"},
    "site.set": {"name": "one.test"},
}
FORWARD_ONLY = {"lserver.add": "undo.server-gone", "a new one": "undo.secret-gone"}
"""What an undo takes away for good: that undo cannot be undone, and is refused so."""


def test_every_command_has_a_decision_and_the_undoable_ones_a_case() -> None:
    registry = build_registry(
        EnrolmentInfo("controller.example.net", 8445, "00" * 32),
        time.time,
        fleet=NotedFleet(),
        secrets=Secrets({b"12345678": bytes(32)}, bytes(32)),
    )
    assert set(DECISIONS) == {command.name for command in registry if command.writes}
    undoable = {name for name, told in DECISIONS.items() if told.undoable}
    assert {*CASES, "change.undo"} == undoable
    for name, told in DECISIONS.items():
        assert (bool(told.words), bool(told.instead)) == (True, not told.undoable), name


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        pytest.param(command, fields, id=f"{command}-{number}")
        for command, cases in CASES.items()
        for number, fields in enumerate(cases, 1)
    ],
)
@pytest_twisted.ensureDeferred
async def test_each_undoable_command_is_undone_and_done_again(
    small: Model, command: str, fields: dict[str, Any]
) -> None:
    asked = {**GIVEN.get(command, {}), **fields}
    once = command
    if "certificate" in asked:
        once, (asked["certificate"], asked["key"]) = "a new one", pair("one.test")
    if command == "dns.roles" and not fields:
        await small.ask("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    if "confirm" not in asked and asked.get("last") == "203.0.113.30":
        asked["confirm"] = 29
    before = await model_rows(small)
    done = await small.run(command, **asked)
    after = await model_rows(small)
    assert after != before
    undone = await undo(small, done.change_id)
    assert await model_rows(small) == before
    if once in FORWARD_ONLY:
        assert (await refused(small, undone.change_id)).id == FORWARD_ONLY[once]
        return
    again = await undo(small, undone.change_id)
    assert await model_rows(small) == after
    await undo(small, again.change_id)
    assert await model_rows(small) == before


async def shown(model: Model) -> list[tuple[str, str, int, bool]]:
    found = await model.rows(
        """SELECT r.name, r.type, r.ttl, r.generated, r.data FROM record r JOIN zone z
           ON z.id = r.zone_id WHERE z.name = 'shop.test' ORDER BY 1, 2, 5"""
    )
    return found


@pytest_twisted.ensureDeferred
async def test_a_replaced_record_comes_back_as_the_systems_own(model: Model) -> None:
    await model.shop()
    before = await shown(model)
    done = await model.run(
        "record.set", domain="shop.test", name="www", type="A", values=("192.0.2.77",), ttl=60
    )
    assert await shown(model) != before
    undone = await undo(model, done.change_id)
    assert await shown(model) == before
    change = await model.ask("change.show", id=undone.change_id)
    assert (change["undoes"], change["command"]) == (done.change_id, "change.undo")
    assert (await model.ask("change.show", id=done.change_id))["undone_by"] == [undone.change_id]
    again = await undo(model, undone.change_id)
    assert ("www", "A", 60, False, "192.0.2.77") in await shown(model)
    await undo(model, again.change_id)
    assert await shown(model) == before


@pytest_twisted.ensureDeferred
async def test_a_deleted_domain_comes_back_with_its_ids(model: Model) -> None:
    await model.shop()
    await model.ask("site.set", name="shop.test", index=("a.html",))
    read = """SELECT d.id, s.id, s.settings, s.ip_address_id, z.contact, z.ttl
              FROM domain d JOIN site s ON s.domain_id = d.id JOIN zone z ON z.domain_id = d.id"""
    before, records = await model.rows(read), await shown(model)
    done = await model.run("domain.delete", name="shop.test")
    undone = await undo(model, done.change_id)
    assert (await model.rows(read), await shown(model)) == (before, records)
    await undo(model, undone.change_id)
    assert await model.rows(read) == []


DUMP = """
SELECT 'account ' || id || name FROM account
UNION ALL SELECT 'cluster ' || third_level || instant_access FROM cluster
UNION ALL SELECT 'domain ' || d::text FROM (SELECT id, owner_id, name, reversed FROM domain) d
UNION ALL SELECT 'zone ' || z::text FROM
    (SELECT name, owner_id, domain_id, ttl, contact FROM zone) z
UNION ALL SELECT 'zone server ' || n::text FROM
    (SELECT z.name, n.logical_server_id, n.role FROM zone_server n JOIN zone z ON z.id = n.zone_id
     WHERE z.owner_id IS NOT NULL) n
UNION ALL SELECT 'record ' || r::text FROM
    (SELECT z.name AS zone, r.owner_id, r.name, r.type, r.ttl, r.data, r.generated
     FROM record r JOIN zone z ON z.id = r.zone_id) r
UNION ALL SELECT 'site ' || s::text FROM
    (SELECT s.id, s.owner_id, s.domain_id, s.logical_server_id, i.address, s.settings,
            s.certificate_id, s.alias FROM site s JOIN ip_address i ON i.id = s.ip_address_id) s
UNION ALL SELECT 'address ' || i::text FROM
    (SELECT logical_server_id, address, prefix, port, type, tag, site_id FROM ip_address) i
UNION ALL SELECT 'server ' || s::text FROM
    (SELECT id, name, group_name, service_type, description, settings, signup
     FROM logical_server) s
UNION ALL SELECT 'lane ' || l::text FROM (SELECT box_id, logical_server_id FROM lane) l
UNION ALL SELECT 'box ' || b::text FROM
    (SELECT id, name, address, os_family, groups, intent, description, monitoring, retired_at
     FROM box) b
"""
"""The model, without what only grows and without the ids that nothing outside the rows knows."""


async def model_rows(model: Model) -> list[str]:
    """Give the model, and what boxes are told of it, less serials and the derived service zone."""
    told = await model.rows(
        """SELECT o.logical_server_id::text, o.kind, o.key, o.spec FROM desired_object o
           WHERE NOT o.deleted AND o.key <> 'example.net'"""
    )
    objects = []
    for server, kind, key, spec in told:
        fields = msgspec.msgpack.decode(spec)
        fields.pop("serial", None)
        objects.append(f"object {server} {kind} {key} {msgspec.json.encode(fields)!r}")
    return sorted([*(row for (row,) in await model.rows(DUMP)), *objects])


async def is_undone(model: Model, change: int) -> int | None:
    """Undo a change, or see that its refusal left the model alone."""
    before = await model_rows(model)
    try:
        return (await undo(model, change)).change_id
    except CommandError as error:
        refusal = error
    assert refusal.allowed
    assert await model_rows(model) == before
    return None


@pytest_twisted.async_yield_fixture
async def small(model: Model) -> Any:
    await model.cluster()
    await model.box("spare", 9, ("web", "mail"))
    await model.write("UPDATE box SET first_seen_at = now()")
    web = {"lserver": "web1.example.net", "mask": "24"}
    last = "203.0.113.30"
    await model.ask("ip.add", first="203.0.113.1", last=last, type="dedicated", **web)
    await model.ask("ip.add", first="203.0.113.100", type="shared", tag=30, **web)
    await model.server("idle", "web", "apache", "spare")
    await model.ask("account.add", name="idle")
    await model.ask("account.add", name="acme")
    await model.ask("domain.add", name="one.test", account="acme")
    yield model


@given(asked=st.lists(undoable_commands, min_size=10, max_size=30), earlier=st.integers(0, 40))
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest_twisted.ensureDeferred
async def test_undo_right_after_a_command_leaves_the_model_as_before(
    small: Model, asked: list[tuple[str, dict[str, Any]]], earlier: int
) -> None:
    for command, fields in asked:
        before = await model_rows(small)
        try:
            done = await small.run(command, **fields)
        except CommandError:
            continue
        if done.change_id is None:
            continue
        after = await model_rows(small)
        try:
            undone = await undo(small, done.change_id)
        except CommandError as error:
            # A free dedicated address keeps its port when that of the sites moves on: once it is
            # deleted, the rule of today stands against it.
            if (command, error.id) != ("ip.delete", "ip.dedicated.port"):
                raise
            continue
        assert await model_rows(small) == before, (command, fields)
        if command != "lserver.add":
            await undo(small, undone.change_id)
            assert await model_rows(small) == after, (command, fields)
    changes = await small.rows("SELECT id FROM change ORDER BY id DESC")
    await is_undone(small, changes[earlier % len(changes)][0])


async def refused(model: Model, change: int | None) -> CommandError:
    return await model.refused("change.undo", id=change)


@pytest_twisted.ensureDeferred
async def test_what_was_changed_again_since_is_not_overwritten(small: Model) -> None:
    www = {"domain": "one.test", "name": "www", "type": "A"}
    first = await small.run("record.set", **www, values=("192.0.2.9",))
    second = await small.run("record.set", **www, values=("192.0.2.10",))
    error = await refused(small, first.change_id)
    assert error.id == "undo.changed-since"
    assert f"change {second.change_id} (record.set by operator:ada" in error.message
    assert str(second.change_id) in error.allowed
    await undo(small, second.change_id)
    await undo(small, first.change_id)
    assert (await refused(small, first.change_id)).id == "undo.changed-since"


@pytest_twisted.ensureDeferred
async def test_another_setting_of_the_same_server_stays(small: Model) -> None:
    web = "web1.example.net"
    first = await small.run("lserver.set", name=web, settings={"timeout": 30})
    await small.ask("lserver.set", name=web, settings={"max_request_workers": 200})
    await undo(small, first.change_id)
    ((kept,),) = await small.rows("SELECT settings FROM logical_server WHERE name = %s", (web,))
    assert kept == {"max_request_workers": 200}


@pytest_twisted.ensureDeferred
async def test_a_record_comes_back_by_the_rules_of_records_alone(small: Model) -> None:
    alias = {"domain": "one.test", "name": "alias"}
    await small.ask("record.add", **alias, type="CNAME", values=("a.test.",))
    gone = await small.run("record.delete", **alias)
    await small.ask("record.add", **alias, type="A", values=("192.0.2.9",))
    error = await refused(small, gone.change_id)
    assert (error.id, error.field) == ("record.cname.beside", "id")
    await small.ask("record.add", **alias, type="TXT", values=("one", "two"), ttl=60)
    one = await small.run("record.delete", **alias, type="TXT", values=("one",))
    await small.ask("record.set", **alias, type="TXT", values=("two",), ttl=90)
    assert (await refused(small, one.change_id)).id == "undo.changed-since"


@pytest_twisted.ensureDeferred
async def test_records_beside_with_another_ttl_are_in_the_way(small: Model) -> None:
    text = {"domain": "one.test", "name": "t", "type": "TXT"}
    await small.ask("record.add", **text, values=("one",), ttl=60)
    gone = await small.run("record.delete", **text)
    await small.ask("record.add", **{**text, "type": "A"}, values=("192.0.2.1",))
    await undo(small, gone.change_id)
    gone = await small.run("record.delete", **text)
    await small.ask("record.add", **text, values=("two",), ttl=90)
    assert (await refused(small, gone.change_id)).id == "undo.changed-since"


@pytest_twisted.ensureDeferred
async def test_what_uses_a_thing_since_is_in_the_way_of_its_going(small: Model) -> None:
    made = await small.run("account.add", name="busy")
    await small.ask("domain.add", name="busy.test", account="busy")
    error = await refused(small, made.change_id)
    assert (error.id, error.status) == ("account.in-use", 409)
    assert "busy.test" in error.allowed


@pytest_twisted.ensureDeferred
async def test_a_domain_that_got_a_record_since_does_not_go(small: Model) -> None:
    made = await small.run("domain.add", name="two.test", account="acme")
    added = await small.run(
        "record.add", domain="two.test", name="x", type="A", values=("192.0.2.9",)
    )
    error = await refused(small, made.change_id)
    assert (error.id, f"change {added.change_id} " in error.message) == ("undo.changed-since", True)


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_went_cannot_come_back(small: Model) -> None:
    chain, key = pair("one.test")
    await small.ask("site.set", name="one.test", certificate=chain, key=key)
    taken = await small.run("site.set", name="one.test", certificate="")
    assert (await refused(small, taken.change_id)).id == "undo.secret-gone"
    await small.ask("site.set", name="one.test", certificate=chain, key=key)
    gone = await small.run("domain.delete", name="one.test")
    assert (await refused(small, gone.change_id)).id == "undo.secret-gone"


@pytest_twisted.ensureDeferred
async def test_a_site_gets_the_very_address_that_it_had_or_none(small: Model) -> None:
    await small.ask("domain.add", name="two.test", account="acme")
    await small.ask("site.address", name="one.test", type="dedicated")
    had = (await small.ask("site.show", name="one.test"))["address"]
    back = await small.run("site.address", name="one.test", type="shared")
    taken = await small.run("site.address", name="two.test", type="dedicated")
    assert (await small.ask("site.show", name="two.test"))["address"] == had
    error = await refused(small, back.change_id)
    assert (error.id, had in error.message) == ("site.address.none-free", True)
    await undo(small, taken.change_id)
    await undo(small, back.change_id)
    assert (await small.ask("site.show", name="one.test"))["address"] == had


@pytest_twisted.ensureDeferred
async def test_a_domain_with_a_dedicated_address_comes_back_to_it(small: Model) -> None:
    await small.ask("site.address", name="one.test", type="dedicated")
    before = await model_rows(small)
    gone = await small.run("domain.delete", name="one.test")
    await undo(small, gone.change_id)
    assert await model_rows(small) == before
    gone = await small.run("domain.delete", name="one.test")
    await small.ask("domain.add", name="two.test", account="acme")
    await small.ask("site.address", name="two.test", type="dedicated")
    assert (await refused(small, gone.change_id)).id == "undo.place-gone"


@pytest_twisted.ensureDeferred
async def test_a_domain_does_not_come_back_to_name_servers_with_other_addresses(
    small: Model,
) -> None:
    await small.ask("domain.add", name="example.org", account="acme")
    await small.write("UPDATE logical_server SET name = 'ns1.example.org' WHERE name LIKE 'ns1%%'")
    gone = await small.run("domain.delete", name="example.org")
    assert (await refused(small, gone.change_id)).id == "undo.place-gone"


@pytest_twisted.ensureDeferred
async def test_the_serial_of_a_domain_that_comes_back_only_grows(small: Model) -> None:
    await small.write("UPDATE zone SET serial = 2000000000 WHERE name = 'one.test'")
    gone = await small.run("domain.delete", name="one.test")
    await undo(small, gone.change_id)
    assert (await small.ask("domain.show", name="one.test"))["serial"] > 2_000_000_000


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_undone_says_why_and_what_to_do(small: Model) -> None:
    made = await small.run(
        "pserver.add", name="more", ip="198.51.100.20", mask="24", groups=("web",)
    )
    error = await refused(small, made.change_id)
    assert (error.id, error.status) == ("undo.never", 409)
    assert "told once" in error.message
    assert "hsctl pserver delete" in error.allowed
    assert (await refused(small, 10**30)).id == "change.unknown"


@pytest_twisted.ensureDeferred
async def test_a_change_that_kept_less_is_refused_and_no_fault(
    small: Model, database_url: str
) -> None:
    gone = await small.run("record.delete", domain="one.test", name="www")
    statement = "UPDATE change_row SET before = before - 'generated'"
    as_owner(database_url, lambda cursor: cursor.execute(statement))
    assert (await refused(small, gone.change_id)).id == "undo.not-kept"


@pytest_twisted.ensureDeferred
async def test_a_dry_run_of_an_undo_shows_its_plan_and_writes_nothing(small: Model) -> None:
    done = await small.run("record.delete", domain="one.test", name="www")
    before = await small.footprint()
    answer = await small.run_as(OPERATOR, "change.undo", dry_run=True, id=done.change_id)
    assert await small.footprint() == before
    assert answer.plan is not None
    assert [(row.action, row.key) for row in answer.plan.rows] == [("add", "one.test www A")]
    assert {each.key for each in answer.plan.objects} == {"one.test"}


@pytest_twisted.ensureDeferred
async def test_an_account_of_the_name_is_in_the_way_of_the_one_that_went(small: Model) -> None:
    gone = await small.run("account.delete", name="idle")
    made = await small.run("account.add", name="idle")
    error = await refused(small, gone.change_id)
    assert (error.id, f"change {made.change_id} " in error.message) == ("undo.changed-since", True)
