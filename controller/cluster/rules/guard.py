"""The rules inside a command's transaction: what a change breaks anew is refused or warned of.

::

    guard = await watch(work.tx, boxes=[box.id])
    ...                                     # write the rows
    warnings = await guard.check(work.tx)   # raises CommandError with the rule's id
"""

from collections.abc import Collection, Iterable, Sequence

import attrs

from controller.cluster.rules.book import RULES
from controller.cluster.rules.loading import Part, load_view, lock_boxes
from controller.cluster.rules.rules import Rule, new_breaches, refusal
from controller.cluster.rules.view import ModelView
from controller.storage.database import Transaction
from controller.storage.errors import OvertakenError


@attrs.frozen
class Guard:
    """The touched part of the model as it was before the change."""

    part: Part
    before: ModelView
    rules: Sequence[Rule]

    async def check(
        self,
        tx: Transaction,
        *,
        boxes: Iterable[str] = (),
        servers: Iterable[str] = (),
        warn_only: Collection[str] = (),
    ) -> list[str]:
        """Judge the rows as they are now; ``boxes`` and ``servers`` were made by the change.

        Gives the warnings, among them breaches of the rules ``warn_only`` (ids): this change does
        right, and something else has to follow. Raises `CommandError` for the first other rule that
        refuses.
        """
        part = Part.of((*self.part.boxes, *boxes), (*self.part.servers, *servers))
        found = new_breaches(self.before, await load_view(tx, part), self.rules)
        for breach in found:
            if breach.rule.severity == "refuse" and breach.rule.id not in warn_only:
                raise refusal(breach)
        return [breach.finding.words for breach in found]


async def watch(
    tx: Transaction,
    *,
    boxes: Iterable[str] = (),
    servers: Iterable[str] = (),
    rules: Sequence[Rule] = RULES,
) -> Guard:
    """Lock the touched boxes (those of ``servers`` too) and remember what is on them.

    Two changes that touch one box wait for each other here, so each sees what the other wrote.
    Raises `OvertakenError` where a server moved meanwhile to a box that is not locked.
    """
    part = Part.of(boxes, servers)
    locked = await lock_boxes(tx, part)
    view = await load_view(tx, part)
    if any(box.name not in locked for box in view.boxes):
        raise OvertakenError("a server moved while its box was waited for")
    return Guard(part, view, rules)
