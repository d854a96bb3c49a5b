"""The sealer: gives committed changes their gapless number and their place in the hash chain.

It works after the commit, one sealer at a time in the whole cluster (an advisory lock), so that the
audit never makes two commands wait for each other.
"""

from hashlib import sha256
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from controller.principal import system
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
_FORMAT = 1
_PRINCIPAL = system("sealer")
_encoder = msgspec.msgpack.Encoder()

# What a change says, in columns named one by one: a column added later must not break old hashes.
_CONTENT = """
SELECT c.id, c.seq, c.hash, c.actor, c.on_behalf_of, c.origin, c.command, c.request::text, c.reason,
       (extract(epoch FROM c.at) * 1000000)::bigint,
       (SELECT coalesce(json_agg(json_build_array(o.logical_server_id, o.kind, o.key, o.revision,
                                                  encode(sha256(o.before), 'hex'),
                                                  encode(sha256(o.after), 'hex'))
                                 ORDER BY o.logical_server_id, o.kind, o.key), '[]')::text
        FROM change_object o WHERE o.change_id = c.id),
       (SELECT coalesce(json_agg(json_build_array(r.position, r.relation, r.row_key,
                                                  r.before, r.after)
                                 ORDER BY r.position), '[]')::text
        FROM change_row r WHERE r.change_id = c.id),
       (SELECT coalesce(json_agg(json_build_array(w.logical_server_id, w.zone, w.serial)
                                 ORDER BY w.logical_server_id, w.zone), '[]')::text
        FROM change_watch w WHERE w.change_id = c.id)
FROM change c
"""


@attrs.frozen
class _Content:
    """A change as the chain sees it."""

    id: int
    seq: int | None
    hash: bytes | None
    words: tuple[Any, ...]

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> "_Content":
        return cls(row[0], row[1], row[2], row[3:])

    def linked(self, seq: int, former: bytes) -> bytes:
        """Give the hash of this change at number ``seq`` after ``former``."""
        return sha256(_encoder.encode([_FORMAT, seq, former, self.id, *self.words])).digest()


@attrs.frozen
class ChainReport:
    """What `verify_chain` found: ``broken_at`` is the first seq that does not fit, None if all do.

    ``newest`` and ``newest_hash`` are what to note down elsewhere: a chain whose end was cut off
    and one that was written anew from some change on verify well, but end otherwise.
    """

    sealed: int
    broken_at: int | None
    newest: int
    newest_hash: bytes


async def seal_batch(tx: Transaction) -> int:
    """Seal up to `BATCH` changes; give how many. 0 also where another sealer is at work."""
    (mine,) = await tx.row("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))
    if not mine:
        return 0
    last = await tx.maybe(
        "SELECT seq, hash FROM change WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
    )
    seq, former = last or (0, b"")
    rows = await tx.rows(_CONTENT + "WHERE c.seq IS NULL ORDER BY c.id LIMIT %s", (BATCH,))
    if not rows:
        return 0
    sealed: list[tuple[int, int, bytes]] = []
    for content in map(_Content.of_row, rows):
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


async def verify_chain(database: Database) -> ChainReport:
    """Read the whole chain, a batch at a time, and compare every hash."""
    seq, former = 0, b""
    while True:
        after = seq

        async def batch(tx: Transaction, after: int = after) -> list[tuple[Any, ...]]:
            return await tx.rows(
                _CONTENT + "WHERE c.seq > %s ORDER BY c.seq LIMIT %s", (after, BATCH)
            )

        rows = await database.transaction(_PRINCIPAL, batch, name="sealer.verify")
        for content in map(_Content.of_row, rows):
            expected = content.linked(seq + 1, former)
            if content.seq != seq + 1 or content.hash != expected:
                return ChainReport(seq, content.seq, seq, former)
            seq, former = seq + 1, expected
        if not rows:
            return ChainReport(seq, None, seq, former)


class Sealer:
    """Seals soon after every notification of a change, and at an interval for lost ones."""

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock
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
        except StorageError as error:
            _log.warn("Not sealed yet: {error}", error=str(error))
        except Exception:  # a border: the next round tries again, whatever this one met
            _log.failure("Sealing failed")
        else:
            return sealed == BATCH
        return False
