"""IP addresses, masks and ranges of both families (M6)."""

from ipaddress import ip_address

import pytest

from controller.cluster.addresses import addresses
from controller.refusal import CommandError


@pytest.mark.parametrize(
    "text", ["", "nonsense", "192.0.2", "192.0.2.256", "1.2.3.4/24", "fe80::1%eth0", "fe80::1",
             "::ffff:192.0.2.1", "0.0.0.9", "010.0.0.1",
             "224.0.0.1", "0.0.0.0", "::", "255.255.255.255", "192.0.2.1\n", "ff02::1"]
)  # fmt: skip
def test_bad_address_is_refused(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        addresses.address(text)
    assert caught.value.id == "ip.address.invalid"


@pytest.mark.parametrize(
    ("mask", "of", "length"),
    [
        ("255.255.255.0", "192.0.2.1", 24),
        ("24", "192.0.2.1", 24),
        ("/24", "192.0.2.1", 24),
        ("255.255.255.255", "192.0.2.1", 32),
        ("64", "2001:db8::1", 64),
        ("128", "2001:db8::1", 128),
    ],
)
def test_r326_mask_is_a_netmask_or_a_prefix_length(mask: str, of: str, length: int) -> None:
    assert addresses.prefix_length(mask, ip_address(of)) == length


@pytest.mark.parametrize(
    ("mask", "of"),
    [
        ("255.0.255.0", "192.0.2.1"),
        ("0.0.0.255", "192.0.2.1"),
        ("33", "192.0.2.1"),
        ("0", "192.0.2.1"),
        ("0.0.0.0", "192.0.2.1"),
        ("-1", "192.0.2.1"),
        ("129", "2001:db8::1"),
        ("255.255.255.0", "2001:db8::1"),
        ("ffff::", "2001:db8::1"),
        ("", "192.0.2.1"),
        ("٢٤", "192.0.2.1"),
    ],
)
def test_bad_mask_is_refused(mask: str, of: str) -> None:
    with pytest.raises(CommandError) as caught:
        addresses.prefix_length(mask, ip_address(of))
    assert caught.value.id == "ip.mask.invalid"


def test_range_holds_both_its_ends() -> None:
    found = addresses.address_range(ip_address("192.0.2.254"), ip_address("192.0.3.1"))
    assert (found.count, str(found)) == (4, "192.0.2.254-192.0.3.1")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("192.0.2.2", "192.0.2.1"),
        ("192.0.2.1", "2001:db8::1"),
        ("10.0.0.0", "10.1.0.0"),
        ("::1", "::1:0001"),
    ],
)
def test_bad_range_is_refused(first: str, last: str) -> None:
    with pytest.raises(CommandError) as caught:
        addresses.address_range(ip_address(first), ip_address(last))
    assert caught.value.id == "ip.range.invalid"


@pytest.mark.parametrize("number", [0, -1, 65536])
def test_bad_port_is_refused(number: int) -> None:
    with pytest.raises(CommandError):
        addresses.port(number)
