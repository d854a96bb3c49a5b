"""Rules of IP addresses: which a logical server may, must and must not have. Pure."""

from collections.abc import Iterator

from controller.cluster.groups import DEFAULT_TAG, WEB_GROUPS
from controller.cluster.model_view import ModelView, Server
from controller.cluster.rules import Finding, Rule


def _add(view: ModelView, server: Server, type_: str) -> str:
    """Give the command that adds an address: the box's own where there is one box (R342)."""
    boxes = view.boxes_of(server)
    address, prefix = (boxes[0].address, boxes[0].prefix) if boxes else ("ADDRESS", "MASK")
    return f"hsctl ip add {server.name} --from {address} --mask {prefix} --type {type_}"


def _type_fits_group(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        web = server.group in WEB_GROUPS
        for item in view.of(server):
            if web != (item.type in ("shared", "dedicated")):
                yield Finding(
                    "ip",
                    item.first,
                    f"a server of the group {server.group} cannot have a {item.type} address",
                    f"hsctl ip delete {item.first} --port {item.port}",
                    "shared or dedicated" if web else "service",
                )


def _second_service(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        for item in view.of(server, "service")[1:]:
            yield Finding(
                "ip",
                item.first,
                f"{server.name} has its service address: exactly one is allowed",
                f"hsctl ip delete {item.first} --port {item.port}",
            )


def _no_service(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        if server.group not in WEB_GROUPS and not view.of(server, "service"):
            yield Finding(
                "lserver",
                server.name,
                f"{server.name} has no service IP: exactly one is needed before it can serve",
                _add(view, server, "service"),
            )


def _no_default_shared(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        if server.group in WEB_GROUPS and not any(
            item.tag == DEFAULT_TAG for item in view.of(server, "shared")
        ):
            yield Finding(
                "lserver",
                server.name,
                f"{server.name} has no default shared IP (tag {DEFAULT_TAG})",
                _add(view, server, "shared"),
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
        _second_service,
        field="type",
        allowed="delete the present one first",
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
