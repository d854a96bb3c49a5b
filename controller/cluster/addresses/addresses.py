"""IP addresses as people give them: IPv4 or IPv6, a netmask or a prefix length, single or ranges.

Every field takes both families (M6).
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    ip_address,
    ip_network,
)

import attrs

from controller.refusal import CommandError

Address = IPv4Address | IPv6Address

_THIS_NETWORK = IPv4Network("0.0.0.0/8")
"""No address of a host is in it (RFC 1122, section 3.2.1.3)."""
MAX_RANGE = 65536
"""The most addresses of one range."""


@attrs.frozen
class AddressRange:
    """Addresses from ``first`` to ``last``, both with in."""

    first: Address
    last: Address

    @property
    def count(self) -> int:
        """How many they are."""
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        return str(self.first) if self.count == 1 else f"{self.first}-{self.last}"


def address(text: str, *, field: str = "ip") -> Address:
    """Read one unicast host address; raises `CommandError` ``ip.address.invalid``."""
    try:
        parsed = ip_address(text)
    except ValueError as error:
        raise _refused(text, field, "not an IP address") from error
    if getattr(parsed, "scope_id", None):
        raise _refused(text, field, "an address with a zone index is not routable")
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            raise _refused(text, field, f"an IPv4 address in disguise: {parsed.ipv4_mapped}")
        if parsed.is_link_local:
            raise _refused(text, field, "a link-local address is nothing without an interface")
    if (
        parsed.is_multicast
        or parsed.is_unspecified
        or parsed in _THIS_NETWORK
        or parsed == IPv4Address("255.255.255.255")
    ):
        raise _refused(text, field, "not the address of one host")
    return parsed


def _refused(text: str, field: str, why: str) -> CommandError:
    return CommandError(
        "ip.address.invalid",
        why,
        field=field,
        value=text,
        allowed="an IPv4 address such as 192.0.2.10 or an IPv6 address such as 2001:db8::10",
    )


def prefix_length(mask: str, of: Address, *, field: str = "mask") -> int:
    """Read a netmask (``255.255.255.0``) or a prefix length (``24``) for the address ``of``.

    Raises `CommandError` ``ip.mask.invalid``. A prefix of 0 is refused: no box has the whole
    Internet on one interface.
    """
    text = mask.strip().removeprefix("/")
    bits = of.max_prefixlen
    length: int | None = None
    if text.isascii() and text.isdigit() and len(text) <= 3:
        length = int(text)
    elif of.version == 4:
        try:
            candidate = IPv4Address(text)
            network = ip_network(f"0.0.0.0/{candidate}")
            # `ip_network` also reads host masks (0.0.0.255); only a true netmask is taken.
            length = network.prefixlen if network.netmask == candidate else None
        except ValueError:
            length = None
    if length is None or not 1 <= length <= bits:
        raise CommandError(
            "ip.mask.invalid",
            "not a netmask or prefix length for this address",
            field=field,
            value=mask,
            allowed=f"a prefix length from 1 to {bits}"
            + (" or a netmask such as 255.255.255.0" if of.version == 4 else ""),
        )
    return length


def address_range(first: Address, last: Address, *, field: str = "last") -> AddressRange:
    """Give the range from ``first`` to ``last``; raises `CommandError` ``ip.range.invalid``."""
    size = int(last) - int(first) + 1 if first.version == last.version else 0
    if not 1 <= size <= MAX_RANGE:
        raise CommandError(
            "ip.range.invalid",
            "the range ends before it begins, mixes families, or is too long",
            field=field,
            value=str(last),
            allowed=f"an address of the same family, up to {MAX_RANGE - 1} after {first}",
        )
    return AddressRange(first, last)


def port(number: int, *, field: str = "port") -> int:
    """Check a TCP or UDP port; raises `CommandError` ``ip.port.invalid``."""
    if not 1 <= number <= 65535:
        raise CommandError(
            "ip.port.invalid", "not a port", field=field, value=str(number), allowed="1 to 65535"
        )
    return number
