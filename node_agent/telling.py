"""What is told of a lane's objects, within the bounds of a frame. Pure."""

from collections.abc import Sequence

import msgspec

from node_agent.records import Verdict
from node_agent.round import Round
from node_agent.wire.messages import Outcome, Outcomes

OUTCOMES_PAGE = 500
LONGEST_WORDS = 4000
"""Characters of a daemon's words that travel."""


def outcome_pages(lane: str, settled: int, exceptions: Sequence[Outcome]) -> tuple[Outcomes, ...]:
    """Tell all exceptions (by ascending revision) at the begin of a session, in pages.

    Each page is true by itself: it counts as settled only what lies before the exceptions of the
    next.
    """
    starts = range(0, len(exceptions), OUTCOMES_PAGE)
    pages = [exceptions[at : at + OUTCOMES_PAGE] for at in starts]
    limits = [min(settled, page[0].revision - 1) for page in pages[1:]]
    return tuple(
        Outcomes(lane=lane, settled_revision=limit, outcomes=tuple(map(_short, page)))
        for page, limit in zip(pages or [()], [*limits, settled], strict=True)
    )


def verdicts_of(work: Round) -> tuple[Verdict, ...]:
    """Give what a round came to, object by object: what is applied first."""
    applied = (change.after for one in work.done for change in one.step.changes)
    return (*(Verdict(each, "applied", "") for each in applied), *work.verdicts)


def outcome(verdict: Verdict) -> Outcome:
    """Put a verdict into the words of the wire."""
    of = verdict.object
    return _short(Outcome(of.id.kind, of.id.key, of.revision, verdict.outcome, verdict.message))


def _short(outcome: Outcome) -> Outcome:
    return msgspec.structs.replace(outcome, message=outcome.message[:LONGEST_WORDS])
