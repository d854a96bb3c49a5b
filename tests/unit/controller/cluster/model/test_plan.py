"""What an import plans, as values: no database."""

import pytest

from controller.cluster.addresses.addresses import MAX_RANGE
from controller.cluster.model.document import (
    AddressEntry,
    BoxEntry,
    Document,
    ServerEntry,
    read_document,
)
from controller.cluster.model.plan import Step, plan_import
from controller.refusal import CommandError

WEB = "web1.example.net"
BOX = BoxEntry("198.51.100.1/24", ("web", "mail"))
SHARED = AddressEntry("192.0.2.1", 24, "shared", 80, tag=2)


def document(*addresses: AddressEntry, box: BoxEntry = BOX) -> Document:
    server = ServerEntry("web", "apache", "web1", addresses=addresses)
    return Document(format=1, boxes={"web1": box}, logical_servers={WEB: server})


def dedicated(first: str, last: str = "", mask: int = 32) -> AddressEntry:
    return AddressEntry(first, mask, "dedicated", 80, last)


def plan(present: Document, wanted: Document, *, prune: bool = False) -> tuple[Step, ...]:
    return plan_import(present, wanted, prune=prune).steps


def test_what_is_the_same_takes_no_step() -> None:
    same = document(SHARED, dedicated("10.0.0.1", "10.0.0.9"))
    apart = document(SHARED, dedicated("10.0.0.1", "10.0.0.4"), dedicated("10.0.0.5", "10.0.0.9"))
    assert plan(same, same, prune=True) == ()
    assert plan(same, apart, prune=True) == ()


def test_groups_are_added_before_servers_come_and_taken_when_they_are_gone() -> None:
    (first, last) = plan(document(), document(box=BoxEntry(BOX.ip, ("dns", "web"))))
    assert (first.command, first.fields["groups"]) == ("pserver.edit", ["web", "mail", "dns"])
    assert (last.command, last.fields["groups"]) == ("pserver.edit", ["dns", "web"])


def test_a_box_that_is_drained_gets_its_servers_first() -> None:
    drained = BoxEntry(BOX.ip, BOX.groups, intent="draining")
    assert [step.command for step in plan(Document(format=1), document(box=drained))] == [
        "pserver.add",
        "lserver.add",
        "pserver.intent",
    ]
    opened = plan(document(box=drained), document())
    assert [step.fields for step in opened] == [{"name": "web1", "intent": "open"}]


def test_an_address_that_differs_is_edited_and_shared_ones_come_first() -> None:
    other_tag = AddressEntry("192.0.2.1", 25, "shared", 80, tag=5)
    steps = plan(document(SHARED), document(other_tag, dedicated("10.0.0.1")))
    assert [(step.command, step.about) for step in steps] == [
        ("ip.add", f"10.0.0.1 of {WEB}"),
        ("ip.edit", "192.0.2.1"),
    ]
    assert steps[1].fields == {"ip": "192.0.2.1", "port": 80, "mask": "25", "tag": 5}
    new = plan(document(), document(dedicated("10.0.0.1"), SHARED))
    assert [step.fields["type"] for step in new] == ["shared", "dedicated"]


def test_the_type_of_an_address_is_a_conflict() -> None:
    with pytest.raises(CommandError) as caught:
        plan(document(SHARED), document(AddressEntry("192.0.2.1", 24, "dedicated", 80)))
    assert (caught.value.id, caught.value.status) == ("model.conflict", 409)


def test_a_long_range_is_added_in_parts_and_one_without_end_is_refused() -> None:
    steps = plan(document(), document(dedicated("10.0.0.0", "10.1.255.255")))
    assert [(step.fields["first"], step.fields["last"]) for step in steps] == [
        ("10.0.0.0", "10.0.255.255"),
        ("10.1.0.0", "10.1.255.255"),
    ]
    assert MAX_RANGE == 65536
    with pytest.raises(CommandError, match="too long"):
        plan(document(), document(dedicated("2001:db8::", "2001:db8::ffff:ffff", 128)))


def test_ranges_that_are_too_many_together_are_refused_before_they_are_taken_apart() -> None:
    many = [dedicated(f"10.{n}.0.0", f"10.{n}.255.255") for n in range(9)]
    assert len(plan(document(), document(*many[:8]))) == 8
    with pytest.raises(CommandError, match="together") as caught:
        plan(document(), document(*many))
    assert (caught.value.id, caught.value.status) == ("model.conflict", 409)


@pytest.mark.parametrize(
    "other",
    [
        AddressEntry("10.0.0.1", 24, "shared", 80, tag=3),
        dedicated("10.0.0.0", "10.0.0.1"),
        dedicated("10.0.0.9", "10.0.0.20"),
    ],
)
def test_an_address_that_the_model_has_twice_is_refused(other: AddressEntry) -> None:
    own = dedicated("10.0.0.1", "10.0.0.9")
    with pytest.raises(CommandError, match="twice"):
        plan(document(), document(own, other))
    second = ServerEntry("web", "apache", "web1", addresses=(other,))
    both = {**document(own).logical_servers, "web2.example.net": second}
    with pytest.raises(CommandError, match="twice"):
        plan(document(), Document(format=1, boxes={"web1": BOX}, logical_servers=both))
    at_another_port = AddressEntry("10.0.0.1", 24, "shared", 81, tag=3)
    plan(document(), document(own, at_another_port))


def test_a_refusal_of_a_name_or_an_address_says_which_thing_it_is_about() -> None:
    with pytest.raises(CommandError, match=r"^not a netmask .* \(of web7\)"):
        read_document({"format": 1, "boxes": {"web7": {"ip": "192.0.2.1", "groups": ["web"]}}})


def test_a_range_that_is_pruned_is_confirmed_by_its_number() -> None:
    (step,) = plan(document(dedicated("10.0.0.1", "10.0.0.9")), document(), prune=True)
    assert step.fields == {"ip": "10.0.0.1", "port": 80, "last": "10.0.0.9", "confirm": 9}


@pytest.mark.parametrize(("ip", "last"), [("10.0.0.9", "10.0.0.1"), ("10.0.0.9", "2001:db8::1")])
def test_a_range_that_ends_before_it_begins_is_refused(ip: str, last: str) -> None:
    entry = {"ip": ip, "last": last, "mask": 32, "type": "dedicated", "port": 80}
    server = {"group": "web", "type": "apache", "pserver": "web1", "addresses": [entry]}
    with pytest.raises(CommandError) as caught:
        read_document({"format": 1, "logical_servers": {WEB: server}})
    assert caught.value.id == "ip.range.invalid"


def test_names_and_addresses_are_read_as_commands_read_them() -> None:
    entry = {"ip": "2001:DB8::0001", "mask": 128, "type": "dedicated", "port": 80}
    server = {"group": "web", "type": "apache", "pserver": "Web1", "addresses": [entry]}
    found = read_document(
        {
            "format": 1,
            "boxes": {"Web1": {"ip": "2001:DB8::9/64", "groups": ["web"]}},
            "logical_servers": {"Web1.Example.NET.": server},
        }
    )
    assert found.boxes["web1"].ip == "2001:db8::9/64"
    assert found.logical_servers[WEB].pserver == "web1"
    assert found.logical_servers[WEB].addresses[0].ip == "2001:db8::1"
