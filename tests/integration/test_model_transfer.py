"""The model as a document: out, in again, in as a difference; refused whole where it cannot be."""

import tomllib
from typing import Any

import attrs
import pytest
from pytest_twisted import ensureDeferred

from controller.cluster.model import file as model_file
from tests.integration.model import Model
from tests.unit.controller.hsctl.conftest import product_registry

NS1, NS2 = "ns1.example.net", "ns2.example.net"
WEB, MAIL = "web1.example.net", "mail1.example.net"


async def furnish(model: Model) -> None:
    """Make servers of several groups with every kind of thing that a model has."""
    await model.cluster()
    await model.ask(
        "pserver.add",
        name="mail1",
        ip="2001:db8::9",
        mask="64",
        groups=("mail", "mysql"),
        os_family="freebsd",
        description='the "old" one, größer',
    )
    await model.server("mail1", "mail", "qmail")
    for type_, address in (("service", 9), ("outgoing", 10), ("bouncing", 11)):
        first = f"2001:db8::{address}"
        await model.ask("ip.add", lserver=MAIL, first=first, mask="64", type=type_)
    await model.ask("lserver.edit", name=WEB, description="for everybody")
    dedicated = {"lserver": WEB, "mask": "32", "type": "dedicated"}
    await model.ask("ip.add", first="192.0.2.128", last="192.0.2.191", **dedicated)
    await model.ask("ip.add", first="192.0.2.192", **dedicated)  # goes on where that ends
    await model.ask("ip.add", first="192.0.2.200", **dedicated)
    await model.ask("ip.add", lserver=WEB, first="192.0.2.4", mask="24", type="shared", tag=5)
    await model.ask("lserver.set", name=NS1, settings={"role": "master"})
    await model.ask("lserver.set", name=NS2, settings={"role": "slave1", "used_by": "all"})
    await model.ask("pserver.monitoring", name="web1", monitoring=False)
    await model.ask("pserver.intent", name="ns2", intent="maintenance")


def nothing(exported: dict[str, Any]) -> dict[str, Any]:
    return {**exported, "boxes": {}, "logical_servers": {}}


async def steps(model: Model, document: dict[str, Any], **how: Any) -> list[tuple[str, str]]:
    """Import; give the commands that were run."""
    answer = await model.ask("model.import", model=document, **how)
    return [(step["command"], step["about"]) for step in answer["steps"]]


@ensureDeferred
async def test_a_model_that_was_imported_is_exported_identically(model: Model) -> None:
    await furnish(model)
    exported = await model.ask("model.export")
    text = model_file.written(exported)
    assert tomllib.loads(text) == exported
    await model.approved("model.import", model=nothing(exported), prune=True)
    assert await model.rows("SELECT 1 FROM box UNION SELECT 1 FROM logical_server") == []
    answer = await model.ask("model.import", model=tomllib.loads(text))
    assert model_file.written(await model.ask("model.export")) == text
    assert [line["pserver"] for line in answer["enrolment"]] == ["mail1", "ns1", "ns2", "web1"]
    assert all("hs-agent enrol" in line["enrolment_command"] for line in answer["enrolment"])
    assert await steps(model, exported) == []


@ensureDeferred
async def test_the_export_has_names_and_ranges_and_no_number_of_a_row(model: Model) -> None:
    await furnish(model)
    exported = await model.ask("model.export")
    assert exported["boxes"]["mail1"] == {
        "ip": "2001:db8::9/64",
        "groups": ["mail", "mysql"],
        "os_family": "freebsd",
        "description": 'the "old" one, größer',
    }
    assert exported["boxes"]["web1"]["monitoring"] is False
    web = exported["logical_servers"][WEB]
    assert web["addresses"][:2] == [
        {"ip": "192.0.2.128", "last": "192.0.2.192", "mask": 32, "type": "dedicated", "port": 80},
        {"ip": "192.0.2.200", "mask": 32, "type": "dedicated", "port": 80},
    ]
    assert (web["pserver"], web["signup"], web["description"]) == ("web1", True, "for everybody")
    assert exported["logical_servers"][NS1]["settings"]["role"] == "master"
    identities = await model.rows("SELECT id::text FROM box UNION SELECT id::text FROM cluster")
    assert not any(identity in str(exported) for (identity,) in identities)


@ensureDeferred
async def test_a_difference_is_the_commands_that_make_up_for_it(model: Model) -> None:
    await furnish(model)
    wanted = await model.ask("model.export")
    wanted["boxes"]["web1"] = {**wanted["boxes"]["web1"], "description": "third rack"}
    wanted["boxes"]["web1"].pop("monitoring")
    wanted["boxes"]["ns2"].pop("intent")
    wanted["boxes"]["mail1"]["groups"] = ["mail", "postgresql"]
    web = wanted["logical_servers"][WEB]
    web["addresses"][1] |= {"ip": "192.0.2.193", "last": "192.0.2.200"}
    web.pop("signup")
    assert wanted["logical_servers"][NS1].pop("settings") == {"role": "master"}
    wanted["logical_servers"][MAIL]["description"] = "one"
    before = await model.footprint()
    told = await model.run("model.import", model=wanted, dry_run=True)
    assert await model.footprint() == before
    assert told.plan is not None
    assert ("box", "web1") in {(row.relation, row.key) for row in told.plan.rows}
    done = await model.ask("model.import", model=wanted)
    assert done["steps"] == told.result["steps"]
    assert [(step["command"], step["about"]) for step in done["steps"]] == [
        ("pserver.edit", "mail1"),
        ("pserver.intent", "ns2"),
        ("pserver.edit", "web1"),
        ("lserver.edit", MAIL),
        ("ip.add", f"192.0.2.193 of {WEB}"),
        ("lserver.set", NS1),
        ("lserver.signup", WEB),
        ("pserver.edit", "mail1"),
        ("pserver.monitoring", "web1"),
    ]
    web["addresses"][:2] = [{**web["addresses"][0], "last": "192.0.2.200"}]
    assert await model.ask("model.export") == wanted


@ensureDeferred
async def test_an_import_is_one_change_with_every_row_it_touched(model: Model) -> None:
    await furnish(model)
    wanted = await model.ask("model.export")
    wanted["boxes"]["web1"]["description"] = "third rack"
    wanted["logical_servers"][WEB]["description"] = "other words"
    done = await model.run("model.import", model=wanted)
    change = await model.ask("change.show", id=done.change_id)
    assert change["command"] == "model.import"
    assert change["request"] == {"model": "(secret)", "prune": False}
    assert {(row["relation"], row["key"]) for row in change["rows"]} == {
        ("box", "web1"),
        ("logical_server", WEB),
    }
    again = await model.run("model.import", model=wanted)
    assert (again.change_id, again.since) == (None, None), "another model may have been imported"


@ensureDeferred
async def test_what_a_model_lacks_stays_and_is_listed_unless_pruned(model: Model) -> None:
    await furnish(model)
    wanted = await model.ask("model.export")
    del wanted["boxes"]["mail1"]
    del wanted["logical_servers"][MAIL]
    del wanted["logical_servers"][WEB]["addresses"][0]
    answer = await model.ask("model.import", model=wanted)
    assert answer["steps"] == []
    assert answer["left"] == ["pserver mail1", f"lserver {MAIL}", f"65 addresses of {WEB}"]
    ran = await steps(model, wanted, prune=True)
    assert ("ip.delete", "192.0.2.128-192.0.2.192") in ran
    assert ran[-2:] == [("lserver.delete", MAIL), ("pserver.delete", "mail1")]
    assert await model.ask("model.export") == wanted


@ensureDeferred
async def test_an_address_goes_from_one_server_to_another_when_pruned(model: Model) -> None:
    await furnish(model)
    await model.box("web2", 12, ("web",))
    await model.server("web2", "web", "apache")
    wanted = await model.ask("model.export")
    moved = wanted["logical_servers"][WEB]["addresses"].pop(1)
    shared = {"ip": "192.0.2.7", "mask": 24, "type": "shared", "port": 80, "tag": 2}
    wanted["logical_servers"]["web2.example.net"]["addresses"] = [moved, shared]
    assert (await model.refused("model.import", model=wanted)).id == "ip.endpoint.taken"
    await model.ask("model.import", model=wanted, prune=True)
    assert await model.ask("model.export") == wanted


@ensureDeferred
async def test_a_setting_that_names_a_server_waits_for_it(model: Model) -> None:
    await model.box("db1", 20, ("mysql", "web"))
    await model.server("db1", "mysql", "mysql")
    await model.server("a", "web", "apache", "db1")
    options = (await model.ask("lserver.show", name="a.example.net"))["options"]
    (naming,) = (one["name"] for one in options if one["server_group"] == "mysql")
    await model.ask("lserver.set", name="a.example.net", settings={naming: "db1.example.net"})
    exported = await model.ask("model.export")
    assert exported["logical_servers"]["a.example.net"]["settings"] == {naming: "db1.example.net"}
    # It comes first by its name, and cannot be added with that setting.
    wiped = nothing(exported)
    wiped["boxes"] = exported["boxes"]
    await model.ask("lserver.set", name="a.example.net", settings={naming: ""})
    await model.ask("model.import", model=wiped, prune=True)
    assert await steps(model, exported) == [
        ("lserver.add", "a.example.net"),
        ("lserver.add", "db1.example.net"),
        ("lserver.set", "a.example.net"),
    ]
    assert await model.ask("model.export") == exported


@pytest.mark.parametrize(
    ("path", "value", "identity", "field"),
    [
        (("format",), 2, "model.format.unknown", "model.format"),
        (("service_domain",), "other.test", "model.conflict", "model.service_domain"),
        (("boxes", "web1", "colour"), "red", "model.invalid", "model.boxes[...]"),
        (("boxes", "web1", "ip"), "192.0.2.300/24", "ip.address.invalid", "ip"),
        (("boxes", "web1", "groups"), ["none"], "pserver.groups.invalid", "model"),
        (
            ("logical_servers", NS1, "type"),
            "apache",
            "lserver.type.invalid",
            "type",
        ),
        (
            ("logical_servers", MAIL),
            {"group": "mysql", "type": "mysql", "pserver": "mail1"},
            "model.conflict",
            f"model.logical_servers.{MAIL}.group",
        ),
        (("logical_servers", NS1, "pserver"), "nowhere", "pserver.unknown", "model"),
        (
            ("logical_servers", NS1, "pserver"),
            ["ns1", "ns2"],
            "model.conflict",
            f"model.logical_servers.{NS1}.pserver",
        ),
        (
            ("logical_servers", NS1, "settings"),
            {"no": 1},
            "lserver.settings.invalid",
            "settings.no",
        ),
    ],
)
@ensureDeferred
async def test_a_model_that_cannot_be_is_refused_and_nothing_is_written(
    model: Model, path: tuple[str, ...], value: Any, identity: str, field: str
) -> None:
    await furnish(model)
    wanted = await model.ask("model.export")
    wanted["boxes"]["added"] = {"ip": "198.51.100.77/24", "groups": ["web"]}
    place = wanted
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    before = await model.ask("model.export")
    error = await model.refused("model.import", model=wanted)
    assert (error.id, error.field) == (identity, field)
    assert await model.ask("model.export") == before


@ensureDeferred
async def test_a_refusal_names_the_step_and_undoes_the_steps_before(model: Model) -> None:
    await model.shop()
    wanted = await model.ask("model.export")
    wanted["boxes"]["added"] = {"ip": "198.51.100.77/24", "groups": ["web"]}
    del wanted["logical_servers"][WEB]
    error = await model.refused("model.import", model=wanted, prune=True)
    assert error.id == "ip.in-use"
    assert error.message.startswith("ip.delete 192.0.2.3: ")


@ensureDeferred
async def test_a_name_that_is_given_twice_is_refused(model: Model) -> None:
    await furnish(model)
    wanted = await model.ask("model.export")
    wanted["boxes"]["WEB1"] = wanted["boxes"]["web1"]
    assert (await model.refused("model.import", model=wanted)).id == "model.name.twice"


KNOWN_FIELDS = {
    "pserver.add": {"name", "ip", "mask", "groups", "os_family", "description"},
    "pserver.edit": {"name", "ip", "mask", "groups", "os_family", "description"},
    "pserver.intent": {"name", "intent"},
    "pserver.monitoring": {"name", "monitoring"},
    "lserver.add": {"name", "group", "type", "pserver", "description", "settings"},
    "lserver.edit": {"name", "description"},
    "lserver.set": {"name", "settings"},
    "lserver.move": {"name", "to"},
    "lserver.signup": {"name", "signup"},
    "ip.add": {"lserver", "first", "last", "mask", "type", "tag", "port"},
    "ip.edit": {"ip", "port", "mask", "tag", "new_port"},
}


@pytest.mark.parametrize("command", KNOWN_FIELDS)
def test_the_model_has_every_field_that_these_commands_take(command: str) -> None:
    """A field that is added to one of them needs a place in the document, then here."""
    fields = {field.name for field in attrs.fields(product_registry()[command].request)}
    assert fields - KNOWN_FIELDS[command] == set()
