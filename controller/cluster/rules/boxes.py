"""Rules of physical servers: what may stand together on a box. Pure."""

from collections.abc import Callable, Iterator

from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import ModelView
from templates.registry import KNOWN_TYPES


def _separate(group: str, os_family: str = "") -> Callable[[ModelView], Iterator[Finding]]:
    """Give the check that servers of ``group`` share no box with servers of another group."""

    def check(view: ModelView) -> Iterator[Finding]:
        for box in view.boxes:
            if os_family not in ("", box.os_family):
                continue
            on_box = view.on(box)
            alone = [server for server in on_box if server.group == group]
            others = [server for server in on_box if server.group != group]
            if alone:
                for server in others:
                    yield Finding(
                        "lserver",
                        server.name,
                        f"{server.name} ({server.group}) shares the box {box.name} with "
                        + ", ".join(f"{other.name} ({other.group})" for other in alone),
                        f"hsctl lserver move {server.name} --to BOX",
                        value=box.name,
                    )

    return check


def _separate_rule(group: str, source: str, what: str, os_family: str = "") -> Rule:
    return Rule(
        f"pserver.separate.{group}",
        (source,),
        "refuse",
        f"{what} needs a physical server of its own.",
        _separate(group, os_family),
        field="pserver",
        allowed=f"a box with no logical server of another group than {group}",
    )


def _empty(view: ModelView) -> Iterator[Finding]:
    for box in view.boxes:
        if box.retired or view.on(box):
            continue
        fitting = (
            f"--group {known.group} --type {known.name}"
            for known in KNOWN_TYPES.values()
            if known.group in box.groups and box.os_family in known.platforms
        )
        yield Finding(
            "pserver",
            box.name,
            f"the box {box.name} has no logical server",
            f"hsctl lserver add NAME {next(fitting, '--group GROUP --type TYPE')} "
            f"--pserver {box.name}",
        )


def _left_behind(view: ModelView) -> Iterator[Finding]:
    for box in view.boxes:
        if box.retired:
            for server in view.on(box):
                yield Finding(
                    "lserver",
                    server.name,
                    f"{server.name} is on {box.name}, a box that is gone for good",
                    f"hsctl lserver move {server.name} --to BOX",
                    value=box.name,
                )


RULES: tuple[Rule, ...] = (
    _separate_rule("windows", "R230", "Windows web hosting"),
    _separate_rule("mssql", "R231", "MS SQL for user databases"),
    _separate_rule("realmedia", "R232", "Windows real media hosting", "windows"),
    _separate_rule("postgresql", "R233", "PostgreSQL for user databases"),
    _separate_rule("vps", "R234", "VPS hosting"),
    Rule(
        "pserver.empty",
        ("R35", "R246"),
        "warn",
        "A physical server is there to run logical servers; it is not set up before it has one.",
        _empty,
    ),
    Rule(
        "pserver.retired.in-use",
        ("R255",),
        "warn",
        "What was on a box that is gone is served by nobody, and keeps the box from being deleted.",
        _left_behind,
    ),
)
