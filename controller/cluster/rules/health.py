"""All rules over the whole model: the command ``health.list``."""

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, cast

import attrs
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from controller.cluster.rules.book import BY_ID, RULES
from controller.cluster.rules.loading import Part, load_view
from controller.cluster.rules.rules import Breach, breaches
from controller.cluster.rules.view import ModelView
from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_text, limit, page
from controller.refusal import CommandError
from controller.storage.database import Transaction

KEPT_SECONDS = 60.0
KEPT_AS_THEY_ARE = 600.0
"""Seconds after which even who takes what was found last has the model judged anew."""
AT_ONCE = 500
"""A model of as many logical servers is judged at once, whoever asks."""
SLICE = 200
"""Findings that are looked at before anything else has its turn."""
_SEPARATOR = "\x1f"


@attrs.frozen
class ListFindings:
    """A page of findings: of objects whose name contains ``filter``, of one rule or severity.

    ``kept`` takes what was found last in a large model, though the model may have changed since.
    """

    filter: str = ""
    rule: str = ""
    severity: str = ""
    limit: int = 100
    cursor: str = ""
    kept: bool = False


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
    view = await load_view(tx, Part.of(servers=servers), servers_alone=True)
    for breach in breaches(view, RULES):
        if breach.finding.kind == "lserver":
            found.setdefault(breach.finding.name, []).append(breach.finding.words)
    return found


@attrs.frozen
class Findings:
    """What was found, in the order of the list: each with its place there."""

    in_order: tuple[tuple[str, Breach], ...] = ()
    counts: Mapping[str, int] = attrs.field(factory=dict)
    servers: int = 0
    """Logical servers of the model that was judged."""


Pause = Callable[[], Awaitable[None]]
"""Gives everything else in the process its turn."""


async def _breathe() -> None:
    from twisted.internet import reactor  # noqa: PLC0415 installs a reactor

    await deferLater(cast("IReactorTime", reactor), 0)


async def judged(view: ModelView, pause: Pause) -> Findings:
    """Judge a model in slices, each of which is short beside what else the process has to do."""
    placed: list[tuple[str, Breach]] = []
    counts = {"refuse": 0, "warn": 0}
    for rule in RULES:
        await pause()
        for number, finding in enumerate(rule.check(view), start=1):
            breach = Breach(rule, finding)
            placed.append((_key(_shown(breach)), breach))
            counts[rule.severity] += 1
            if number % SLICE == 0:
                await pause()
    await pause()
    placed.sort(key=_place)
    return Findings(tuple(placed), counts, len(view.servers))


def _place(placed: tuple[str, Breach]) -> str:
    return placed[0]


_STAMP = """
SELECT max(change_id), count(*) FROM change_row
WHERE relation IN ('box', 'logical_server', 'lane', 'ip_address', 'shared_certificate')
"""


@attrs.define
class Health:
    """The command on findings. ``clock`` gives seconds since the epoch.

    What was found is kept while no change touches the provider's side of the model, and for
    `KEPT_SECONDS` at most: home and each page of the list ask anew. Of a large model, who asks for
    what is kept is not made to wait until it was judged anew.
    """

    clock: Callable[[], float]
    pause: Pause = _breathe
    _found: Findings | None = None
    _stamp: tuple[Any, ...] = ()
    _at: float = 0.0
    _turn: DeferredLock = attrs.field(factory=DeferredLock, init=False)

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
        # Read before the model: what is committed in between is judged, and asked about again.
        stamp = await work.tx.row(_STAMP)
        found = await self._judge(work.tx, stamp, kept=request.kept)
        wanted = request.filter.lower()
        behind = (
            _shown(breach)
            for _, breach in found.in_order[bisect_right(found.in_order, after, key=_place) :]
            if request.rule in ("", breach.rule.id)
            and request.severity in ("", breach.rule.severity)
            and wanted in breach.finding.name
        )
        items = list(islice(behind, size + 1))
        return {
            **page(items, size, _key),
            "counts": dict(found.counts),
            "rules": len(RULES),
            "judged_at": time_text(datetime.fromtimestamp(self._at, UTC)),
            "current": stamp == self._stamp,
        }

    async def _judge(self, tx: Transaction, stamp: tuple[Any, ...], *, kept: bool) -> Findings:
        """Judge the whole model, or give what was found since the last change to it."""
        if (found := self._known(stamp, kept=kept)) is not None:
            return found
        await self._turn.acquire()
        try:
            if (found := self._known(stamp, kept=kept)) is None:
                at = self.clock()
                found = await judged(await load_view(tx, now=at, pause=self.pause), self.pause)
                self._found, self._stamp, self._at = found, stamp, at
            return found
        finally:
            self._turn.release()

    def _known(self, stamp: tuple[Any, ...], *, kept: bool) -> Findings | None:
        """Give what was found last, where that will do."""
        if self._found is None:
            return None
        age = self.clock() - self._at
        if stamp == self._stamp and age < KEPT_SECONDS:
            return self._found
        large = self._found.servers > AT_ONCE
        return self._found if kept and large and age < KEPT_AS_THEY_ARE else None

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
                "severity. Of a large model, ``kept`` takes what was found last: ``judged_at`` "
                "says when, and ``current`` whether nothing has changed since.",
            ),
        )
