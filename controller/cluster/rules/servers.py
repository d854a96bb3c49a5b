"""Rules of logical servers: where they may stand. Pure."""

from collections.abc import Iterator

from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import ModelView, Server

WITHOUT_CUSTOMERS = frozenset({"control-panel", "mrtg"})
"""Groups whose servers are the provider's own: nobody is placed on them."""


def _group_on_box(view: ModelView) -> Iterator[Finding]:
    for box in view.boxes:
        for server in view.on(box):
            if server.group not in box.groups:
                yield Finding(
                    "lserver",
                    server.name,
                    f"the box {box.name} does not have the server group {server.group}",
                    f"hsctl pserver edit {box.name} "
                    + " ".join(f"--group {group}" for group in (*box.groups, server.group)),
                    f"a box with the group {server.group}; this one has {', '.join(box.groups)}",
                    value=box.name,
                )


def _one_type_per_box(view: ModelView) -> Iterator[Finding]:
    for box in view.boxes:
        first: dict[str, str] = {}
        for server in view.on(box):
            if server.group == "dns":
                continue
            other = first.setdefault(server.type, server.name)
            if other != server.name:
                yield Finding(
                    "lserver",
                    server.name,
                    f"{box.name} has two servers of the type {server.type}, {other} and "
                    f"{server.name}: one of a type per box is recommended",
                    f"hsctl lserver move {server.name} --to BOX",
                )


def _spread(view: ModelView) -> Iterator[Finding]:
    if view.boxes_in_cluster < 2:
        return
    for box in view.boxes:
        first: dict[str, Server] = {}
        for server in view.on(box):
            other = first.setdefault(server.group, server)
            # Name servers and servers of one type have rules of their own.
            if server.group != "dns" and other.type != server.type:
                yield Finding(
                    "lserver",
                    server.name,
                    f"{other.name} and {server.name}, both of the group {server.group}, share the "
                    f"box {box.name}, and there is another box",
                    f"hsctl lserver move {server.name} --to BOX",
                )


def _no_signup(view: ModelView) -> Iterator[Finding]:
    for group in view.groups:
        if group.servers and not group.open and group.group not in WITHOUT_CUSTOMERS:
            yield Finding(
                "group",
                group.group,
                f"no logical server of the group {group.group} takes new customers",
                f"hsctl lserver signup on {group.first}",
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "lserver.group.not-on-box",
        ("R244", "R267"),
        "refuse",
        "The groups of a box say what may be placed on it.",
        _group_on_box,
        field="pserver",
    ),
    Rule(
        "lserver.type.one-per-box",
        ("R259", "A3"),
        "warn",
        "Two servers of one type on a box compete for its resources and fail together.",
        _one_type_per_box,
        field="pserver",
    ),
    Rule(
        "lserver.group.spread",
        ("R37",),
        "warn",
        "Servers of one group on different boxes do not fail together.",
        _spread,
        field="pserver",
    ),
    Rule(
        "group.signup.none",
        ("R38", "R280", "R282"),
        "warn",
        "Signup is off on a new server, and customers are placed only where it is on.",
        _no_signup,
    ),
)
