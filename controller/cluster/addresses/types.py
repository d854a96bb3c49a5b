"""The types of IP addresses (R328 to R350): which servers may have them, and how many. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from controller.cluster.servers.groups import GROUPS, WEB_GROUPS
from controller.refusal import CommandError

RESERVED = "system"
"""The guide's "System Management IP": reserved for future use, must not be selected (R344)."""


@attrs.frozen
class AddressType:
    """One type of address.

    ``listens``: servers answer clients on it, so it stands in their own configuration. A dedicated
    address does not: it is taken and given back by sites (R355).
    """

    name: str
    sources: tuple[str, ...]
    groups: frozenset[str]
    """Server groups that may have it."""
    single: bool
    """A server has at most one (R339, R347, R350)."""
    ranges: bool
    """May be added as a range (R324, R325)."""
    listens: bool
    purpose: str


_OTHERS = frozenset(GROUPS) - WEB_GROUPS
_KNOWN = (
    AddressType(
        "shared",
        ("R331", "R332", "R333"),
        WEB_GROUPS,
        False,
        False,
        True,
        "many sites answer on it",
    ),
    AddressType(
        "dedicated",
        ("R329", "R330", "R355"),
        WEB_GROUPS,
        False,
        True,
        False,
        "for one site alone",
    ),
    AddressType(
        "service",
        ("R337", "R338", "R339"),
        _OTHERS,
        True,
        False,
        True,
        "what the server answers on",
    ),
    AddressType(
        "dns-reseller",
        ("R343",),
        frozenset({"dns"}),
        False,
        False,
        False,
        "for resellers' name server aliases",
    ),
    AddressType(
        "outgoing",
        ("R345", "R346", "R347"),
        frozenset({"mail"}),
        True,
        False,
        False,
        "all outgoing mail leaves from it, as when the server's own is on a blacklist",
    ),
    AddressType(
        "bouncing",
        ("R348", "R349", "R350"),
        frozenset({"mail"}),
        True,
        False,
        False,
        "bounced mail leaves from it, so that whoever blocks bounces blocks no other mail",
    ),
)
TYPES: Mapping[str, AddressType] = MappingProxyType({known.name: known for known in _KNOWN})


def types_of(group: str) -> tuple[str, ...]:
    """Name the types that a server of this group may have."""
    return tuple(known.name for known in _KNOWN if group in known.groups)


def address_type(name: str, group: str) -> AddressType:
    """Give the type ``name`` for a server of ``group``.

    Raises `CommandError` ``ip.type.reserved`` (R344), ``ip.type.invalid`` or ``ip.type.group``
    (R330, R332, R337, R338).
    """
    fitting = ", ".join(types_of(group))
    if name == RESERVED:
        raise CommandError(
            "ip.type.reserved",
            "the System Management IP is reserved for future use and must not be selected (R344)",
            field="type",
            value=name,
            allowed=fitting,
        )
    known = TYPES.get(name)
    if known is None:
        raise CommandError(
            "ip.type.invalid", "not a type of address", field="type", value=name, allowed=fitting
        )
    if group not in known.groups:
        raise CommandError(
            "ip.type.group",
            f"a server of the group {group} cannot have a {name} address",
            field="type",
            value=name,
            allowed=fitting,
        )
    return known


def check_range(known: AddressType, count: int) -> None:
    """Refuse a range of addresses that are added one by one (R333): ``ip.range.one-by-one``."""
    if count > 1 and not known.ranges:
        raise CommandError(
            "ip.range.one-by-one",
            f"{known.name} addresses are added one at a time",
            field="last",
            value=str(count),
            allowed="leave the end of the range out",
        )
