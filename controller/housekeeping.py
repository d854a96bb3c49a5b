"""What the controller does once an hour: renew its certificate, forget what is over."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger

from controller.principal import system
from controller.storage import held_changes, idempotency
from controller.storage.database import Database, Transaction
from controller.storage.sign_in import purge_failures
from controller.storage.web_sessions import purge_sessions

_log = Logger()

HOUSEKEEPING_SECONDS = 3600.0
STEP_SECONDS = 60.0
"""A clock that runs away by more than this in an hour was set."""
_PURGES: Iterable[Any] = (purge_sessions, purge_failures, held_changes.purge)


class Housekeeping:
    """Does all of it. ``renew_if_due`` renews the controller's certificate and tells whether it
    did; ``steady`` gives seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        renew_if_due: Callable[[], bool],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._renew_if_due = renew_if_due
        self._steady = steady
        self._lag: float | None = None
        """How far the steady clock is behind that of the database, as it was at the beginning."""

    async def keep(self) -> None:
        """Do it once; what fails costs nothing else its turn, and comes again the next time."""
        try:
            if self._renew_if_due():
                _log.info("the controller's certificate was renewed")
        except Exception:  # a full disk, most likely
            _log.failure("the controller's certificate could not be renewed")
        for purge in (*_PURGES, self._purge_keys):
            try:
                await self._database.transaction(system("housekeeping"), purge, name=purge.__name__)
            except Exception:  # nothing of this may end the controller
                _log.failure("housekeeping failed: {job}", job=purge.__name__)

    async def _purge_keys(self, tx: Transaction) -> None:
        """Forget idempotency keys, by a clock that was seen to run on evenly.

        The first time it is only looked at: a controller that starts cannot know what was done to
        it a moment before.
        """
        (now,) = await tx.row("SELECT extract(epoch FROM now())::float8")
        lag = now - self._steady()
        if self._lag is None:
            self._lag = lag
            return
        ahead = lag - self._lag
        if ahead > STEP_SECONDS:
            _log.warn(
                "the database's clock was set ahead by {ahead} s: no key is older for that",
                ahead=round(ahead),
            )
        await idempotency.purge(tx, ahead=ahead if ahead > STEP_SECONDS else 0.0)
