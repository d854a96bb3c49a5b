"""Noting the chain's head outside of the database, regularly: the job behind the anchors."""

from datetime import UTC, datetime

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from controller.principal import system
from controller.storage.anchors import Anchor, AnchorFile
from controller.storage.chain import Head, head_of
from controller.storage.database import Database, Transaction

_log = Logger()

INTERVAL_SECONDS = 60.0
CHANGES = 1000
"""A note after so many seconds, or sealed changes: what is newer is not vouched for yet."""
_PRINCIPAL = system("sealer")


class Anchoring:
    """Notes the head of ``database``'s chain in ``file`` when it is due and has moved on.

    The note before is held against the chain each time: who tampers is told of within a minute.
    """

    def __init__(self, database: Database, file: AnchorFile, clock: IReactorTime) -> None:
        self._database = database
        self._file = file
        self._clock = clock
        self._last: Anchor | None = None
        self._is_read = False
        self._sealed = 0
        self._due_at = 0.0

    def is_due(self, sealed: int) -> bool:
        """Tell whether to note now; ``sealed`` are the changes sealed since it was asked last."""
        self._sealed += sealed
        return self._sealed >= CHANGES or self._clock.seconds() >= self._due_at

    async def note(self) -> Anchor | None:
        """Note the head if it moved on; give the note. A file that cannot be written is logged."""
        self._sealed = 0
        self._due_at = self._clock.seconds() + INTERVAL_SECONDS
        try:
            if not self._is_read:
                standing = (await deferToThread(self._file.read)).standing
                self._last = standing[-1] if standing else None
                self._is_read = True
            head, kept = await self._database.transaction(
                _PRINCIPAL, self._head_and_kept, name="sealer.anchor", reads=True
            )
            last = self._last
            if last is not None and kept != last.hash:
                _log.error(
                    "The audit is not what it was: change {seq} had the hash {hash} at {at};"
                    " hsctl audit verify tells more",
                    seq=last.seq,
                    hash=last.hash,
                    at=last.at,
                )
            elif last is not None and last.seq == head.seq:
                return None
            if not head.seq:
                return None
            at = datetime.now(UTC).isoformat(timespec="seconds")
            anchor = Anchor(at, head.seq, head.hash.hex())
            await deferToThread(self._file.append, anchor)
        except OSError as error:
            _log.error("The audit's head could not be noted: {error}", error=str(error))
            return None
        self._last = anchor
        _log.info("audit head {seq} {hash}", seq=anchor.seq, hash=anchor.hash)
        return anchor

    async def _head_and_kept(self, tx: Transaction) -> tuple[Head, str]:
        """Give the head, and the hash that the change of the last note has now."""
        head = await head_of(tx)
        if self._last is None or not self._last.seq:
            return head, "" if self._last is None else self._last.hash
        row = await tx.maybe("SELECT hash FROM change WHERE seq = %s", (self._last.seq,))
        return head, "" if row is None else bytes(row[0]).hex()
