"""Rules of name servers, judged over all of them in the cluster. Pure."""

from collections.abc import Iterator

from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import ModelView


def _spread(view: ModelView) -> Iterator[Finding]:
    if view.boxes_in_cluster < 2:
        return
    on_box: dict[str, list[str]] = {}
    for server in view.name_servers:
        for box in server.boxes:
            on_box.setdefault(box, []).append(server.name)
    for box, names in sorted(on_box.items()):
        for name in names[1:]:
            yield Finding(
                "lserver",
                name,
                f"the box {box} has the name servers {' and '.join(names)}, and there is another "
                "box",
                f"hsctl lserver move {name} --to BOX",
                value=box,
            )


def _only_one(view: ModelView) -> Iterator[Finding]:
    if len(view.name_servers) == 1:
        (only,) = view.name_servers
        yield Finding(
            "lserver",
            only.name,
            f"{only.name} is the only name server: each zone is on one server alone",
            f"hsctl lserver add NAME --group dns --type {only.type} --pserver BOX",
        )


RULES: tuple[Rule, ...] = (
    Rule(
        "lserver.dns.one-per-box",
        ("R25", "R260", "R261", "R359", "A3"),
        "refuse",
        "Name servers on one box fail together; only a one-server installation may have that.",
        _spread,
        field="pserver",
        allowed="a box without a name server",
    ),
    Rule(
        "dns.servers.two",
        ("R24", "R28"),
        "warn",
        "A zone is on two name servers, so that it is answered while one is away.",
        _only_one,
    ),
)
