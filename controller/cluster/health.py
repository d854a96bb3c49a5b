"""All rules over the whole model: the command ``health.list``."""

from typing import Any

import attrs

from controller.cluster.model_loading import load_view
from controller.cluster.rule_book import BY_ID, RULES
from controller.cluster.rules import Breach, breaches
from controller.commands import Command, Work
from controller.pages import after_text, limit, page
from controller.refusal import CommandError

_SEPARATOR = "\x1f"


@attrs.frozen
class ListFindings:
    """A page of findings: of objects whose name contains ``filter``, of one rule or severity."""

    filter: str = ""
    rule: str = ""
    severity: str = ""
    limit: int = 100
    cursor: str = ""


def _key(item: dict[str, Any]) -> str:
    return _SEPARATOR.join(item[name] for name in ("severity", "rule", "kind", "name", "words"))


def _shown(breach: Breach) -> dict[str, Any]:
    rule, finding = breach.rule, breach.finding
    return {
        "severity": rule.severity,
        "rule": rule.id,
        "sources": list(rule.sources),
        "kind": finding.kind,
        "name": finding.name,
        "words": finding.words,
        "reason": rule.reason,
        "repair": finding.repair,
    }


async def list_findings(work: Work, request: ListFindings) -> dict[str, Any]:
    """List what breaks a rule, what a command would refuse first; ``counts`` is over all of it."""
    size = limit(request.limit)
    after = after_text(request.cursor)
    if request.rule and request.rule not in BY_ID:
        raise CommandError(
            "health.rule.unknown",
            "no rule has this id",
            field="rule",
            value=request.rule,
            allowed="the rules of docs/reference/rules.md",
        )
    if request.severity not in ("", "refuse", "warn"):
        raise CommandError(
            "health.severity.invalid",
            "not a severity of a rule",
            field="severity",
            value=request.severity,
            allowed="refuse, warn",
        )
    found = breaches(await load_view(work.tx), RULES)
    counts = {"refuse": 0, "warn": 0}
    for breach in found:
        counts[breach.rule.severity] += 1
    wanted = request.filter.lower()
    items = sorted(
        (
            _shown(breach)
            for breach in found
            if request.rule in ("", breach.rule.id)
            and request.severity in ("", breach.rule.severity)
            and wanted in breach.finding.name
        ),
        key=_key,
    )
    rest = [item for item in items if _key(item) > after]
    return {**page(rest, size, _key), "counts": counts, "rules": len(RULES)}


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "health.list",
        "GET",
        "/health",
        ListFindings,
        "provider.read",
        "List what breaks a rule of the cluster, with the command that repairs it",
        list_findings,
        "Every rule is judged over the whole model. ``counts`` tells all findings by severity.",
    ),
)
