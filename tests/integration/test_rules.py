"""Rules inside commands: refused, warned of, or passed over, and two operators at once."""

from collections.abc import Awaitable
from typing import Any

from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, DeferredList

from controller.cluster.initialisation import initialise
from controller.refusal import CommandError
from templates.registry import KNOWN_TYPES
from tests.integration.model import Model

pytest_plugins = ("tests.integration.model",)

GROUPS = ("dns", "web", "mail", "windows", "mssql", "realmedia", "postgresql", "vps")


async def warnings(model: Model, **fields: Any) -> set[str]:
    """Give the words of the findings over the whole model, by rule where one is named."""
    return {item["words"] for item in (await model.ask("health.list", **fields))["items"]}


async def add_box(model: Model, name: str, number: int, os_family: str = "linux") -> Any:
    return await model.ask(
        "pserver.add",
        name=name,
        ip=f"198.51.100.{number}",
        mask="24",
        groups=GROUPS,
        os_family=os_family,
    )


async def no_company(model: Model, group: str, type_: str, company: tuple[str, str]) -> None:
    """See that the server of ``type_`` is alone on its box, whichever of the two comes first."""
    os_family = "windows" if "windows" in KNOWN_TYPES[company[1]].platforms else "linux"
    for number, (first, second) in enumerate(
        (((group, type_), company), (company, (group, type_))), start=1
    ):
        box = f"b{number}"
        await add_box(model, box, number, os_family)
        await model.server(f"first{number}", *first, box)
        error = await model.refused(
            "lserver.add",
            name=f"second{number}.example.net",
            group=second[0],
            type=second[1],
            pserver=box,
        )
        # The company may need a box of its own too; then either rule may be named.
        assert error.id in {f"pserver.separate.{group}", f"pserver.separate.{company[0]}"}
        assert (error.field, error.value, error.status) == ("pserver", box, 409)


@ensureDeferred
async def test_r230_windows_web_hosting_needs_a_box_of_its_own(model: Model) -> None:
    await no_company(model, "windows", "iis", ("realmedia", "realmedia"))


@ensureDeferred
async def test_r231_ms_sql_needs_a_box_of_its_own(model: Model) -> None:
    await no_company(model, "mssql", "mssql", ("realmedia", "realmedia"))


@ensureDeferred
async def test_r232_windows_real_media_needs_a_box_of_its_own(model: Model) -> None:
    await no_company(model, "realmedia", "realmedia", ("mssql", "mssql"))


@ensureDeferred
async def test_r233_postgresql_needs_a_box_of_its_own(model: Model) -> None:
    await no_company(model, "postgresql", "postgresql", ("web", "apache"))


@ensureDeferred
async def test_r234_vps_hosting_needs_a_box_of_its_own(model: Model) -> None:
    await no_company(model, "vps", "vps", ("web", "apache"))


@ensureDeferred
async def test_r232_real_media_on_linux_may_have_company(model: Model) -> None:
    await add_box(model, "b1", 1)
    await model.server("media", "realmedia", "realmedia", "b1")
    await model.server("web1", "web", "apache", "b1")


@ensureDeferred
async def test_r9_and_r229_one_cluster_has_boxes_of_every_system(model: Model) -> None:
    for number, os_family in enumerate(("linux", "freebsd", "windows"), start=1):
        await add_box(model, f"b{number}", number, os_family)
    boxes = (await model.ask("pserver.list"))["items"]
    assert [box["os_family"] for box in boxes] == ["linux", "freebsd", "windows"]


@ensureDeferred
async def test_r17_a_cluster_keeps_the_one_service_domain_that_it_has(
    model: Model, database_url: str
) -> None:
    initialise(database_url, "other.example")
    assert await model.rows("SELECT service_domain FROM cluster") == [("example.net",)]


@ensureDeferred
async def test_r31_and_r34_a_box_and_the_servers_on_it_are_different_things(model: Model) -> None:
    await add_box(model, "b1", 1)
    await model.server("web1", "web", "apache", "b1")
    await model.server("ns1", "dns", "bind", "b1")
    box = await model.ask("pserver.show", name="b1")
    assert box["logical_servers"] == ["ns1.example.net", "web1.example.net"]
    assert (await model.refused("pserver.show", name="web1.example.net")).id == "pserver.unknown"
    assert (await model.refused("lserver.show", name="b1")).id == "lserver.unknown"


@ensureDeferred
async def test_r36_a_server_joins_only_the_group_of_its_own_nature(model: Model) -> None:
    await add_box(model, "b1", 1)
    error = await model.refused(
        "lserver.add", name="x.example.net", group="mail", type="apache", pserver="b1"
    )
    assert (error.id, error.field) == ("lserver.type.invalid", "type")


@ensureDeferred
async def test_r39_and_r40_addresses_and_signup_are_of_logical_servers(model: Model) -> None:
    await add_box(model, "b1", 1)
    error = await model.refused(
        "ip.add", lserver="b1", first="192.0.2.1", mask="24", type="service"
    )
    assert (error.id, error.field) == ("lserver.unknown", "lserver")
    assert (await model.refused("lserver.signup", name="b1", signup=True)).id == "lserver.unknown"


@ensureDeferred
async def test_r24_a_lone_name_server_is_warned_of(model: Model) -> None:
    await add_box(model, "b1", 1)
    await add_box(model, "b2", 2)
    told = (await model.server("ns1", "dns", "bind", "b1"))["warnings"]
    assert "ns1.example.net is the only name server: each zone is on one server alone" in told
    await model.server("ns2", "dns", "bind", "b2")
    assert await warnings(model, rule="dns.servers.two") == set()


@ensureDeferred
async def test_r35_a_box_without_a_logical_server_is_a_finding(model: Model) -> None:
    await add_box(model, "b1", 1)
    assert await warnings(model, rule="pserver.empty") == {"the box b1 has no logical server"}
    await model.server("web1", "web", "apache", "b1")
    await model.server("web2", "web", "apache", "b1")
    assert await warnings(model, rule="pserver.empty") == set()


@ensureDeferred
async def test_r37_one_group_is_spread_over_boxes_where_there_are_several(model: Model) -> None:
    await add_box(model, "b1", 1)
    await model.server("web1", "web", "apache", "b1")
    # The second type of a group that a box of this cluster can have is made by hand: every group
    # that boxes run has one type today.
    await model.server("web2", "web", "apache", "b1")
    await model.write(
        "UPDATE logical_server SET service_type = 'other' WHERE name = 'web2.example.net'"
    )
    assert await warnings(model, rule="lserver.group.spread") == set()
    await add_box(model, "b2", 2)
    assert await warnings(model, rule="lserver.group.spread") == {
        "web1.example.net and web2.example.net, both of the group web, share the box b1, and there "
        "is another box"
    }


@ensureDeferred
async def test_r38_and_r280_a_group_that_takes_no_customers_is_warned_of(model: Model) -> None:
    await add_box(model, "b1", 1)
    told = (await model.server("web1", "web", "apache", "b1"))["warnings"]
    assert "no logical server of the group web takes new customers" in told
    await model.ask("lserver.signup", name="web1.example.net", signup=True)
    assert await warnings(model, rule="group.signup.none") == set()


@ensureDeferred
async def test_r260_and_r358_two_name_servers_share_the_only_box_without_a_finding(
    model: Model,
) -> None:
    await add_box(model, "b1", 1)
    await model.server("ns1", "dns", "bind", "b1")
    assert (await model.server("ns2", "dns", "bind", "b1"))["pserver"] == "b1"
    for rule in ("lserver.dns.one-per-box", "lserver.type.one-per-box"):
        assert await warnings(model, rule=rule) == set()


@ensureDeferred
async def test_a8_a_web_server_without_a_default_shared_address_is_a_finding(model: Model) -> None:
    await add_box(model, "b1", 1)
    told = (await model.server("web1", "web", "apache", "b1"))["warnings"]
    missing = "web1.example.net has no default shared IP (tag 2)"
    assert missing in told
    assert await warnings(model, rule="ip.shared.default-missing") == {missing}
    fields = {"lserver": "web1.example.net", "mask": "24", "type": "shared"}
    await model.ask("ip.add", first="192.0.2.10", tag=3, **fields)
    assert await warnings(model, rule="ip.shared.default-missing") == {missing}
    await model.ask("ip.add", first="192.0.2.11", **fields)
    assert await warnings(model, rule="ip.shared.default-missing") == set()


@ensureDeferred
async def test_r261_a_second_box_is_added_and_the_name_servers_on_the_first_are_told_of(
    model: Model,
) -> None:
    await add_box(model, "b1", 1)
    await model.server("ns1", "dns", "bind", "b1")
    await model.server("ns2", "dns", "bind", "b1")
    assert await warnings(model, rule="lserver.dns.one-per-box") == set()
    told = "the box b1 has the name servers ns1.example.net and ns2.example.net, and there is "
    assert (await add_box(model, "b2", 2))["warnings"] == [f"{told}another box"]
    assert await warnings(model, rule="lserver.dns.one-per-box") == {f"{told}another box"}


@ensureDeferred
async def test_a3_what_is_broken_already_stands_in_nobodys_way(model: Model) -> None:
    await add_box(model, "b1", 1)
    await model.server("ns1", "dns", "bind", "b1")
    await model.server("ns2", "dns", "bind", "b1")
    await add_box(model, "b2", 2)
    await model.server("web1", "web", "apache", "b1")
    error = await model.refused(
        "lserver.add", name="ns3.example.net", group="dns", type="bind", pserver="b1"
    )
    assert error.id == "lserver.dns.one-per-box"
    await model.server("ns3", "dns", "bind", "b2")


@ensureDeferred
async def test_a_dry_run_answers_the_warnings_and_writes_nothing(model: Model) -> None:
    await add_box(model, "b1", 1)
    before = await model.footprint()
    result = await model.run(
        "lserver.add",
        name="mail1.example.net",
        group="mail",
        type="qmail",
        pserver="b1",
        dry_run=True,
    )
    told = "mail1.example.net has no service IP: exactly one is needed before it can serve"
    assert told in result.result["warnings"]
    assert await model.footprint() == before


async def both(first: Awaitable[Any], second: Awaitable[Any]) -> list[CommandError]:
    """Do two things at once; give the refusals."""

    async def outcome(work: Awaitable[Any]) -> Any:
        return await work

    results = await DeferredList(
        [Deferred.fromCoroutine(outcome(work)) for work in (first, second)], consumeErrors=True
    )
    refused = [value.value for success, value in results if not success]
    for error in refused:
        assert isinstance(error, CommandError), error
    return refused


@ensureDeferred
async def test_of_two_operators_who_race_for_the_name_of_a_box_one_wins(model: Model) -> None:
    (refused,) = await both(add_box(model, "b1", 1), add_box(model, "b1", 2))
    assert (refused.id, refused.value) == ("pserver.name.taken", "b1")
    assert await model.rows("SELECT count(*) FROM box") == [(1,)]


@ensureDeferred
async def test_of_two_operators_who_race_for_the_name_of_a_server_one_wins(model: Model) -> None:
    await add_box(model, "b1", 1)
    await add_box(model, "b2", 2)
    (refused,) = await both(
        model.server("web1", "web", "apache", "b1"), model.server("web1", "web", "apache", "b2")
    )
    assert refused.id == "lserver.name.taken"
    assert await model.rows("SELECT count(*) FROM lane") == [(1,)]


@ensureDeferred
async def test_a3_of_two_operators_who_race_for_the_last_place_on_a_box_one_wins(
    model: Model,
) -> None:
    await add_box(model, "b1", 1)
    await add_box(model, "b2", 2)
    (refused,) = await both(
        model.server("ns1", "dns", "bind", "b1"), model.server("ns2", "dns", "bind", "b1")
    )
    assert (refused.id, refused.value) == ("lserver.dns.one-per-box", "b1")
    assert await model.rows("SELECT count(*) FROM logical_server") == [(1,)]


@ensureDeferred
async def test_r234_of_two_operators_who_race_for_a_box_of_their_own_one_wins(
    model: Model,
) -> None:
    await add_box(model, "b1", 1)
    (refused,) = await both(
        model.server("vps1", "vps", "vps", "b1"), model.server("web1", "web", "apache", "b1")
    )
    assert refused.id == "pserver.separate.vps"
    assert await model.rows("SELECT count(*) FROM logical_server") == [(1,)]


@ensureDeferred
async def test_r339_of_two_operators_who_race_for_the_service_address_one_wins(
    model: Model,
) -> None:
    await add_box(model, "b1", 1)
    await model.server("ns1", "dns", "bind", "b1")

    async def take(address: str) -> Any:
        return await model.ask(
            "ip.add", lserver="ns1.example.net", first=address, mask="24", type="service"
        )

    (refused,) = await both(take("192.0.2.1"), take("192.0.2.2"))
    assert refused.id == "ip.service.exactly-one"
    assert await model.rows("SELECT count(*) FROM ip_address") == [(1,)]
