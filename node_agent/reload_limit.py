"""How often a daemon reads its configuration again for its customers' sake.

What needs a reload is made live together. The first few such rounds come at once; after that there
is one in each rest, however many changes come meanwhile. Changes that need no reload, and those of
the logical server itself, never wait for one.
"""

import random
from collections.abc import Callable, Mapping

from node_agent.planning import Step
from templates.objects import ObjectId
from templates.service_type import SERVER_ID

AT_ONCE = 3
"""Reloads that may follow one right after the other."""
SHORTEST = 0.75
"""The least part of its rest that a reload is given."""


class ReloadLimit:
    """The limit of one lane.

    ``now`` tells the seconds of a clock that is never set back, ``rest`` how many of them lie
    between reloads (0: they come as they may). ``jitter`` makes each rest a little shorter, so
    that daemons which began together do not reload together.
    """

    def __init__(
        self,
        now: Callable[[], float],
        rest: Callable[[], float],
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._now = now
        self._rest = rest
        self._jitter = jitter
        self._rested_at = now()
        """When all reloads so far have had their rest."""
        self._put_off: dict[ObjectId, int] = {}

    @property
    def seconds(self) -> float:
        """How long until the next reload; 0 where it may be now."""
        rest = self._rest()
        return max(0.0, self._rested_at - self._now() - (AT_ONCE - 1) * rest) if rest else 0.0

    def spend(self) -> None:
        """Note a reload, whether it was admitted or had to be."""
        rest = self._rest() * self._jitter(SHORTEST, 1.0)
        self._rested_at = max(self._rested_at, self._now()) + rest

    @property
    def put_off(self) -> Mapping[ObjectId, int]:
        """The objects that wait for the next reload, with their revisions; none once it may be."""
        if self.seconds == 0:
            self._put_off.clear()
        return self._put_off

    def admit(self, steps: list[Step]) -> list[Step]:
        """Give the steps that may be worked now; the objects of the others are put off."""
        if self.seconds == 0:
            return steps
        late = [step for step in steps if _reloads_for_customers(step)]
        self._put_off |= {each.id: each.after.revision for step in late for each in step.changes}
        return [step for step in steps if step not in late]


def _reloads_for_customers(step: Step) -> bool:
    own = any(change.id == SERVER_ID for change in step.changes)
    return step.reloads and not own
