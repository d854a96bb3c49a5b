"""All rules over the whole model: the command ``health.list``."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import attrs

from controller.cluster.model_loading import Part, load_view
from controller.cluster.rule_book import BY_ID, RULES
from controller.cluster.rules import Breach, breaches
from controller.commands import Command, Work
from controller.pages import after_text, limit, page
from controller.refusal import CommandError
from controller.storage.database import Transaction

KEPT_SECONDS = 60.0
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


async def words_about(tx: Transaction, servers: Iterable[str]) -> dict[str, list[str]]:
    """Say which rules logical servers break: words by name, for servers given by their ids."""
    found: dict[str, list[str]] = {}
    for breach in breaches(await load_view(tx, Part.of(servers=servers)), RULES):
        if breach.finding.kind == "lserver":
            found.setdefault(breach.finding.name, []).append(breach.finding.words)
    return found


@attrs.frozen
class Findings:
    """What was found, in the order of the list: each with its place there."""

    in_order: tuple[tuple[str, Breach], ...] = ()
    counts: Mapping[str, int] = attrs.field(factory=dict)

    @classmethod
    def of(cls, found: Iterable[Breach]) -> "Findings":
        """Put findings in order, and count them by severity."""
        placed = sorted(((_key(_shown(breach)), breach) for breach in found), key=_place)
        counts = {"refuse": 0, "warn": 0}
        for _, breach in placed:
            counts[breach.rule.severity] += 1
        return cls(tuple(placed), counts)


def _place(placed: tuple[str, Breach]) -> str:
    return placed[0]


_STAMP = """
SELECT max(change_id), count(*) FROM change_row
WHERE relation IN ('box', 'logical_server', 'lane', 'ip_address')
"""


@attrs.define
class Health:
    """The command on findings. ``clock`` gives seconds since the epoch.

    What was found is kept while no change touches the provider's side of the model, and for
    `KEPT_SECONDS` at most: home and each page of the list ask anew.
    """

    clock: Callable[[], float]
    _found: Findings = Findings()
    _stamp: tuple[Any, ...] = ()
    _until: float = 0.0

    async def list(self, work: Work, request: ListFindings) -> dict[str, Any]:
        """List what breaks a rule, what a command would refuse first; ``counts`` is of all."""
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
        found = await self._judge(work.tx)
        wanted = request.filter.lower()
        behind = (
            _shown(breach)
            for _, breach in found.in_order[bisect_right(found.in_order, after, key=_place) :]
            if request.rule in ("", breach.rule.id)
            and request.severity in ("", breach.rule.severity)
            and wanted in breach.finding.name
        )
        items = list(islice(behind, size + 1))
        return {**page(items, size, _key), "counts": dict(found.counts), "rules": len(RULES)}

    async def _judge(self, tx: Transaction) -> Findings:
        """Judge the whole model, or give what was found since the last change to it."""
        # Read before the model: what is committed in between is judged, and asked about again.
        stamp = await tx.row(_STAMP)
        if stamp != self._stamp or self.clock() >= self._until:
            self._found = Findings.of(breaches(await load_view(tx), RULES))
            self._stamp, self._until = stamp, self.clock() + KEPT_SECONDS
        return self._found

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "health.list",
                "GET",
                "/health",
                ListFindings,
                "provider.read",
                "List what breaks a rule of the cluster, with the command that repairs it",
                self.list,
                "Every rule is judged over the whole model. ``counts`` tells all findings by "
                "severity.",
            ),
        )
