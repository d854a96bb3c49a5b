"""Choosing addresses and ports that nothing else on this machine answers on."""

import os
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

import msgspec
import psutil

from controller.local.claims import Claims
from controller.local.layout import ClusterPlan, LocalBox, Place

SERVICE_DOMAIN = "heliosphere.test"
PANEL_PORT = 8443
AGENT_PORT = 8444
ENROLMENT_PORT = 8445
CONTROL_PORTS = 20_000
_TLS_PORTS = (8441, 8442, *range(8541, 8741))
"""For a web server, on both sides of where the controller's ports move to."""
_BLOCKS = 256
_IP_PROGRAMS = ("/usr/sbin/ip", "/sbin/ip", "/bin/ip")


class NoPlaceError(Exception):
    """No free address or port was found; ``args[0]`` says what was tried."""


class AddressTakenError(Exception):
    """An address of this cluster is on an interface for another purpose; ``args[0]`` is it."""


def is_free(place: Place, *, datagram: bool = False) -> bool:
    """Whether a server could bind ``place`` now (TCP, and UDP where ``datagram``)."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    kinds = [socket.SOCK_STREAM, *([socket.SOCK_DGRAM] if datagram else [])]
    for kind in kinds:
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((place.address, place.port))
            except OSError:
                return False
    return True


class Chooser:
    """Hands out places, each once, and none that another cluster has claimed."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._given: set[Place] = set()

    def choose(self, address: str, wanted: Iterable[int], *, datagram: bool = False) -> Place:
        """Give the first free port of ``wanted``; raises `NoPlaceError`."""
        tried = []
        for port in wanted:
            place = Place(address, port)
            tried.append(port)
            if place in self._given or not self._claims.claim(place):
                continue
            if is_free(place, datagram=datagram):
                self._given.add(place)
                return place
            self._claims.give_up(place)
        raise NoPlaceError(f"no free port on {address} among {tried[0]} to {tried[-1]}")


def _from(first: int, count: int = 200) -> Iterator[int]:
    return iter(range(first, first + count))


def ip_program() -> str | None:
    """Where iproute2's program is, if it is installed."""
    return next((path for path in _IP_PROGRAMS if Path(path).exists()), None)


def label(root: Path) -> str:
    """Name the loopback addresses of the cluster in ``root``, so that no other one takes them away.

    An interface's label has at most 15 characters.
    """
    return f"lo:hs{crc32(bytes(root)):08x}"


def own_addresses(mark: str) -> set[str]:
    """The IPv4 addresses on this machine's interfaces that carry the label ``mark``."""
    return {
        entry.address
        for entry in psutil.net_if_addrs().get(mark, ())
        if entry.family == socket.AF_INET
    }


def present_addresses() -> set[str]:
    """All IPv4 addresses on this machine's interfaces."""
    return {
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    }


def claim_loopback(addresses: Iterable[str], mark: str) -> None:
    """Put ``addresses`` on the loopback interface under the label ``mark``, all or none.

    The kernel gives an address to one cluster only, also when two are made at the same moment.
    Raises `AddressTakenError`, and `NoPlaceError` where this machine takes no addresses.
    """
    program = ip_program()
    if program is None:
        raise NoPlaceError("the program `ip` (package iproute2) is missing")
    present = present_addresses()
    for address in sorted(set(addresses) - own_addresses(mark)):
        added = subprocess.run(
            [program, "address", "add", f"{address}/32", "dev", "lo", "label", mark],
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
        if added.returncode:
            release_loopback(addresses, mark)
            if address in present or "File exists" in added.stderr:
                raise AddressTakenError(address)
            raise NoPlaceError(f"ip address add {address}: {added.stderr.strip()}")


def release_loopback(addresses: Iterable[str], mark: str) -> None:
    """Take ``addresses`` away from the loopback interface, those that are labelled ``mark``."""
    program = ip_program()
    for address in sorted(set(addresses) & own_addresses(mark)):
        if program is not None:
            subprocess.run(
                [program, "address", "delete", f"{address}/32", "dev", "lo", "label", mark],
                check=False,
                capture_output=True,
            )


def claim_block(root: Path, first: int) -> tuple[str, ...]:
    """Claim three addresses of 127.77.0.0/16 for the cluster in ``root``, from block ``first`` on.

    Raises `NoPlaceError`.
    """
    for block in range(_BLOCKS):
        addresses = tuple(f"127.77.{(first + block) % _BLOCKS}.{host}" for host in (11, 12, 21))
        try:
            claim_loopback(addresses, label(root))
        except AddressTakenError:
            continue
        return addresses
    raise NoPlaceError("every block of 127.77.0.0/16 is in use")


def _loopback(root: Path, first: int) -> tuple[str, ...]:
    """Claim addresses where that is possible: as root, and not in a container without the right."""
    if os.geteuid() != 0:
        return ()
    try:
        return claim_block(root, first)
    except NoPlaceError:
        return ()


def choose_plan(root: Path, claims: Claims, *, own: bool) -> ClusterPlan:
    """Choose a plan for this machine; ``own`` is the machine's usual cluster.

    As root each box gets an address, else ports of 127.0.0.1.

    Control ports, which nobody types, and the addresses of a cluster beside the machine's own start
    at a number drawn from ``root``: another cluster may be choosing at the same time, or be down.
    What was claimed is given back when there is no place for the rest.
    """
    drawn = crc32(bytes(root))
    loopback = _loopback(root, 0 if own else 1 + drawn % (_BLOCKS - 1))
    try:
        return _choose(drawn, loopback, Chooser(claims))
    except NoPlaceError:
        release_loopback(loopback, label(root))
        raise


def _choose_doors(chooser: Chooser, now: ClusterPlan | None = None) -> tuple[Place, Place, Place]:
    """Choose the places of the controller: those of ``now`` where they are free.

    The panel is last, so that it does not take what the others usually have.
    """
    kept = (None, None, None) if now is None else doors(now)
    agents, enrolment, panel = (
        chooser.choose("127.0.0.1", (*([place.port] if place else []), *_from(usual)))
        for place, usual in (
            (kept[1], AGENT_PORT),
            (kept[2], ENROLMENT_PORT),
            (kept[0], PANEL_PORT),
        )
    )
    return panel, agents, enrolment


def _choose(drawn: int, loopback: tuple[str, ...], chooser: Chooser) -> ClusterPlan:
    control_ports = _from(CONTROL_PORTS + drawn % 10_000)
    panel, agents, enrolment = _choose_doors(chooser)
    places = loopback or ("127.0.0.1",) * 3
    dns_ports = (53, *_from(5301)) if loopback else tuple(_from(5301))
    web_ports = (80, *_from(8081)) if loopback else tuple(_from(8081))
    tls_ports = (443, *_TLS_PORTS) if loopback else _TLS_PORTS
    boxes = []
    for name, address in zip(("ns1", "ns2"), places, strict=False):
        endpoint = chooser.choose(address, dns_ports, datagram=True)
        control = chooser.choose("127.0.0.1", control_ports).port
        boxes.append(LocalBox(name, "dns", "bind", endpoint, control))
    web = chooser.choose(places[2], web_ports)
    tls = chooser.choose(places[2], tls_ports)
    boxes.append(LocalBox("web1", "web", "apache", web, tls_port=tls.port))
    return ClusterPlan(
        service_domain=SERVICE_DOMAIN,
        panel=panel,
        agents=agents,
        enrolment=enrolment,
        boxes=tuple(boxes),
        loopback=loopback,
    )


def moved(plan: ClusterPlan) -> list[str]:
    """Say what does not answer on its usual port: others had that, or it was changed since."""
    usual = [
        (plan.panel, PANEL_PORT, "the panel"),
        (plan.agents, AGENT_PORT, "the controller, for agents,"),
        (plan.enrolment, ENROLMENT_PORT, "the controller, for enrolment,"),
    ]
    if plan.loopback:
        usual += [(box.endpoint, 53 if box.group == "dns" else 80, box.name) for box in plan.boxes]
        usual += [(box.tls, 443, box.name) for box in plan.boxes if box.tls is not None]
    return [
        f"{what} uses port {place.port} of {place.address} instead of {port}"
        for place, port, what in usual
        if place.port != port
    ]


def doors(plan: ClusterPlan) -> tuple[Place, Place, Place]:
    """Give the places of the controller."""
    return plan.panel, plan.agents, plan.enrolment


def taken_doors(plan: ClusterPlan) -> list[Place]:
    """Give the places of the controller that another program has."""
    return [place for place in doors(plan) if not is_free(place)]


def with_free_doors(plan: ClusterPlan, claims: Claims) -> ClusterPlan:
    """Move the controller's places that another program has taken.

    They may move: agents and hsctl are told at each start. A box's may not: customers know them.
    """
    panel, agents, enrolment = _choose_doors(Chooser(claims), plan)
    return msgspec.structs.replace(plan, panel=panel, agents=agents, enrolment=enrolment)


def places_of_boxes(plan: ClusterPlan) -> Iterator[tuple[Place, bool]]:
    """Give every place of the boxes, and whether it answers datagrams too."""
    for box in plan.boxes:
        yield box.endpoint, box.group == "dns"
        if box.tls is not None:
            yield box.tls, False
        if box.control_port is not None:
            yield Place("127.0.0.1", box.control_port), False
