"""Undo: what comes back, and what is in the way and refused."""

import pytest_twisted

from tests.integration.key_pairs import pair
from tests.integration.model import OPERATOR, Model
from tests.integration.small_cluster import WEB, model_rows, refused, undo
from tests.integration.test_audit import as_owner


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
async def test_a_site_gets_its_address_back_though_new_ones_are_on_another_port(
    small: Model,
) -> None:
    await small.ask("site.address", name="one.test", type="dedicated")
    await small.ask("ip.edit", ip="192.0.2.3", new_port=8080)
    before = await model_rows(small)
    back = await small.run("site.address", name="one.test", type="shared", tag=30)
    await undo(small, back.change_id)
    assert await model_rows(small) == before
    gone = await small.run("domain.delete", name="one.test")
    await undo(small, gone.change_id)
    assert await model_rows(small) == before


@pytest_twisted.ensureDeferred
async def test_a_site_does_not_go_back_to_a_port_that_its_server_answers_on_no_more(
    small: Model,
) -> None:
    await small.ask("site.address", name="one.test", type="dedicated")
    await small.ask("ip.edit", ip="192.0.2.3", new_port=8080)
    back = await small.run("site.address", name="one.test", type="shared")
    await small.ask("ip.delete", ip="203.0.113.100")
    assert (await refused(small, back.change_id)).id == "site.address.none-free"
    await small.ask("ip.add", first="203.0.113.100", **WEB, type="shared", tag=30, port=80)
    await undo(small, back.change_id)
    gone = await small.run("domain.delete", name="one.test")
    await small.ask("ip.delete", ip="203.0.113.100")
    assert (await refused(small, gone.change_id)).id == "undo.place-gone"


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
