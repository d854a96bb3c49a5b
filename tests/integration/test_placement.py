"""Placement on a real model: who is chosen, what is said of the others, and what is kept (R38)."""

from collections import Counter
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, gatherResults

from controller.cluster.placement.dns_roles import PROVIDER
from controller.cluster.placement.rows import Group, read_group
from controller.cluster.placement.standings import standings
from controller.principal import Principal
from controller.refusal import CommandError
from controller.storage.database import Transaction
from tests.integration.hosted import NS1, NS2, NS3, NS4, closed, hosted, name_servers
from tests.integration.model import NOW, OPERATOR, Model
from tests.integration.zone_moves import to_the_end

WEB1, WEB2, WEB3 = (f"web{number}.example.net" for number in (1, 2, 3))


async def farm(model: Model) -> None:
    """Make three web servers and three name servers, all connected and open, and an account."""
    await model.cluster()
    for number, (name, group, type_) in enumerate(
        (("ns3", "dns", "bind"), ("web2", "web", "apache"), ("web3", "web", "apache")), start=11
    ):
        await model.box(name, number, (group,))
        await model.server(name, group, type_)
        kind = "shared" if group == "web" else "service"
        await model.ask(
            "ip.add", lserver=f"{name}.example.net", first=f"192.0.2.{number}", mask="24", type=kind
        )
        await model.ask("lserver.signup", name=f"{name}.example.net", signup=True)
    await model.write("UPDATE box SET first_seen_at = now(), connected = true")
    await model.write("UPDATE lane SET condition = 'ok'")
    await model.ask("account.add", name="acme")


async def explained(model: Model, group: str, **fields: Any) -> dict[str, tuple[str, list[str]]]:
    told = await model.ask("placement.explain", group=group, **fields)
    return {one["name"]: (one["takes"], one["reasons"]) for one in told["items"]}


async def webs(model: Model, count: int, begin: int = 0) -> Counter[str]:
    """Add domains; give how many sites came to each web server."""
    found: Counter[str] = Counter()
    for number in range(begin, begin + count):
        added = await model.ask("domain.add", name=f"shop{number}.test", account="acme")
        found[added["site"]["logical_server"]] += 1
    return found


async def holds(model: Model) -> dict[str, int]:
    return dict(await model.rows("SELECT name, holds FROM logical_server"))


async def counted(model: Model) -> dict[str, int]:
    """Count what each server holds."""
    return dict(
        await model.rows(
            """SELECT s.name, (SELECT count(*) FROM zone_server z WHERE z.logical_server_id = s.id)
                            + (SELECT count(*) FROM site x WHERE x.logical_server_id = s.id)
               FROM logical_server s"""
        )
    )


UNFIT: tuple[tuple[str, str, str], ...] = (
    ("UPDATE logical_server SET signup = false WHERE name = %s", "no", "signup is off"),
    ("UPDATE box SET intent = 'no-signup' WHERE name = 'web2'", "no", "web2 is set to no-signup"),
    ("UPDATE box SET intent = 'draining' WHERE name = 'web2'", "no", "web2 is set to draining"),
    (
        "UPDATE box SET intent = 'maintenance' WHERE name = 'web2'",
        "no",
        "web2 is set to maintenance",
    ),
    ("UPDATE box SET retired_at = now() WHERE name = 'web2'", "no", "web2 is gone for good"),
    (
        "UPDATE box SET first_seen_at = NULL, connected = false WHERE name = 'web2'",
        "no",
        "web2 has never connected",
    ),
    (
        "DELETE FROM ip_address i USING logical_server s"
        " WHERE s.id = i.logical_server_id AND s.name = %s",
        "no",
        "no shared address",
    ),
    ("UPDATE box SET connected = false WHERE name = 'web2'", "spare", "web2 is lost"),
    *(
        (
            f"UPDATE lane l SET condition = '{condition}' FROM box b"
            " WHERE b.id = l.box_id AND b.name = 'web2'",
            "spare",
            f"{words} on web2",
        )
        for condition, words in (
            ("held", "held"),
            ("ahead", "ahead of the database"),
            ("blocked", "blocked"),
            ("daemon-down", "daemon down"),
            ("disk-full", "disk full"),
        )
    ),
)


@pytest.mark.parametrize(("change", "takes", "reason"), UNFIT)
@ensureDeferred
async def test_r38_what_is_not_open_healthy_and_allowed_is_explained_and_not_drawn(
    model: Model, change: str, takes: str, reason: str
) -> None:
    await farm(model)
    assert await explained(model, "web") == {name: ("yes", []) for name in (WEB1, WEB2, WEB3)}
    await model.write(change, (WEB2,) if "%s" in change else ())
    assert (await explained(model, "web"))[WEB2] == (takes, [reason])
    assert set(await webs(model, 12)) == {WEB1, WEB3}
    await model.write(
        "UPDATE logical_server SET signup = name = %s WHERE group_name = 'web'", (WEB2,)
    )
    told = await model.ask("placement.explain", group="web")
    if takes == "spare":  # there is no other now
        assert (await explained(model, "web"))[WEB2] == ("yes", [reason])
        assert set(await webs(model, 1, 50)) == {WEB2}
    elif reason != "signup is off":
        assert told["refused"] == "no server takes new ones"
        assert (await model.refused("domain.add", name="x.test", account="acme")).id == (
            "web.none-open"
        )


@ensureDeferred
async def test_a_lane_that_is_behind_and_one_that_is_new_take_new_ones(model: Model) -> None:
    await farm(model)
    for condition in ("behind", "new", "ok"):
        await model.write("UPDATE lane SET condition = %s", (condition,))
        assert (await explained(model, "web"))[WEB2] == ("yes", [])


@ensureDeferred
async def test_a_modelled_group_says_that_no_box_runs_its_servers(model: Model) -> None:
    await farm(model)
    await model.box("mail1", 9, ("mail",))
    await model.server("mail1", "mail", "qmail")
    (told,) = (await explained(model, "mail")).values()
    assert (told[0], told[1][0]) == ("no", "modelled: no box runs it yet")
    assert await explained(model, "mysql") == {}


@ensureDeferred
async def test_least_used_goes_by_what_the_servers_hold(model: Model) -> None:
    await farm(model)
    for number, server in enumerate((WEB1, WEB1, WEB2)):
        await model.ask("domain.add", name=f"old{number}.test", account="acme", on=server)
    await model.ask("placement.set", group="web", policy="least-used")
    assert await explained(model, "web") == {
        WEB1: ("no", ["it holds 2, another one fewer"]),
        WEB2: ("no", ["it holds 1, another one fewer"]),
        WEB3: ("yes", []),
    }
    assert await webs(model, 1) == {WEB3: 1}
    assert (
        await webs(model, 4, 10) == {WEB1: 1, WEB2: 2, WEB3: 1} or (await holds(model))[WEB3] == 3
    )
    found = await holds(model)
    assert (
        max(found[web] for web in (WEB1, WEB2, WEB3))
        - min(found[web] for web in (WEB1, WEB2, WEB3))
        <= 1
    )


@ensureDeferred
async def test_weighted_and_pinned_are_obeyed(model: Model) -> None:
    await farm(model)
    weights = {WEB1: 1000, "WEB2.Example.Net.": 1000}
    await model.ask("placement.set", group="web", policy="weighted", weights=weights)
    found = await webs(model, 30)
    assert found[WEB3] <= 1, found
    assert min(found[WEB1], found[WEB2]) > 5, found
    await model.ask("placement.set", group="web", policy="pinned", pinned=WEB3)
    assert await webs(model, 5, 50) == {WEB3: 5}
    assert (await explained(model, "web"))[WEB1] == (
        "no",
        [f"all that is new is pinned to {WEB3}"],
    )


@ensureDeferred
async def test_a_pinned_server_that_takes_nothing_refuses_and_warned_of_it(model: Model) -> None:
    await farm(model)
    await model.ask("lserver.signup", name=WEB3, signup=False)
    done = await model.ask("placement.set", group="web", policy="pinned", pinned=WEB3)
    assert done["warnings"] == [f"{WEB3} takes nothing now: signup is off"]
    error = await model.refused("domain.add", name="x.test", account="acme")
    assert (error.id, error.status, WEB3 in error.message) == ("placement.pinned-closed", 409, True)
    told = await model.ask("placement.explain", group="web")
    assert WEB3 in told["refused"]
    assert {one["takes"] for one in told["items"]} == {"no"}
    # A person may say where it goes all the same.
    added = await model.ask("domain.add", name="x.test", account="acme", on=WEB1)
    assert added["site"]["logical_server"] == WEB1


@ensureDeferred
async def test_name_servers_are_placed_by_the_policy_where_no_roles_count(model: Model) -> None:
    await farm(model)
    await model.ask("placement.set", group="dns", policy="pinned", pinned=NS3)
    for number in range(5):
        added = await model.ask("domain.add", name=f"a{number}.test", account="acme")
        roles = {server["name"]: server["role"] for server in added["name_servers"]}
        assert roles == {NS3: "master", NS1: "secondary", NS2: "secondary"}
    told = await model.ask("placement.explain", group="dns", account="ACME")
    assert (told["account"], told["by_role"]) == ("acme", False)
    assert {one["name"]: one["places"] for one in told["items"]} == {
        NS1: ["secondary"],
        NS2: ["secondary"],
        NS3: ["master"],
    }
    await model.ask("dns.roles", master=NS1, slave1=NS2)
    added = await model.ask("domain.add", name="b.test", account="acme")
    roles = {server["name"]: server["role"] for server in added["name_servers"]}
    assert roles == {NS1: "master", NS2: "secondary", NS3: "secondary"}
    await model.ask("dns.roles", master=NS1, slave1=NS2, slave2=NS3)
    await model.box("ns4", 21, ("dns",))
    await model.server("ns4", "dns", "bind")
    await model.ask(
        "ip.add", lserver="ns4.example.net", first="192.0.2.21", mask="24", type="service"
    )
    await model.ask("lserver.signup", name="ns4.example.net", signup=True)
    await model.write("UPDATE box SET first_seen_at = now(), connected = true")
    told = await model.ask("placement.explain", group="dns")
    assert told["by_role"]
    assert {
        one["name"]: (one["takes"], one["places"], one["reasons"]) for one in told["items"]
    } == {
        NS1: ("yes", ["master"], []),
        NS2: ("yes", ["secondary"], []),
        NS3: ("yes", ["secondary"], []),
        "ns4.example.net": ("no", [], ["the roles name other servers"]),
    }


@ensureDeferred
async def test_r371_a_name_server_for_others_is_explained(model: Model) -> None:
    await farm(model)
    for name in (NS1, NS2):
        await model.ask("lserver.set", name=name, settings={"used_by": "resellers"})
    assert (await explained(model, "dns")) == {
        NS1: ("no", ["used by customers of resellers only"]),
        NS2: ("no", ["used by customers of resellers only"]),
        NS3: ("yes", []),
    }
    done = await model.ask("placement.set", group="dns", policy="pinned", pinned=NS1)
    assert done["warnings"] == [f"{NS1} takes nothing now: used by customers of resellers only"]


@ensureDeferred
async def test_a_zone_has_two_name_servers_though_boxes_are_lost(model: Model) -> None:
    await farm(model)
    await model.write("UPDATE box SET connected = false WHERE name IN ('ns1', 'ns2')")
    told = await model.ask("placement.explain", group="dns")
    assert {one["name"]: (one["takes"], one["places"]) for one in told["items"]} == {
        NS1: ("yes", ["secondary"]),
        NS2: ("yes", ["secondary"]),
        NS3: ("yes", ["master"]),
    }
    for number in range(4):
        added = await model.ask("domain.add", name=f"a{number}.test", account="acme")
        masters = [one["name"] for one in added["name_servers"] if one["role"] == "master"]
        assert (masters, len(added["name_servers"])) == ([NS3], 2)


# --- what is explained is what is drawn -----------------------------------------------------------


@ensureDeferred
async def test_simulation_and_draw_agree_with_what_is_explained(model: Model) -> None:
    await farm(model)
    await model.write("UPDATE box SET connected = false WHERE name = 'web1'")
    await model.ask("lserver.signup", name=NS2, signup=False)
    for policy in ("random", "least-used"):
        await model.ask("placement.set", group="web", policy=policy)
        told = await model.ask("placement.simulate", count=200, seed=3)
        dns, web = told["groups"]
        able = {one["name"]: one["new"] for one in web["servers"]}
        assert (able[WEB1], able[WEB2] + able[WEB3]) == (0, 200)
        if policy == "least-used":
            assert able[WEB2] == able[WEB3] == 100
        assert {one["name"]: one["new"] for one in dns["servers"]} == {NS1: 200, NS3: 200}
        assert sum(one["master"] for one in dns["servers"]) == 200
        assert told == await model.ask("placement.simulate", count=200, seed=3)


@ensureDeferred
async def test_a_simulation_writes_nothing_and_is_bounded(model: Model) -> None:
    await farm(model)
    before = await model.footprint()
    told = await model.ask("placement.simulate", count=1000)
    assert told["seed"] > 0
    assert await model.footprint() == before
    for fields, error_id in (
        ({"count": 0}, "placement.count.invalid"),
        ({"count": 1001}, "placement.count.invalid"),
        ({"count": 1, "seed": -1}, "placement.seed.invalid"),
        ({"count": 1, "seed": 2**31}, "placement.seed.invalid"),
    ):
        assert (await model.refused("placement.simulate", **fields)).id == error_id


@ensureDeferred
async def test_with_many_servers_fewer_accounts_are_simulated_at_once(model: Model) -> None:
    await model.cluster()
    await model.write(
        """INSERT INTO logical_server (name, group_name, service_type)
           SELECT 'w' || n || '.example.net', 'web', 'apache' FROM generate_series(1, 999) n"""
    )
    assert (await model.ask("placement.simulate", count=200))["count"] == 200
    error = await model.refused("placement.simulate", count=201)
    assert (error.id, error.allowed) == ("placement.count.invalid", "1 to 200")


@ensureDeferred
async def test_a_simulation_tells_what_new_accounts_would_be_told(model: Model) -> None:
    told = await model.ask("placement.simulate", count=5)
    assert [(one["servers"], one["refused"]) for one in told["groups"]] == [
        ([], "no name server takes new zones"),
        ([], "no web server takes new sites"),
    ]


# --- choosing -------------------------------------------------------------------------------------


@ensureDeferred
async def test_a_policy_is_shown_kept_and_in_the_audit(model: Model) -> None:
    await farm(model)
    dry = await model.run_as(
        OPERATOR, "placement.set", dry_run=True, group="web", policy="least-used"
    )
    assert dry.plan is not None
    assert [(row.relation, row.key) for row in dry.plan.rows] == [("placement", "web")]
    assert {one["policy"] for one in (await model.ask("placement.show"))["groups"]} == {"random"}
    done = await model.run(
        "placement.set", group="web", policy="weighted", weights={WEB1: 3, WEB2: 2}
    )
    (row,) = await model.rows(
        "SELECT relation, row_key, before, after FROM change_row WHERE change_id = %s",
        (done.change_id,),
    )
    assert row == (
        "placement",
        "web",
        {"policy": "random", "weights": {}, "pinned": ""},
        {"policy": "weighted", "weights": {WEB1: 3, WEB2: 2}, "pinned": ""},
    )
    shown = {one["group"]: one for one in (await model.ask("placement.show"))["groups"]}
    assert (shown["web"]["policy"], shown["web"]["weights"]) == ("weighted", {WEB1: 3, WEB2: 2})
    assert shown["dns"]["policy"] == "random"
    again = await model.run(
        "placement.set", group="web", policy="weighted", weights={WEB2: 2, WEB1: 3}
    )
    assert again.change_id is None


REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"group": "webs", "policy": "random"}, "group.invalid", "group"),
    ({"policy": "fastest"}, "placement.policy.invalid", "policy"),
    ({"policy": "weighted"}, "placement.weights.missing", "weights"),
    ({"policy": "pinned"}, "placement.pinned.missing", "pinned"),
    ({"policy": "random", "weights": {WEB1: 2}}, "placement.weights.unwanted", "weights"),
    ({"policy": "least-used", "pinned": WEB1}, "placement.pinned.unwanted", "pinned"),
    (
        {"policy": "weighted", "weights": {WEB1: 0}},
        "placement.weight.invalid",
        f"weights.{WEB1}",
    ),
    (
        {"policy": "weighted", "weights": {WEB1: 1001}},
        "placement.weight.invalid",
        f"weights.{WEB1}",
    ),
    ({"policy": "pinned", "pinned": NS1}, "placement.server.unknown", "pinned"),
    (
        {"policy": "weighted", "weights": {"web9.example.net": 2}},
        "placement.server.unknown",
        "weights.web9.example.net",
    ),
)


@ensureDeferred
async def test_a_policy_that_cannot_be_is_refused_and_writes_nothing(model: Model) -> None:
    await farm(model)
    for fields, error_id, field in REFUSED:
        error = await model.refused("placement.set", **{"group": "web", **fields})
        assert (error.id, error.field) == (error_id, field), fields
        assert await model.rows("SELECT 1 FROM placement_server") == []
    assert (await model.refused("placement.explain", group="nope")).id == "group.invalid"
    assert (
        await model.refused("placement.explain", group="web", account="nobody")
    ).id == "account.unknown"


@ensureDeferred
async def test_a_server_that_all_is_pinned_to_is_not_deleted(model: Model) -> None:
    await model.cluster()
    for name, box in (("web8", "web1"), ("web9", "web1")):
        await model.server(name, "web", "apache", box)
    await model.ask("placement.set", group="web", policy="pinned", pinned="web9.example.net")
    error = await model.refused("lserver.delete", name="web9.example.net")
    assert (error.id, "pinned to it" in error.message) == ("lserver.in-use", True)
    assert (await model.ask("lserver.show", name="web9.example.net"))["used_by"]["pinned"]
    await model.ask(
        "placement.set",
        group="web",
        policy="weighted",
        weights={"web8.example.net": 2, "web9.example.net": 3},
    )
    await model.ask("lserver.delete", name="web9.example.net")
    shown = {one["group"]: one for one in (await model.ask("placement.show"))["groups"]}
    assert shown["web"]["weights"] == {"web8.example.net": 2}
    await model.ask("lserver.delete", name="web8.example.net")
    shown = {one["group"]: one for one in (await model.ask("placement.show"))["groups"]}
    assert shown["web"]["policy"] == "random"


@ensureDeferred
async def test_of_a_deletion_and_a_pin_at_once_one_is_refused(model: Model) -> None:
    await model.cluster()
    await model.server("web9", "web", "apache", "web1")
    asked = (
        ("placement.set", {"group": "web", "policy": "pinned", "pinned": "web9.example.net"}),
        ("lserver.delete", {"name": "web9.example.net"}),
    )

    async def outcome(command: str, fields: dict[str, Any]) -> str:
        try:
            await model.run(command, **fields)
        except CommandError as error:
            return error.id
        return "done"

    told = await gatherResults(
        [Deferred.fromCoroutine(outcome(command, fields)) for command, fields in asked]
    )
    assert told in (["done", "lserver.in-use"], ["placement.server.unknown", "done"])


# --- what a server holds --------------------------------------------------------------------------


@ensureDeferred
async def test_what_each_server_holds_is_known_after_every_kind_of_change(model: Model) -> None:
    await farm(model)
    assert await holds(model) == await counted(model)  # the service zone
    for number in range(6):
        await model.ask("domain.add", name=f"a{number}.test", account="acme")
        assert await holds(model) == await counted(model)
    await model.ask("record.add", domain="a0.test", name="www2", type="A", values=("192.0.2.7",))
    await model.ask("domain.delete", name="a1.test")
    assert await holds(model) == await counted(model)
    await model.ask("domain.add", name="a1.test", account="acme")
    with pytest.raises(CommandError):
        await model.run("domain.add", name="a1.test", account="acme")
    assert await holds(model) == await counted(model)


@ensureDeferred
async def test_what_each_server_holds_is_known_while_zones_move(model: Model) -> None:
    await hosted(model, 5)
    await name_servers(model, 3, 4)
    await closed(model, NS1, NS2)
    await model.ask("dns.roles", master=NS3, slave1=NS4)
    await model.approved("dns.apply")
    for now in (NOW, NOW + 10 * 86400):
        await to_the_end(model, now)
        served = await model.rows(
            """SELECT s.name, count(o.key) FROM logical_server s
               LEFT JOIN desired_object o ON o.logical_server_id = s.id AND NOT o.deleted
                                          AND o.kind IN ('zone', 'site') GROUP BY s.name"""
        )
        assert await holds(model) == dict(served)
    found = await holds(model)
    assert found == await counted(model)
    assert found[NS3] - found[NS1] == 5  # all but the service zone went there


@ensureDeferred
async def test_a_model_takes_its_placement_along(model: Model) -> None:
    await farm(model)
    assert "placement" not in await model.ask("model.export")
    await model.ask("placement.set", group="dns", policy="pinned", pinned=NS2)
    await model.ask("placement.set", group="web", policy="weighted", weights={WEB2: 5})
    exported = await model.ask("model.export")
    assert exported["placement"] == {
        "dns": {"policy": "pinned", "pinned": NS2},
        "web": {"policy": "weighted", "weights": {WEB2: 5}},
    }
    for group in ("web", "dns"):
        await model.ask("placement.set", group=group, policy="random")
    without = await model.ask("model.export")
    done = await model.ask("model.import", model=exported)
    assert [(step["command"], step["about"]) for step in done["steps"]] == [
        ("placement.set", "dns"),
        ("placement.set", "web"),
    ]
    assert await model.ask("model.export") == exported
    left = await model.ask("model.import", model=without)
    assert (left["steps"], left["left"]) == ([], ["placement of dns", "placement of web"])
    await model.ask("model.import", model=without, prune=True)
    assert await model.ask("model.export") == without
    wrong = {**without, "placement": {"web": {"policy": "pinned", "pinned": "x.example.net"}}}
    error = await model.refused("model.import", model=wrong)
    assert (error.id, error.field) == ("placement.server.unknown", "model")


@ensureDeferred
async def test_an_account_reads_the_policy_that_its_domains_are_placed_by(model: Model) -> None:
    await farm(model)
    await model.ask("placement.set", group="web", policy="pinned", pinned=WEB2)
    ((account,),) = await model.rows("SELECT id FROM account")

    async def read(tx: Transaction) -> Group:
        return await read_group(tx, "web")

    me = Principal("account", "account:acme", account=account)
    found = await model.database.transaction(me, read, name="read")
    takes = {one.server.name: one.takes for one in standings(found, PROVIDER).servers}
    assert takes == {WEB1: "no", WEB2: "yes", WEB3: "no"}
