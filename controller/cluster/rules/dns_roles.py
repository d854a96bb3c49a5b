"""Rules of the roles of name servers, and of whom they are for. Pure."""

from collections.abc import Iterator

import attrs

from controller.cluster.placement.dns_roles import AUDIENCES, NO_ROLE, WORDS, flaw, of_audience
from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import ModelView


@attrs.frozen
class _Holder:
    name: str
    role: str
    used_by: str


def _holders(view: ModelView) -> list[_Holder]:
    return [
        _Holder(
            server.name,
            str(server.settings.get("role", NO_ROLE)),
            str(server.settings.get("used_by", "all")),
        )
        for server in view.name_servers
    ]


def _nobody_for(view: ModelView) -> Iterator[Finding]:
    holders = _holders(view)
    for audience in AUDIENCES:
        if holders and not of_audience(holders, audience):
            yield Finding(
                "group",
                f"dns for {audience}",
                f"every name server is for others than {WORDS[audience]}: their signups fail",
                f"hsctl lserver set {holders[0].name} used_by=all",
            )


def _roles_without_effect(view: ModelView) -> Iterator[Finding]:
    holders = _holders(view)
    for audience in AUDIENCES:
        fitting = of_audience(holders, audience)
        wrong = flaw(fitting)
        if wrong is not None and any(server.role != NO_ROLE for server in fitting):
            yield Finding(
                "group",
                f"dns for {audience}",
                f"{wrong}: for {WORDS[audience]}, master and slaves of each new zone are drawn at "
                "random",
                f"hsctl dns roles --master {fitting[0].name}"
                + (f" --slave1 {fitting[1].name}" if len(fitting) > 1 else ""),
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "dns.audience.none",
        ("R371", "A7"),
        "warn",
        "Where all name servers are used by the same one group, signups of the other group fail.",
        _nobody_for,
        field="settings.used_by",
    ),
    Rule(
        "dns.roles.without-effect",
        ("R364", "A6"),
        "warn",
        "Roles count only where one server is master and no role is held twice.",
        _roles_without_effect,
        field="settings.role",
    ),
)
