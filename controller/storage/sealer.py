"""The sealer: gives committed changes their gapless number and their place in the hash chain.

It works after the commit, one sealer at a time in the whole cluster (an advisory lock), so that the
audit never makes two commands wait for each other.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from controller.crash_points import CrashSite, pass_by
from controller.principal import system
from controller.storage.anchoring import Anchoring
from controller.storage.chain import CONTENT, Content, head_of
from controller.storage.database import Database, StorageError, Transaction

_log = Logger()

BATCH = 500
INTERVAL_SECONDS = 5.0
SETTLE_SECONDS = 0.05
"""Between a notification and the sealing: what a person waits for goes first, and a burst of
changes is sealed at once."""
CHANNEL = "hs_sealed"
"""Notified with the newest ``seq`` after each batch."""
_LOCK = 0x68735F73  # 'hs_s'
_PRINCIPAL = system("sealer")


async def seal_batch(tx: Transaction) -> int:
    """Seal up to `BATCH` changes; give how many. 0 also where another sealer is at work."""
    (mine,) = await tx.row("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
    if not mine:
        return 0
    head = await head_of(tx)
    seq, former = head.seq, head.hash
    rows = await tx.rows(CONTENT + "WHERE c.seq IS NULL ORDER BY c.id LIMIT %s", (BATCH,))
    if not rows:
        return 0
    sealed: list[tuple[int, int, bytes]] = []
    for content in map(Content.of_row, rows):
        seq += 1
        former = content.linked(seq, former)
        sealed.append((content.id, seq, former))
    ids, numbers, hashes = (list(column) for column in zip(*sealed, strict=True))
    await tx.run(
        "UPDATE change c SET seq = s.seq, hash = s.hash"
        " FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS s(id, seq, hash)"
        " WHERE c.id = s.id",
        (ids, numbers, hashes),
    )
    await tx.rows("SELECT pg_notify(%s, %s)", (CHANNEL, str(seq)))
    return len(sealed)


class Sealer:
    """Seals soon after every notification of a change, and at an interval for lost ones.

    ``anchoring`` notes the chain's head outside of the database, between the batches.
    """

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        anchoring: Anchoring | None = None,
        at: CrashSite = pass_by,
    ) -> None:
        self._database = database
        self._clock = clock
        self._anchoring = anchoring
        self._at = at
        self._next: IDelayedCall | None = None
        self._sealing: Deferred[None] | None = None
        self._again = False
        self._stopped = False

    async def start(self) -> None:
        """Listen, and seal what was left unsealed."""
        await self._database.listen("hs_change", lambda _: self._wake())
        self._wake()

    async def stop(self) -> None:
        """Stop; returns when the batch under way has ended."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._sealing is not None:
            await self._sealing

    def _wake(self) -> None:
        if self._sealing is not None:
            self._again = True
        else:
            self._schedule(SETTLE_SECONDS)

    def _schedule(self, seconds: float) -> None:
        if self._stopped:
            return
        if self._next is not None and self._next.active():
            if self._next.getTime() <= self._clock.seconds() + seconds:
                return
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._seal)

    def _seal(self) -> None:
        self._again = False
        self._sealing = Deferred()
        Deferred.fromCoroutine(self._seal_batch()).addCallback(self._sealed)

    def _sealed(self, more: bool) -> None:
        ended, self._sealing = self._sealing, None
        self._schedule(0 if more or self._again else INTERVAL_SECONDS)
        if ended is not None:
            ended.callback(None)

    async def _seal_batch(self) -> bool:
        """Seal one batch; tell whether there may be more. Failures are for the next round."""
        try:
            sealed = await self._database.transaction(_PRINCIPAL, seal_batch, name="sealer.seal")
            if sealed:
                self._at("sealed")
            if self._anchoring is not None and self._anchoring.is_due(sealed):
                await self._anchoring.note()
        except StorageError as error:
            _log.warn("Not sealed yet: {error}", error=str(error))
        except Exception:  # a border: the next round tries again, whatever this one met
            _log.failure("Sealing failed")
        else:
            return sealed == BATCH
        return False
