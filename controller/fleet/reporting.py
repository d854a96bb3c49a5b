"""What boxes tell of their systems, on its way into ``box.facts``: many reports a transaction.

Every box reports as its session begins and once a minute after: ten thousand of them would ask for
a hundred and seventy commits a second.
"""

from collections.abc import Sequence
from functools import partial

import attrs
from psycopg2.extras import Json
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from controller.fleet.events import publish
from controller.fleet.words import FLEET
from controller.storage.database import Database, Transaction
from controller.storage.errors import POISON

log = Logger()

GATHER_SECONDS = 0.05
"""The first report waits so long for others."""
REPORTS_AT_ONCE = 100
"""Reports of one transaction, at most."""


@attrs.frozen
class Report:
    """A box's facts (JSON-like data), with the session that it told them on."""

    box: str
    box_name: str
    epoch: int
    facts: object


class ReportStore:
    """Writes the newest report of each box, one transaction at a time."""

    def __init__(self, database: Database, reactor: IReactorTime) -> None:
        self._database = database
        self._reactor = reactor
        self._waiting: dict[str, Report] = {}
        self._running = False
        self._gathering: IDelayedCall | None = None

    def take(self, report: Report) -> None:
        """Take a report; it is written soon, unless a newer one of the box comes before."""
        self._waiting[report.box] = report
        if not self._running:
            self._running = True
            self._gathering = self._reactor.callLater(GATHER_SECONDS, self._begin)

    def close(self) -> None:
        """Let go of what was not written: it is told again on the next session."""
        self._waiting.clear()
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _begin(self) -> None:
        self._gathering = None
        ensureDeferred(self._write_all())

    async def _write_all(self) -> None:
        while self._waiting:
            boxes = list(self._waiting)[:REPORTS_AT_ONCE]
            await self._write([self._waiting.pop(box) for box in boxes])
        self._running = False

    async def _write(self, reports: Sequence[Report]) -> None:
        try:
            await self._database.transaction(
                FLEET, partial(write_reports, reports=reports), name="fleet.report"
            )
        except POISON as error:
            if len(reports) == 1:
                log.warn("report of {box} was not written: {e}", box=reports[0].box_name, e=error)
                return
            for report in reports:
                await self._write([report])
        except Exception as error:
            # The next reports come within a minute; a database that is away must not end it.
            log.warn("{count} reports were not written: {e}", count=len(reports), e=error)


async def write_reports(tx: Transaction, reports: Sequence[Report]) -> None:
    """Keep the newest facts of boxes; those of a session that is over are dropped."""
    await tx.run(
        """UPDATE box SET facts = q.facts, facts_at = now()
           FROM unnest(%s::uuid[], %s::bigint[], %s::jsonb[]) AS q(id, epoch, facts)
           WHERE box.id IN (SELECT id FROM box WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE)
             AND box.id = q.id AND box.session_epoch = q.epoch""",
        (
            boxes := [report.box for report in reports],
            [report.epoch for report in reports],
            [Json(report.facts) for report in reports],
            boxes,
        ),
    )
    await publish(tx, [{"box": report.box_name} for report in reports])
