"""Rules of logical servers: where they may stand. Pure."""

from collections.abc import Iterator

from controller.cluster.model_view import ModelView
from controller.cluster.rules import Finding, Rule


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
)
