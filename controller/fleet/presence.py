"""Who is there, as the database shows it: few writes, however many heartbeats there are."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from controller.fleet.events import publish
from controller.fleet.liveness import (
    GRACE_INTERVALS,
    SHORTEST_GRACE,
    SILENT_INTERVALS,
    is_silent,
    must_speak,
)
from controller.fleet.session_table import SessionTable
from controller.fleet.sessions import Session
from controller.fleet.words import FLEET
from controller.storage.database import Database, Transaction
from node_agent.wire.messages import Alive

log = Logger()


class Presence:
    """Heartbeats, silence, and the columns ``connected`` and ``last_seen_at``."""

    def __init__(
        self,
        database: Database,
        reactor: IReactorTime,
        sessions: SessionTable,
        between: Callable[[], float],
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._sessions = sessions
        self._between = between
        self._started = reactor.seconds()
        self._gone: dict[str, int] = {}
        self._written = reactor.seconds()

    @property
    def in_grace(self) -> bool:
        """Whether the controller started so lately that absence says nothing yet."""
        grace = max(SHORTEST_GRACE, self._between() * GRACE_INTERVALS)
        return self._reactor.seconds() - self._started < grace

    def beat(self) -> None:
        """Speak where nothing was said for a while; end sessions that have fallen silent."""
        now = self._reactor.seconds()
        for session in self._sessions:
            if session.paused:
                session.heard = now  # it is we who do not listen
            if is_silent(now, session.heard, session.interval):
                session.lose("silent for too long")
            elif must_speak(now, session.said, session.interval):
                session.send(Alive())

    def ended(self, session: Session) -> None:
        """Note an ended session; it is written with the next `save`."""
        self._gone[session.box] = session.epoch

    async def save(self) -> None:
        """Write who was heard since the last time, and who left."""
        heard = [s.box for s in self._sessions if s.heard >= self._written]
        self._written = self._reactor.seconds()
        gone, self._gone = self._gone, {}
        absent_after = None if self.in_grace else self._between() * SILENT_INTERVALS
        try:
            await self._database.transaction(
                FLEET,
                partial(
                    write_presence,
                    heard=heard,
                    live=[s.box for s in self._sessions],
                    gone=gone,
                    absent_after=absent_after,
                ),
                name="fleet.presence",
            )
        except Exception as error:
            # Presence is told again with the next beat; the loop must live on.
            self._gone = {**gone, **self._gone}
            log.error("presence was not written: {error}", error=error)


async def known_boxes(tx: Transaction) -> int:
    """Count the boxes that ever had a session."""
    (count,) = await tx.row("SELECT count(*) FROM box WHERE first_seen_at IS NOT NULL")
    return int(count)


async def write_presence(
    tx: Transaction,
    heard: Sequence[str],
    live: Iterable[str],
    gone: dict[str, int],
    absent_after: float | None,
) -> None:
    """Write presence. Boxes that an earlier controller left as connected are so no more after
    ``absent_after`` seconds without a word; None leaves them.
    """
    if heard:
        await tx.run(
            """UPDATE box SET last_seen_at = now() WHERE id IN
               (SELECT id FROM box WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE)""",
            (list(heard),),
        )
    left = []
    if gone:
        left += await tx.rows(
            """UPDATE box SET connected = false, last_seen_at = now()
               FROM unnest(%s::uuid[], %s::bigint[]) AS q(id, epoch)
               WHERE box.id = q.id AND box.session_epoch = q.epoch RETURNING name""",
            (list(gone), list(gone.values())),
        )
    if absent_after is not None:
        left += await tx.rows(
            """UPDATE box SET connected = false
               WHERE connected AND id <> ALL(%s::uuid[])
                 AND last_seen_at < now() - make_interval(secs => %s) RETURNING name""",
            (list(live), absent_after),
        )
    await publish(tx, [{"box": name} for (name,) in left])
