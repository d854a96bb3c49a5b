"""Where a new address belongs, what ``ip`` is asked, and who holds an address. Pure."""

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from node_agent.effects.addresses import Holding, held, released
from node_agent.effects.host_network import (
    Link,
    add_arguments,
    found_on,
    link_for,
    read_default,
    read_links,
)
from node_agent.effects.neighbours import Interface, _arp, _arp_owner


def link(
    name: str, *addresses: str, flags: tuple[str, ...] = ("UP",), **more: Any
) -> dict[str, Any]:
    infos = []
    for text in addresses:
        local, _, prefix = text.partition("/")
        infos.append({"local": local, "prefixlen": int(prefix)})
    return {"ifname": name, "ifindex": 1, "flags": flags, "addr_info": infos, **more}


def links(*given: dict[str, Any]) -> tuple[Link, ...]:
    return read_links(msgspec.json.encode(given).decode())


BOX = links(
    link("lo", "127.0.0.1/8", flags=("UP", "LOOPBACK")),
    link("eth0", "192.0.2.1/24", "2001:db8::1/64", "fe80::1/64", address="02:00:00:00:00:01"),
    link("eth1", "198.51.100.1/24", "192.0.2.129/25"),
    link("eth2", "203.0.113.1/24", flags=()),
)


@pytest.mark.parametrize(
    ("address", "prefix", "default", "name"),
    [
        ("192.0.2.50", 24, "", "eth0"),
        ("192.0.2.200", 24, "", "eth1"),
        ("198.51.100.9", 32, "eth0", "eth1"),
        ("2001:db8::50", 64, "", "eth0"),
        ("233.252.0.9", 24, "eth1", "eth1"),
        ("233.252.0.9", 24, "", None),
        ("203.0.113.9", 24, "", None),
        ("233.252.0.9", 24, "lo", None),
    ],
)
def test_an_address_goes_where_its_network_is_else_where_the_box_goes_out(
    address: str, prefix: int, default: str, name: str | None
) -> None:
    chosen = link_for(BOX, ip_address(address), prefix, default)
    assert (chosen.ifname if chosen else None) == name


def test_an_address_is_found_in_any_spelling() -> None:
    found = found_on(BOX, ip_address("2001:0db8:0::0001"))
    assert found is not None
    assert found[0].ifname == "eth0"
    assert found_on(BOX, ip_address("192.0.2.2")) is None


def test_a_label_is_given_where_it_fits() -> None:
    four, six = ip_address("192.0.2.50"), ip_address("2001:db8::50")
    assert add_arguments("eth0", four, 24)[-2:] == ("label", "eth0:hs")
    assert "label" not in add_arguments("enp0s31f6abcd", four, 24)
    assert "label" not in add_arguments("eth0", six, 64)


def test_the_way_out_is_read_and_may_be_missing() -> None:
    assert read_default('[{"dst":"default","gateway":"192.0.2.254","dev":"eth0"}]') == "eth0"
    assert read_default("") == ""


def test_a_link_without_arp_is_not_asked() -> None:
    (tunnel,) = links(link("tun0", flags=("UP", "NOARP"), address="02:00:00:00:00:01"))
    assert tunnel.interface is None
    assert BOX[1].interface == Interface("eth0", 1, bytes.fromhex("020000000001"))


def test_the_last_lane_that_releases_an_address_ends_it() -> None:
    holding = Holding(24, "eth0", "boot", ())
    ledger = held(held({}, "192.0.2.50", "one", holding), "192.0.2.50", "two",
                  msgspec.structs.replace(holding, lanes=("one",)))  # fmt: skip
    ledger, ended = released(ledger, "192.0.2.50", "one")
    assert (list(ledger), ended) == (["192.0.2.50"], None)
    ledger, ended = released(ledger, "192.0.2.50", "one")
    assert (list(ledger), ended) == (["192.0.2.50"], None)
    ledger, ended = released(ledger, "192.0.2.50", "two")
    assert (dict(ledger), ended is not None) == ({}, True)
    assert released(ledger, "192.0.2.50", "two") == ({}, None)


def test_arp_frames_tell_who_has_an_address_or_asks_to_have_it() -> None:
    ours = Interface("eth0", 1, bytes.fromhex("020000000001"))
    other = Interface("eth0", 1, bytes.fromhex("020000000002"))
    wanted = ip_address("192.0.2.50")
    assert wanted.version == 4
    claims = _arp(other, sender=wanted.packed, target=ip_address("192.0.2.1").packed)
    probes = _arp(other, sender=bytes(4), target=wanted.packed)
    asks = _arp(other, sender=ip_address("192.0.2.2").packed, target=wanted.packed)
    assert _arp_owner(ours, wanted, claims) == "02:00:00:00:00:02"
    assert _arp_owner(ours, wanted, probes) == "02:00:00:00:00:02"
    assert _arp_owner(ours, wanted, asks) is None
    assert _arp_owner(ours, wanted, _arp(ours, sender=bytes(4), target=wanted.packed)) is None
    assert _arp_owner(ours, wanted, claims[:30]) is None
