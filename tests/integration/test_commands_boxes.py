"""Physical servers as people decide of them: edit, intent, monitoring, retirement, enrolment."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.integration.model import Model


async def one_box(model: Model, name: str = "web9", groups: tuple[str, ...] = ("web",)) -> None:
    await model.box(name, 9, groups)


async def stored(model: Model, name: str) -> tuple[Any, ...]:
    ((row),) = await model.rows(
        """SELECT host(address), masklen(address), os_family, groups, description, intent,
                  monitoring, version FROM box WHERE name = %s""",
        (name,),
    )
    return row


@ensureDeferred
async def test_r238_address_and_mask_of_a_box_are_edited(model: Model) -> None:
    await one_box(model)
    await model.ask("pserver.edit", name="web9", ip="203.0.113.7")
    assert (await stored(model, "web9"))[:2] == ("203.0.113.7", 24)
    await model.ask("pserver.edit", name="web9", mask="255.255.255.128")
    assert (await stored(model, "web9"))[:2] == ("203.0.113.7", 25)
    await model.ask("pserver.edit", name="web9", ip="2001:db8::7", mask="64")
    assert (await stored(model, "web9"))[:2] == ("2001:db8::7", 64)


@ensureDeferred
async def test_r238_a_mask_that_does_not_fit_the_address_is_refused(model: Model) -> None:
    await one_box(model)
    await model.ask("pserver.edit", name="web9", ip="2001:db8::7", mask="64")
    refused = await model.refused("pserver.edit", name="web9", ip="192.0.2.7")
    assert (refused.id, refused.field) == ("ip.mask.invalid", "mask")


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"ip": "192.0.2.300"}, "ip.address.invalid", "ip"),
        ({"mask": "33"}, "ip.mask.invalid", "mask"),
        ({"os_family": "beos"}, "pserver.os.invalid", "os_family"),
        ({"groups": ("web", "nonsense")}, "pserver.groups.invalid", "groups"),
        ({"groups": ()}, "pserver.groups.invalid", "groups"),
        ({"description": "two\nlines"}, "text.invalid", "description"),
    ],
)
@ensureDeferred
async def test_r229_a_field_that_cannot_be_is_refused(
    model: Model, fields: dict[str, Any], error: str, field: str
) -> None:
    await one_box(model)
    before = await stored(model, "web9")
    refused = await model.refused("pserver.edit", name="web9", **fields)
    assert (refused.id, refused.field) == (error, field)
    assert await stored(model, "web9") == before


@ensureDeferred
async def test_r243_groups_of_a_box_are_replaced(model: Model) -> None:
    await one_box(model)
    done = await model.run("pserver.edit", name="web9", groups=("web", "mysql"), description="Hall")
    assert (await stored(model, "web9"))[3:5] == (["web", "mysql"], "Hall")
    assert done.change_id is not None
    ((before, after),) = await model.rows(
        "SELECT before, after FROM change_row WHERE change_id = %s", (done.change_id,)
    )
    assert before == {"groups": ["web"], "description": ""}
    assert after == {"groups": ["web", "mysql"], "description": "Hall"}


@ensureDeferred
async def test_r244_a_group_that_a_server_on_the_box_needs_stays(model: Model) -> None:
    await one_box(model)
    await model.server("web9", "web", "apache")
    before = await stored(model, "web9")
    refused = await model.refused("pserver.edit", name="web9", groups=("dns",))
    assert (refused.id, refused.field) == ("lserver.group.not-on-box", "groups")
    assert await stored(model, "web9") == before
    await model.ask("pserver.edit", name="web9", groups=("dns", "web"))


@ensureDeferred
async def test_an_edit_that_changes_nothing_is_no_change(model: Model) -> None:
    await one_box(model)
    done = await model.run("pserver.edit", name="web9", ip="198.51.100.9")
    assert done.change_id is None
    assert (await stored(model, "web9"))[-1] == 1


@ensureDeferred
async def test_a_dry_run_edits_nothing(model: Model) -> None:
    await one_box(model)
    done = await model.run("pserver.edit", name="web9", ip="203.0.113.7", dry_run=True)
    assert done.plan is not None
    assert [(row.action, row.key) for row in done.plan.rows] == [("change", "web9")]
    assert (await stored(model, "web9"))[0] == "198.51.100.9"


@pytest.mark.parametrize("word", ["no-signup", "draining", "maintenance", "open"])
@ensureDeferred
async def test_an_intent_is_set_with_its_meaning(model: Model, word: str) -> None:
    await one_box(model)
    told = await model.ask("pserver.intent", name="web9", intent=word)
    assert told["meaning"]
    shown = await model.ask("pserver.show", name="web9")
    assert shown["intent"] == word
    assert shown["muted"] is (word == "maintenance")


@ensureDeferred
async def test_no_logical_server_is_put_on_a_box_that_is_drained(model: Model) -> None:
    await one_box(model)
    await model.box("web8", 8, ("web",))
    await model.server("web8", "web", "apache")
    await model.ask("pserver.intent", name="web9", intent="draining")
    for command, fields in (
        ("lserver.add", {"name": "a.example.net", "group": "web", "type": "apache"}),
        ("lserver.move", {"name": "web8.example.net"}),
    ):
        field = "pserver" if command == "lserver.add" else "to"
        refused = await model.refused(command, **fields, **{field: "web9"})
        assert (refused.id, refused.field) == ("pserver.draining", field)


@ensureDeferred
async def test_an_intent_that_is_none_is_refused(model: Model) -> None:
    await one_box(model)
    refused = await model.refused("pserver.intent", name="web9", intent="asleep")
    assert refused.id == "pserver.intent.invalid"
    assert "maintenance" in refused.allowed


@ensureDeferred
async def test_r250_monitoring_is_switched_per_box(model: Model) -> None:
    await one_box(model)
    assert (await model.ask("pserver.show", name="web9"))["monitoring"] is True
    done = await model.run("pserver.monitoring", name="web9", monitoring=False)
    assert done.change_id is not None
    assert (await model.ask("pserver.show", name="web9"))["monitoring"] is False
    again = await model.run("pserver.monitoring", name="web9", monitoring=False)
    assert again.change_id is None


@ensureDeferred
async def test_r255_a_box_is_deleted_only_when_free(model: Model) -> None:
    await one_box(model)
    await model.server("web9", "web", "apache")
    refused = await model.refused("pserver.delete", name="web9")
    assert (refused.id, refused.status) == ("pserver.in-use", 409)
    assert "web9.example.net" in refused.allowed
    await model.ask("lserver.delete", name="web9.example.net")
    await model.ask("pserver.delete", name="web9")
    assert await model.rows("SELECT 1 FROM box") == []


# --- retirement ---


async def certificate(model: Model, name: str) -> None:
    await model.write(
        """INSERT INTO certificate (serial, name, box_id, not_after)
           SELECT 77, 'box', id, now() + interval '1 day' FROM box WHERE name = %s""",
        (name,),
    )


@ensureDeferred
async def test_a_box_is_retired_only_by_somebody_who_knows_that_it_is_gone(model: Model) -> None:
    await one_box(model)
    refused = await model.refused("pserver.retire", name="web9")
    assert (refused.id, refused.field) == ("pserver.retire.unconfirmed", "box_is_gone")
    assert (await model.ask("pserver.show", name="web9"))["retired_at"] is None


@ensureDeferred
async def test_a_retired_box_is_shut_out_and_what_was_on_it_is_listed_with_new_places(
    model: Model,
) -> None:
    await model.shop()
    await model.box("spare", 8, ("web", "dns"))
    await model.box("other", 7, ("mail",))
    await model.write("UPDATE box SET first_seen_at = now()")
    await certificate(model, "web1")
    told = await model.ask("pserver.retire", name="web1", box_is_gone=True)
    assert told["revoked_certificates"] == 1
    assert model.fleet.revoked == [77]
    (left,) = told["logical_servers"]
    assert (left["name"], left["sites"], left["places"]) == ("web1.example.net", 1, ["spare"])
    shown = await model.ask("pserver.show", name="web1")
    assert shown["retired_at"] is not None
    assert shown["logical_servers"] == ["web1.example.net"]
    assert await model.rows("SELECT count(*) FROM site") == [(1,)]
    again = await model.refused("pserver.retire", name="web1", box_is_gone=True)
    assert again.id == "pserver.retired"
    refused = await model.refused("pserver.intent", name="web1", intent="open")
    assert refused.id == "pserver.retired"


@ensureDeferred
async def test_nothing_is_placed_on_a_retired_box(model: Model) -> None:
    await model.shop()
    await model.ask("pserver.retire", name="web1", box_is_gone=True)
    refused = await model.refused("domain.add", name="other.test", account="acme")
    assert refused.id == "web.none-open"


@ensureDeferred
async def test_a_place_where_a_rule_would_break_is_not_named(model: Model) -> None:
    await model.cluster()
    told = await model.ask("pserver.retire", name="ns1", box_is_gone=True)
    (left,) = told["logical_servers"]
    # ns2 has the group, and a name server already (R25, A3).
    assert left["places"] == []


@ensureDeferred
async def test_a_retired_box_that_is_enrolled_anew_keeps_its_objects(model: Model) -> None:
    await model.shop()
    before = await model.objects("web1.example.net")
    identity = await model.rows("SELECT id FROM box WHERE name = 'web1'")
    await model.ask("pserver.retire", name="web1", box_is_gone=True)
    told = await model.ask("pserver.enroll", name="web1")
    assert told["token"]
    shown = await model.ask("pserver.show", name="web1")
    assert (shown["retired_at"], shown["intent"]) == (None, "draining")
    assert await model.rows("SELECT id FROM box WHERE name = 'web1'") == identity
    assert await model.objects("web1.example.net") == before


# --- enrolment lines ---


@ensureDeferred
async def test_a14_adding_a_box_answers_the_lines_to_run_there(model: Model) -> None:
    told = await model.ask("pserver.add", name="a", ip="192.0.2.1", mask="24", groups=("web",))
    assert told["install_command"] == "apt-get install --yes heliosphere-agent"
    assert told["enrolment_command"].startswith(
        f"hs-agent enrol --controller 198.51.100.99:8445 {told['token']}"
    )


@ensureDeferred
async def test_r239_for_windows_the_line_is_powershell(model: Model) -> None:
    told = await model.ask(
        "pserver.add", name="w", ip="192.0.2.1", mask="24", groups=("windows",), os_family="windows"
    )
    assert told["install_command"] is None
    assert told["enrolment_command"] == (
        r"& 'C:\Program Files\Heliosphere\hs-agent.exe' enrol --controller '198.51.100.99:8445'"
        f" '{told['token']}'; Restart-Service heliosphere-agent"
    )


@ensureDeferred
async def test_a_token_ends_by_the_clock_of_the_database(model: Model) -> None:
    """Which judges it: the controller's own may be years away from it, as it is here."""
    told = await model.ask("pserver.add", name="a", ip="192.0.2.1", mask="24", groups=("web",))
    ((day, shown),) = await model.rows(
        """SELECT expires_at - now() BETWEEN interval '23 hours' AND interval '24 hours',
                  to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI')
           FROM enrolment_token"""
    )
    assert day
    assert told["expires_at"].startswith(shown)
