"""What a lane tells the controller: how it stands, what it has, what became of its objects."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from node_agent.concurrency import Blocking
from node_agent.effects.failures import DiskFullError
from node_agent.journal import Journal
from node_agent.logs import event
from node_agent.records import LaneRecord
from node_agent.round import Round
from node_agent.telling import LONGEST_WORDS, outcome, outcome_pages, verdicts_of
from node_agent.wire.messages import (
    FromAgent,
    Inventory,
    LaneCondition,
    LaneReport,
    LaneState,
    Observed,
    Outcomes,
)
from templates.objects import ObjectId

INVENTORY_PAGE = 5000


class LaneReports:
    """The reports of one lane. ``condition`` is what was last seen, ``message`` its words.

    ``send`` takes a message to the controller, or drops it: on the next session all is told again.
    """

    def __init__(
        self,
        record: LaneRecord,
        *,
        journal: Journal,
        blocking: Blocking,
        send: Callable[[FromAgent], None],
    ) -> None:
        self.condition: LaneCondition = record.condition
        self.message = record.message
        self._lane = record.id
        self._name = record.name
        self._journal = journal
        self._blocking = blocking
        self._send = send
        self._unsettled: Outcomes | None = None
        """What was told of a round that is not written down yet."""

    # --- for a new session ---

    def report(self) -> LaneReport:
        """Describe the lane for a `Hello`, in words of protocol 1. Blocks on the journal."""
        record = self._journal.lanes.get(self._lane)
        return LaneReport(
            lane=self._lane,
            history=record.history,
            stored_revision=record.stored_revision,
            settled_revision=self._journal.settled_revision(self._lane),
            object_hash=record.object_hash,
            renderer=record.renderer,
            condition="behind" if self.condition == "blocked" else self.condition,
        )

    def outcomes(self) -> tuple[Outcomes, ...]:
        """Give the settled revision and all exceptions, for a new session. Blocks.

        Then what was told, perhaps to nobody, and the journal does not know yet.
        """
        unsettled = self._unsettled
        settled = self._journal.settled_revision(self._lane)
        pages = outcome_pages(self._lane, settled, self._journal.exceptions(self._lane))
        return pages if unsettled is None else (*pages, unsettled)

    def state(self) -> LaneState:
        """Give the condition, for a new session."""
        return LaneState(
            lane=self._lane, condition=self.condition, message=self.message[:LONGEST_WORDS]
        )

    # --- as it comes ---

    async def inventory(self) -> None:
        """Tell what is here, page by page."""
        after = ObjectId("", "")
        while True:
            page = await self._blocking(
                lambda after=after: self._journal.live(self._lane, after, INVENTORY_PAGE)  # type: ignore[misc]
            )
            last = len(page) < INVENTORY_PAGE
            self._send(Inventory(lane=self._lane, items=page, last=last))
            if last:
                return
            after = ObjectId(page[-1][0], page[-1][1])

    async def tell(self, work: Round, *, stored: bool) -> None:
        """Say what the round came to; also where all of a batch was known or superseded.

        A new session is told it too, until `settled`.
        """
        settled = work.settles
        if work.unavailable is not None:
            settled = await self._blocking(
                lambda: self._journal.settled_revision(self._lane, work.settled)
            )
        verdicts = verdicts_of(work)
        if not verdicts and not stored:
            return
        outcomes = tuple(map(outcome, verdicts))
        self._unsettled = Outcomes(lane=self._lane, settled_revision=settled, outcomes=outcomes)
        self._send(self._unsettled)
        for verdict in verdicts:
            event(
                verdict.outcome,
                change=verdict.object.change,
                lane=self._name,
                object=f"{verdict.object.id.kind}/{verdict.object.id.key}",
                revision=verdict.object.revision,
                why=verdict.message,
            )

    def settled(self) -> None:
        """Take it that the journal knows what was told."""
        self._unsettled = None

    async def tell_settled(self) -> None:
        """After a recovery, by which the journal may know more than was told: say how far it is."""
        revision = await self._blocking(lambda: self._journal.settled_revision(self._lane))
        self.settled()
        self._send(Outcomes(lane=self._lane, settled_revision=revision, outcomes=()))

    def say(self, condition: LaneCondition, message: str) -> None:
        """Say how the lane stands, unless that was said last."""
        if (condition, message) == (self.condition, self.message):
            return
        self.condition, self.message = condition, message
        self._send(self.state())
        Deferred.fromCoroutine(self._remember(condition, message))

    async def _remember(self, condition: LaneCondition, message: str) -> None:
        try:
            await self._blocking(
                lambda: self._journal.lanes.set_condition(self._lane, condition, message)
            )
        except DiskFullError:
            return  # it is seen again, and said again

    def observed(self, zone: str, serial: int) -> None:
        """Tell that a zone is answered with this serial."""
        event("observed", lane=self._name, zone=zone, serial=serial)
        self._send(Observed(lane=self._lane, zone=zone, serial=serial))
