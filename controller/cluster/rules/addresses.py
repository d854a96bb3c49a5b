"""Rules of IP addresses: which a logical server may, must and must not have. Pure."""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_interface

from controller.cluster.addresses.types import TYPES, types_of
from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import Addresses, Box, ModelView, Server
from controller.cluster.servers.groups import DEFAULT_TAG, WEB_GROUPS
from controller.projection.servers import SECOND
from templates.registry import KNOWN_TYPES

BOUND_TO_BOX = frozenset({"control-panel", "mrtg"})
"""Groups whose service address is the address of their box (R340)."""


def _adding(view: ModelView, servers: Iterable[Server], type_: str) -> Iterator[tuple[Server, str]]:
    """Give each server with the command that adds its address.

    That is the box's own address (R342) where no other endpoint is on it, and none was named before
    it.
    """
    taken = {(item.first, item.port) for item in view.addresses}
    for server in servers:
        known = KNOWN_TYPES.get(server.type)
        port = 0 if known is None else known.default_port
        address, mask = "ADDRESS", "MASK"
        for box in view.boxes_of(server):
            if (box.address, port) not in taken:
                address, mask = box.address, str(box.prefix)
                taken.add((box.address, port))
                break
        yield server, f"hsctl ip add {server.name} --from {address} --mask {mask} --type {type_}"


def _delete(item: Addresses) -> str:
    """Give the command that deletes the first of these addresses."""
    return f"hsctl ip delete {item.first} --port {item.port}"


def _type_fits_group(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        for item in view.of(server):
            if item.type in SECOND:
                continue  # of the same server as the address that it is to become, or was
            if item.type not in TYPES or server.group not in TYPES[item.type].groups:
                yield Finding(
                    "ip",
                    item.first,
                    f"a server of the group {server.group} cannot have a {item.type} address",
                    _delete(item),
                    ", ".join(types_of(server.group)),
                )


def _second(type_: str) -> Callable[[ModelView], Iterable[Finding]]:
    def check(view: ModelView) -> Iterator[Finding]:
        for server in view.servers:
            for item in view.of(server, type_)[1:]:
                yield Finding(
                    "ip",
                    item.first,
                    f"{server.name} has its {type_} address: exactly one is allowed",
                    _delete(item),
                )

    return check


def _not_the_boxs(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        if server.group not in BOUND_TO_BOX:
            continue
        own = {box.address for box in view.boxes_of(server)}
        for item in view.of(server, "service"):
            if item.first not in own:
                yield Finding(
                    "ip",
                    item.first,
                    f"the service address of {server.name} is not that of its physical server",
                    _delete(item),
                    ", ".join(sorted(own)),
                )


def _freebsd_servers(view: ModelView) -> Iterator[tuple[Server, Box]]:
    for server in view.servers:
        for box in view.boxes_of(server):
            if box.os_family == "freebsd":
                yield server, box


def _freebsd_pool_mask(view: ModelView) -> Iterator[Finding]:
    for server, box in _freebsd_servers(view):
        for item in view.of(server):
            if item.count > 1 and item.prefix != item.bits:
                yield Finding(
                    "ip",
                    item.first,
                    f"several addresses of {server.name} have the network mask /{item.prefix}, but "
                    f"{box.name} runs FreeBSD: one may have it, the others are a pool",
                    f"hsctl ip edit {item.first} --port {item.port} --mask {item.bits}",
                    "the mask 255.255.255.255 for a pool, after its first address with its own",
                    str(item.prefix),
                )


def _freebsd_pool_first(view: ModelView) -> Iterator[Finding]:
    for server, box in _freebsd_servers(view):
        networks = [ip_interface(f"{box.address}/{box.prefix}").network] + [
            ip_interface(f"{other.first}/{other.prefix}").network
            for beside in view.on(box)
            for other in view.of(beside)
            if other.prefix != other.bits
        ]
        for item in view.of(server):
            if item.prefix == item.bits and not any(
                ip_address(item.first) in network for network in networks
            ):
                yield Finding(
                    "ip",
                    item.first,
                    f"no address with the network mask of {item.first} is on {box.name}, which "
                    "runs FreeBSD",
                    f"hsctl ip edit {item.first} --port {item.port} --mask MASK",
                    "the first address of a pool apart, with its own mask",
                )


def _no_service(view: ModelView) -> Iterator[Finding]:
    lacking = (
        server
        for server in view.servers
        if server.group not in WEB_GROUPS and not view.of(server, "service")
    )
    for server, repair in _adding(view, lacking, "service"):
        yield Finding(
            "lserver",
            server.name,
            f"{server.name} has no service IP: exactly one is needed before it can serve",
            repair,
        )


def _no_default_shared(view: ModelView) -> Iterator[Finding]:
    lacking = (
        server
        for server in view.servers
        if server.group in WEB_GROUPS
        and not any(item.tag == DEFAULT_TAG for item in view.of(server, "shared"))
    )
    for server, repair in _adding(view, lacking, "shared"):
        yield Finding(
            "lserver",
            server.name,
            f"{server.name} has no default shared IP (tag {DEFAULT_TAG})",
            repair,
        )


def _endpoint_taken(view: ModelView) -> Iterator[Finding]:
    for shared in view.shared_addresses:
        for port in sorted(shared.one.ports & shared.other.ports):
            yield Finding(
                "ip",
                shared.ip,
                f"{shared.one.server} and {shared.other.server} both answer on {shared.ip} at "
                f"port {port}",
                f"hsctl ip delete {shared.ip} --port {shared.other.port}",
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "ip.type.group",
        ("R330", "R332", "R337", "R338"),
        "refuse",
        "Web servers share addresses among sites; every other server answers on one of its own.",
        _type_fits_group,
        field="type",
    ),
    Rule(
        "ip.service.exactly-one",
        ("R339",),
        "refuse",
        "A server that is not a web server is known to all others by one address.",
        _second("service"),
        field="type",
        allowed="delete the present one first",
    ),
    Rule(
        "ip.outgoing.one",
        ("R347",),
        "refuse",
        "All outgoing mail of a mail server leaves from one address.",
        _second("outgoing"),
        field="type",
        allowed="delete the present one first",
    ),
    Rule(
        "ip.bouncing.one",
        ("R350",),
        "refuse",
        "All bounced mail of a mail server leaves from one address.",
        _second("bouncing"),
        field="type",
        allowed="delete the present one first",
    ),
    Rule(
        "ip.service.of-the-box",
        ("R340",),
        "refuse",
        "The control panel and MRTG answer on the address of their physical server.",
        _not_the_boxs,
        field="first",
    ),
    Rule(
        "ip.freebsd.pool-mask",
        ("R327",),
        "refuse",
        "FreeBSD takes one address of a network with its mask; further ones are aliases with a "
        "host mask.",
        _freebsd_pool_mask,
        field="mask",
    ),
    Rule(
        "ip.freebsd.pool-first",
        ("R327",),
        "refuse",
        "On FreeBSD an alias with a host mask needs an address beside it that has the network's.",
        _freebsd_pool_first,
        field="mask",
    ),
    Rule(
        "ip.service.missing",
        ("R339",),
        "warn",
        "Without its service address the server can serve nothing.",
        _no_service,
    ),
    Rule(
        "ip.shared.default-missing",
        ("R334", "R335", "R336", "A8"),
        "warn",
        "Sites are placed on the default shared address, and resellers' DNS aliases point there.",
        _no_default_shared,
    ),
    Rule(
        "ip.endpoint.taken",
        ("R354",),
        "refuse",
        "Two servers cannot answer on the same address and port.",
        _endpoint_taken,
        field="first",
        allowed="an address, or ports, that no other server of the cluster uses",
    ),
)
