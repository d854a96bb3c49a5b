"""What a box says of its interfaces (``ip -json``), and where a new address belongs. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import msgspec

from node_agent.effects.neighbours import Interface

HostAddress = IPv4Address | IPv6Address
LABEL = ":hs"
"""The end of the label of every IPv4 address that the agent brought up: seen in ``ip addr``."""
_LABEL_LENGTH = 15


class Assigned(msgspec.Struct, frozen=True):
    """An address on an interface."""

    local: str = ""
    prefixlen: int = 0
    label: str = ""
    broadcast: str = ""
    tentative: bool = False
    dadfailed: bool = False

    @property
    def labelled(self) -> bool:
        """Whether its label says that it is ours."""
        return self.label.endswith(LABEL)


class Link(msgspec.Struct, frozen=True):
    """An interface with its addresses."""

    ifname: str
    ifindex: int = 0
    flags: tuple[str, ...] = ()
    address: str = ""
    addr_info: tuple[Assigned, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it is up and leads to other machines."""
        return "UP" in self.flags and "LOOPBACK" not in self.flags

    @property
    def interface(self) -> Interface | None:
        """What neighbours are asked by, None where nobody answers for addresses (no ARP)."""
        hardware = bytes.fromhex(self.address.replace(":", "")) if self.address else b""
        if "NOARP" in self.flags or len(hardware) != 6:
            return None
        return Interface(self.ifname, self.ifindex, hardware)


class _Route(msgspec.Struct, frozen=True):
    dev: str = ""


def read_links(text: str) -> tuple[Link, ...]:
    """Read ``ip -json address show``; raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=tuple[Link, ...])


def read_default(text: str) -> str:
    """Read ``ip -json route show default``: the interface, empty where there is no such route."""
    routes = msgspec.json.decode(text or "[]", type=tuple[_Route, ...])
    return next((route.dev for route in routes if route.dev), "")


def found_on(links: Sequence[Link], address: HostAddress) -> tuple[Link, Assigned] | None:
    """Give where the box has the address already."""
    for link in links:
        for each in link.addr_info:
            if each.local and ip_address(each.local) == address:
                return link, each
    return None


def link_for(links: Sequence[Link], address: HostAddress, prefix: int, default: str) -> Link | None:
    """Choose the interface of a new address: the one in its network, else that of the way out."""
    wanted = ip_interface(f"{address}/{prefix}").network
    best: tuple[tuple[bool, int], Link] | None = None
    for link in links:
        for each in link.addr_info if link.usable else ():
            if not each.local:
                continue
            own = ip_interface(f"{each.local}/{each.prefixlen}")
            if own.version != address.version or own.ip.is_link_local:
                continue
            inside = address in own.network
            rank = inside, own.network.prefixlen
            if (inside or own.ip in wanted) and (best is None or rank > best[0]):
                best = rank, link
    if best is not None:
        return best[1]
    return next((link for link in links if link.usable and link.ifname == default), None)


def add_arguments(link: str, address: HostAddress, prefix: int) -> tuple[str, ...]:
    """Give the arguments of ``ip`` that bring the address up, labelled where a label fits."""
    arguments = ("address", "add", f"{address}/{prefix}", "dev", link)
    label = f"{link}{LABEL}"
    if address.version == 4 and len(label) <= _LABEL_LENGTH:
        return (*arguments, "label", label)
    return arguments


def again_arguments(link: str, assigned: Assigned) -> tuple[str, ...]:
    """Give the arguments of ``ip`` that put an address back as it was."""
    arguments = ["address", "add", f"{assigned.local}/{assigned.prefixlen}", "dev", link]
    for name in ("label", "broadcast"):
        if value := getattr(assigned, name):
            arguments += [name, value]
    return tuple(arguments)
