"""Whether another machine answers for an address: ARP (RFC 5227), neighbour discovery (RFC 4861).

Everything here blocks for less than a second and is made on a worker thread.
"""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import attrs

from node_agent.effects.failures import EffectFailedError

PROBES = 3
SPACING, LISTENING = 0.15, 0.5
"""Seconds between two probes, and after the last one. RFC 5227 waits longer where thousands of
hosts begin at once; here one box asks for one address."""

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET = struct.Struct("!6s6sH")
_ETHERTYPE_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_SOLICITATION, _ADVERTISEMENT = 135, 136


@attrs.frozen
class Interface:
    """An interface that is asked on; ``hardware`` is its own address, six bytes."""

    name: str
    index: int
    hardware: bytes


def other_owner(interface: Interface, address: IPv4Address | IPv6Address) -> str | None:
    """Give the hardware address of another machine that has ``address``, None where none answers.

    Raises `EffectFailedError` where it cannot be asked: such an address is not brought up.
    """
    ask = _ask_arp if isinstance(address, IPv4Address) else _ask_neighbours
    try:
        return ask(interface, address)  # type: ignore[arg-type]
    except OSError as error:
        raise EffectFailedError(
            f"whether another machine has {address} cannot be asked on {interface.name}: "
            f"{error.strerror or error}"
        ) from error


def announce(interface: Interface, address: IPv4Address) -> None:
    """Tell the neighbours that the address is here now (RFC 5227 section 2.3).

    It is up all the same where that cannot be said: they find out when they ask.
    """
    with suppress(OSError), _packet_socket(interface) as link:
        link.send(_arp(interface, sender=address.packed, target=address.packed))


def _ask_arp(interface: Interface, address: IPv4Address) -> str | None:
    probe = _arp(interface, sender=bytes(4), target=address.packed)
    with _packet_socket(interface) as link:
        return _exchange(
            link, lambda: link.send(probe), lambda said: _arp_owner(interface, address, said)
        )


def _packet_socket(interface: Interface) -> socket.socket:
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE_ARP))
    link.bind((interface.name, _ETHERTYPE_ARP))
    return link


def _arp(interface: Interface, *, sender: bytes, target: bytes) -> bytes:
    own = interface.hardware
    head = _ETHERNET.pack(_BROADCAST, own, _ETHERTYPE_ARP)
    return head + _ARP.pack(1, 0x0800, 6, 4, 1, own, sender, bytes(6), target)


def _arp_owner(interface: Interface, address: IPv4Address, frame: bytes) -> str | None:
    """Read a frame: who has the address, or is asking for it to have it too (section 2.1.1)."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    kind, protocol, _, _, operation, hardware, sender, _, target = _ARP.unpack_from(
        frame, _ETHERNET.size
    )
    if (kind, protocol) != (1, 0x0800) or hardware == interface.hardware:
        return None
    asks = operation == 1 and sender == bytes(4) and target == address.packed
    return hardware.hex(":") if sender == address.packed or asks else None


def _ask_neighbours(interface: Interface, address: IPv6Address) -> str | None:
    """Ask from the link-local address; without one the kernel's own detection must do."""
    group = f"ff02::1:ff{address.packed[13]:02x}:{address.packed[14]:02x}{address.packed[15]:02x}"
    question = (
        struct.pack("!BBHI", _SOLICITATION, 0, 0, 0)
        + address.packed
        + struct.pack("!BB6s", 1, 1, interface.hardware)
    )
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode() + b"\0")
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)

        def ask() -> None:
            link.sendto(question, (group, 0, 0, interface.index))

        try:
            ask()
        except OSError:
            return None
        return _exchange(link, ask, lambda said: _advertised(address, said))


def _advertised(address: IPv6Address, packet: bytes) -> str | None:
    """Read an ICMPv6 packet: the link-layer address of who advertises ``address``."""
    if len(packet) < 24 or packet[0] != _ADVERTISEMENT or packet[8:24] != address.packed:
        return None
    option = packet[24:32]
    return option[2:8].hex(":") if option[:2] == b"\x02\x01" else "another machine"


def _exchange(
    link: socket.socket, ask: Callable[[], object], read: Callable[[bytes], str | None]
) -> str | None:
    """Send the probes and listen for an answer, in all for less than a second."""
    for number in range(1, PROBES + 1):
        ask()
        end = time.monotonic() + (SPACING if number < PROBES else LISTENING)
        while (left := end - time.monotonic()) > 0:
            link.settimeout(left)
            try:
                owner = read(link.recv(2048))
            except TimeoutError:
                break
            if owner is not None:
                return owner
    return None
