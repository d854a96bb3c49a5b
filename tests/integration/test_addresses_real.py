"""Addresses on a real interface, in a network namespace with a neighbour in another (R355)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.in_namespace import Inside, Namespace, needs_namespaces, two_machines

pytestmark = needs_namespaces

OWN = {"192.0.2.1", "2001:db8::1"}


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Namespace, Namespace]]:
    with two_machines() as both:
        yield both


@pytest.fixture
def box(machines: tuple[Namespace, Namespace]) -> Iterator[Namespace]:
    yield machines[0]
    assert set(machines[0].addresses()) == OWN, "a test left an address behind"


@pytest.fixture
def inside(box: Namespace, tmp_path: Path) -> Iterator[Inside]:
    with Inside(box, tmp_path / "addresses.json") as inside:
        yield inside


@pytest.mark.parametrize(("address", "prefix"), [("192.0.2.50", 24), ("2001:db8::50", 64)])
def test_r355_an_address_is_on_the_interface_from_the_first_hold_to_the_last(
    box: Namespace, inside: Inside, address: str, prefix: int
) -> None:
    assert inside.ask("up", "web1", address, str(prefix)) == ""
    found = box.addresses()[address]
    assert found["prefixlen"] == prefix
    assert not found.get("tentative")
    assert inside.ask("up", "web1", address, str(prefix)) == ""
    assert inside.ask("up", "web2", address, str(prefix)) == ""
    assert inside.ask("down", "web1", address) == ""
    assert address in box.addresses()
    assert inside.ask("down", "web2", address) == ""
    assert address not in box.addresses()
    assert inside.ask("down", "web2", address) == ""


def test_what_the_agent_brought_up_is_labelled(box: Namespace, inside: Inside) -> None:
    inside.ask("up", "web1", "192.0.2.50", "24")
    assert box.addresses()["192.0.2.50"]["label"] == "eth0:hs"
    inside.ask("down", "web1", "192.0.2.50")


@pytest.mark.parametrize(("address", "prefix"), [("192.0.2.60", 24), ("2001:db8::60", 64)])
def test_an_address_that_another_machine_has_is_never_brought_up(
    machines: tuple[Namespace, Namespace],
    box: Namespace,
    inside: Inside,
    address: str,
    prefix: int,
) -> None:
    _, neighbour = machines
    neighbour.ip("address", "add", f"{address}/{prefix}", "dev", "eth0", "nodad")
    try:
        for words in (inside.ask("check", address), inside.ask("up", "web1", address, str(prefix))):
            assert "another machine" in words
            assert address in words
        assert address not in box.addresses()
    finally:
        neighbour.ip("address", "del", f"{address}/{prefix}", "dev", "eth0")
    assert inside.ask("up", "web1", address, str(prefix)) == ""
    assert inside.ask("down", "web1", address) == ""


def test_an_address_that_was_there_before_is_not_taken_down(box: Namespace, inside: Inside) -> None:
    box.ip("address", "add", "192.0.2.70/24", "dev", "eth0")
    try:
        assert inside.ask("up", "web1", "192.0.2.70", "24") == ""
        assert inside.ask("down", "web1", "192.0.2.70") == ""
        assert "192.0.2.70" in box.addresses()
        assert inside.ask("up", "web1", "2001:db8::1", "64") == ""
        assert inside.ask("down", "web1", "2001:db8::1") == ""
    finally:
        box.ip("address", "del", "192.0.2.70/24", "dev", "eth0")


def test_after_a_reboot_an_address_that_a_person_brought_up_is_that_persons(
    box: Namespace, inside: Inside
) -> None:
    inside.ask("up", "web1", "2001:db8::80", "64")
    box.ip("address", "del", "2001:db8::80/64", "dev", "eth0")
    inside.ask("reboot", "second")
    box.ip("address", "add", "2001:db8::80/64", "dev", "eth0", "nodad")
    try:
        assert inside.ask("up", "web1", "2001:db8::80", "64") == ""
        assert inside.ask("down", "web1", "2001:db8::80") == ""
        assert "2001:db8::80" in box.addresses()
    finally:
        box.ip("address", "del", "2001:db8::80/64", "dev", "eth0")


def test_what_a_boot_took_down_is_brought_back_before_any_lane_asks_and_nothing_else(
    machines: tuple[Namespace, Namespace], box: Namespace, inside: Inside
) -> None:
    box.ip("address", "add", "192.0.2.94/24", "dev", "eth0")
    given = {"192.0.2.91": "24", "2001:db8::92": "64", "192.0.2.93": "24", "192.0.2.94": "24"}
    for address, prefix in given.items():
        inside.ask("up", "web1", address, prefix)
    inside.ask("up", "web2", "192.0.2.91", "24")
    for address, prefix in given.items():
        box.ip("address", "del", f"{address}/{prefix}", "dev", "eth0")
    inside.ask("reboot", "second")
    machines[1].ip("address", "add", "192.0.2.93/24", "dev", "eth0")
    try:
        words = inside.ask("bring_back", "192.0.2.91", "192.0.2.93", "192.0.2.94")
        assert words.startswith("192.0.2.93: another machine (")
        # 192.0.2.94 was somebody else's; 2001:db8::92 is no longer granted.
        assert set(box.addresses()) == {*OWN, "192.0.2.91"}
        assert inside.ask("bring_back", *given).startswith("192.0.2.93: another machine (")
        assert set(box.addresses()) == {*OWN, "192.0.2.91", "2001:db8::92"}
    finally:
        machines[1].ip("address", "del", "192.0.2.93/24", "dev", "eth0")
        for address in given:
            inside.ask("down", "web1", address)
        assert "192.0.2.91" in box.addresses(), "web2 holds it still"
        inside.ask("down", "web2", "192.0.2.91")


def test_addresses_that_linux_drops_with_the_first_of_their_network_come_back(
    box: Namespace, inside: Inside
) -> None:
    for address in ("203.0.113.1/24",):
        box.ip("address", "add", address, "dev", "eth0")
    try:
        inside.ask("up", "web1", "203.0.113.50", "25")
        inside.ask("up", "web1", "203.0.113.51", "25")
        assert inside.ask("down", "web1", "203.0.113.50") == ""
        assert "203.0.113.51" in box.addresses()
        assert inside.ask("down", "web1", "203.0.113.51") == ""
    finally:
        box.ip("address", "del", "203.0.113.1/24", "dev", "eth0")


def test_an_address_of_a_person_does_not_go_with_ours(box: Namespace, inside: Inside) -> None:
    box.ip("address", "add", "203.0.113.1/24", "dev", "eth0")
    own = "203.0.113.60/25"
    try:
        inside.ask("up", "web1", "203.0.113.50", "25")
        box.ip("address", "add", own, "broadcast", "203.0.113.127", "dev", "eth0")
        before = box.addresses()["203.0.113.60"]
        assert inside.ask("down", "web1", "203.0.113.50") == ""
        after = box.addresses()
        assert "203.0.113.50" not in after
        kept = ("prefixlen", "label", "broadcast", "scope")
        assert [after["203.0.113.60"].get(each) for each in kept] == [before[each] for each in kept]
    finally:
        for address in (own, "203.0.113.1/24"):
            box.ip("address", "del", address, "dev", "eth0")


def test_an_address_of_no_network_of_the_box_is_refused(box: Namespace, inside: Inside) -> None:
    words = inside.ask("up", "web1", "198.51.100.50", "24")
    assert "no interface of the box leads to the network of 198.51.100.50" in words


def test_an_address_of_another_network_goes_where_the_box_goes_out(
    box: Namespace, inside: Inside
) -> None:
    box.ip("route", "add", "default", "via", "192.0.2.2")
    try:
        assert inside.ask("up", "web1", "198.51.100.50", "32") == ""
        assert "198.51.100.50" in box.addresses()
        assert inside.ask("down", "web1", "198.51.100.50") == ""
    finally:
        box.ip("route", "del", "default")


def test_an_agent_that_begins_again_knows_what_it_brought_up(
    box: Namespace, inside: Inside, tmp_path: Path
) -> None:
    inside.ask("up", "web1", "192.0.2.50", "24")
    with Inside(box, tmp_path / "addresses.json") as next_life:
        assert next_life.ask("up", "web1", "192.0.2.50", "24") == ""
        assert next_life.ask("down", "web1", "192.0.2.50") == ""
    assert "192.0.2.50" not in box.addresses()
