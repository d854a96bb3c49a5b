"""Rules of service types: on which systems they run, and which ports they take. Pure."""

from collections.abc import Iterator

from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import ModelView
from templates.registry import KNOWN_TYPES


def _platform(view: ModelView) -> Iterator[Finding]:
    for box in view.boxes:
        for server in view.on(box):
            known = KNOWN_TYPES.get(server.type)
            if known is not None and box.os_family not in known.platforms:
                yield Finding(
                    "lserver",
                    server.name,
                    f"{server.type} does not run on {box.os_family}, the system of {box.name}",
                    f"hsctl lserver move {server.name} --to BOX",
                    f"a box with {' or '.join(sorted(known.platforms))}",
                    value=box.name,
                )


def _tls_port(view: ModelView) -> Iterator[Finding]:
    for server in view.servers:
        port = server.settings.get("tls_port", 0)
        if port and any(item.port == port for item in view.of(server)):
            yield Finding(
                "lserver",
                server.name,
                f"{server.name} answers plain HTTP at port {port}, its TLS port",
                f"hsctl lserver set {server.name} tls_port=0",
                value=str(port),
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "lserver.type.platform",
        ("R230", "R231", "R266", "R267"),
        "refuse",
        "A program runs only on the systems that it was made for.",
        _platform,
        field="pserver",
    ),
    Rule(
        "lserver.tls-port.plain",
        ("R354",),
        "refuse",
        "One port of an address answers either TLS or plain HTTP.",
        _tls_port,
        field="settings.tls_port",
        allowed="a port that no address of the server has",
    ),
)
