"""The rules of the cluster as data: what a rule is, and which findings a change would make.

A rule is one record. Its ``check`` is pure: it reads a `ModelView` and gives a finding for each
object that breaks the rule. The same rules judge a change, on the part of the model that it touches
(`guard`), and the whole model (`health`). How to add one: docs/developers/rules.md.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs

from controller.cluster.rules.view import ModelView
from controller.refusal import CommandError

Severity = Literal["refuse", "warn"]
ObjectKind = Literal["pserver", "lserver", "ip", "group", "cluster", "certificate"]


@attrs.frozen
class Finding:
    """One object that breaks a rule.

    ``name`` is that of the object which would have to change, so that another breach is another
    finding: of three servers where one is allowed, the second and the third.
    """

    kind: ObjectKind
    name: str
    words: str
    """What is wrong, in one sentence that names the objects."""
    repair: str
    """The hsctl command line that repairs it. What only a person knows is in capitals."""
    allowed: str = ""
    """What would be accepted instead, for the refusal; the rule's own where it is empty."""
    value: str = ""
    """What the request most likely gave, for the refusal; ``name`` where it is empty."""


@attrs.frozen
class Rule:
    """A rule of the cluster.

    ``refuse``: no command may make a new breach. ``warn``: what a command answers in ``warnings``;
    also what can only be judged once the set-up is complete.
    """

    id: str
    sources: tuple[str, ...]
    """Requirement rows and decisions: ``R339``, ``A3``."""
    severity: Severity
    reason: str
    """Why it matters, in one sentence."""
    check: Callable[[ModelView], Iterable[Finding]]
    field: str = ""
    """The field of a request that is most often at fault, named in the refusal."""
    allowed: str = ""
    """What would be accepted, for the refusal."""


@attrs.frozen
class Breach:
    """A finding with its rule."""

    rule: Rule
    finding: Finding

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same breach before and after a change."""
        return self.rule.id, self.finding.kind, self.finding.name


def breaches(view: ModelView, rules: Sequence[Rule]) -> list[Breach]:
    """Give every breach of the rules in a view, in the order of the rules."""
    return [Breach(rule, finding) for rule in rules for finding in rule.check(view)]


def new_breaches(before: ModelView, after: ModelView, rules: Sequence[Rule]) -> list[Breach]:
    """Give the breaches that a change makes: what was broken before does not stand in its way."""
    known = {breach.key for breach in breaches(before, rules)}
    return [breach for breach in breaches(after, rules) if breach.key not in known]


def refusal(breach: Breach) -> CommandError:
    """Give the refusal that names the broken rule and says why it is one."""
    return CommandError(
        breach.rule.id,
        f"{breach.finding.words}. {breach.rule.reason.removesuffix('.')}",
        field=breach.rule.field,
        value=breach.finding.value or breach.finding.name,
        allowed=breach.finding.allowed or breach.rule.allowed,
        status=409,
    )
