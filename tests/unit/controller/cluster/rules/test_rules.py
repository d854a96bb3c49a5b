"""Rules over views made by hand: what is new, what is refused, and what a check must not see."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import controller
from controller.cluster.rules import addresses as rules_addresses
from controller.cluster.rules import boxes as rules_boxes
from controller.cluster.rules import dns as rules_dns
from controller.cluster.rules import dns_roles as rules_dns_roles
from controller.cluster.rules import servers as rules_servers
from controller.cluster.rules.book import BY_ID, RULES
from controller.cluster.rules.requests import REQUEST_RULES
from controller.cluster.rules.rules import Finding, Rule, breaches, new_breaches, refusal
from controller.cluster.rules.view import (
    Addresses,
    Box,
    Endpoint,
    GroupCount,
    ModelView,
    Server,
    SharedAddress,
)


def box(name: str, *groups: str, os_family: str = "linux") -> Box:
    return Box(name, name, "192.0.2.1", 24, os_family, groups)


def server(name: str, group: str, *boxes: str, type_: str = "") -> Server:
    return Server(name, name, group, type_ or group, boxes)


def _long_names(view: ModelView) -> Iterator[Finding]:
    for item in view.boxes:
        if len(item.name) > 3:
            yield Finding("pserver", item.name, f"{item.name} is long", "hsctl pserver delete NAME")


SHORT = Rule("box.short", ("R1",), "refuse", "Short.", _long_names, "name", "three letters")


def broken(view: ModelView, *rules: Rule) -> list[tuple[str, str]]:
    return [(item.rule.id, item.finding.name) for item in breaches(view, rules)]


def test_only_what_a_change_breaks_is_new() -> None:
    before = ModelView(boxes=(box("long1"), box("b2")))
    after = ModelView(boxes=(box("long1"), box("long2")))
    assert [item.finding.name for item in new_breaches(before, after, [SHORT])] == ["long2"]
    assert new_breaches(after, before, [SHORT]) == []


def test_a_refusal_names_the_rule_the_object_and_what_would_do() -> None:
    (breach,) = breaches(ModelView(boxes=(box("long"),)), [SHORT])
    error = refusal(breach)
    assert (error.id, error.message, error.status) == ("box.short", "long is long. Short", 409)
    assert (error.field, error.value, error.allowed) == ("name", "long", "three letters")


def test_a_view_gives_what_is_on_a_box_and_what_a_server_has() -> None:
    web = server("web1", "web", "b1", "b2")
    one = Addresses("web1", "shared", "192.0.2.9", 24, 80, 2)
    many = Addresses("web1", "dedicated", "192.0.2.10", 24, 80, None, 50)
    view = ModelView(
        boxes=(box("b1"), box("b2")),
        servers=(web, server("ns1", "dns", "b2")),
        addresses=(one, many, Addresses("ns1", "service", "2001:db8::1", 64, 53)),
    )
    assert view.on(view.boxes[0]) == (web,)
    assert [item.name for item in view.on(view.boxes[1])] == ["web1", "ns1"]
    assert view.of(web) == (one, many)
    assert view.of(web, "dedicated") == (many,)
    assert [item.name for item in view.boxes_of(web)] == ["b1", "b2"]
    assert [item.bits for item in view.addresses] == [32, 32, 128]


@pytest.mark.parametrize("boxes", [1, 2])
def test_r25_and_r359_name_servers_share_a_box_only_where_it_is_the_only_one(boxes: int) -> None:
    view = ModelView(
        name_servers=(server("ns1", "dns", "b1"), server("ns2", "dns", "b1")),
        boxes_in_cluster=boxes,
    )
    found = broken(view, rules_dns.RULES[0])
    assert found == ([] if boxes == 1 else [("lserver.dns.one-per-box", "ns2")])


def test_r259_name_servers_are_not_counted_as_servers_of_one_type() -> None:
    view = ModelView(
        boxes=(box("b1"),),
        servers=(
            server("ns1", "dns", "b1"),
            server("ns2", "dns", "b1"),
            server("web1", "web", "b1"),
            server("web2", "web", "b1"),
            server("web3", "web", "b1"),
        ),
    )
    (rule,) = (item for item in rules_servers.RULES if item.id == "lserver.type.one-per-box")
    assert [name for _, name in broken(view, rule)] == ["web2", "web3"]


def test_r232_real_media_needs_its_own_box_on_windows_alone() -> None:
    company = (server("media", "realmedia", "b1"), server("sql", "mssql", "b1"))
    (rule,) = (item for item in rules_boxes.RULES if item.id == "pserver.separate.realmedia")
    for os_family, names in (("linux", []), ("windows", ["sql"])):
        view = ModelView(boxes=(box("b1", os_family=os_family),), servers=company)
        assert [name for _, name in broken(view, rule)] == names


def test_r38_a_group_without_customers_needs_no_signup() -> None:
    view = ModelView(
        groups=(
            GroupCount("mrtg", 1, 0, "mrtg1"),
            GroupCount("web", 3, 1, "web1"),
            GroupCount("mail", 2, 0, "mail1"),
        )
    )
    assert broken(view, rules_servers.RULES[-1]) == [("group.signup.none", "mail")]


def test_r342_a_box_s_own_address_is_offered_to_one_server_for_each_port() -> None:
    view = ModelView(
        boxes=(box("b1"),),
        servers=(
            server("web1", "web", "b1", type_="apache"),
            server("web2", "web", "b1", type_="apache"),
        ),
    )
    repairs = [item.finding.repair for item in breaches(view, rules_addresses.RULES)]
    assert repairs == [
        "hsctl ip add web1 --from 192.0.2.1 --mask 24 --type shared",
        "hsctl ip add web2 --from ADDRESS --mask MASK --type shared",
    ]


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (Endpoint("web2", 443), True),
        (Endpoint("web2", 8443, 443), True),
        (Endpoint("web2", 8080), False),
        (Endpoint("web2", 8080, 0), False),
    ],
)
def test_r354_an_address_is_shared_only_on_different_ports(other: Endpoint, taken: bool) -> None:
    view = ModelView(
        shared_addresses=(SharedAddress("192.0.2.9", Endpoint("web1", 80, 443), other),)
    )
    assert bool(breaches(view, rules_addresses.RULES)) is taken


def test_every_rule_of_a_request_is_one_that_a_command_raises() -> None:
    tree = Path(controller.__file__).parent
    raised = "".join(
        path.read_text() for path in sorted(tree.rglob("*.py")) if path.name != "requests.py"
    )
    assert [rule.id for rule in REQUEST_RULES if f'"{rule.id}"' not in raised] == []
    assert not {rule.id for rule in REQUEST_RULES} & set(BY_ID)


def test_of_all_rules_those_of_roles_alone_look_at_a_role() -> None:
    """The command that assigns roles asks no others."""

    def view(role: str) -> ModelView:
        servers = (
            attrs.evolve(server("ns1", "dns", "b1", type_="bind"), settings={"role": role}),
            server("ns2", "dns", "b1", type_="bind"),
        )
        return ModelView(
            boxes=(box("b1", "web"), box("b2", "dns")),
            servers=servers,
            name_servers=servers,
            groups=(GroupCount("dns", 2, 0, "ns1"),),
            boxes_in_cluster=2,
        )

    others = [rule for rule in RULES if rule not in rules_dns_roles.RULES]
    assert breaches(view("slave1"), others) == breaches(view("none"), others) != []
    assert breaches(view("slave1"), rules_dns_roles.RULES)
