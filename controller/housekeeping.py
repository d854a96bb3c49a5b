"""What the controller does once an hour: renew its certificate, forget what is over."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.logger import Logger

from controller.principal import system
from controller.storage import held_changes, idempotency
from controller.storage.database import Database
from controller.storage.sign_in import purge_failures
from controller.storage.web_sessions import purge_sessions

_log = Logger()

HOUSEKEEPING_SECONDS = 3600.0
_PURGES: Iterable[Any] = (purge_sessions, purge_failures, idempotency.purge, held_changes.purge)


async def keep_house(database: Database, renew_if_due: Callable[[], bool]) -> None:
    """Do all of it; what fails costs nothing else its turn, and comes again with the next hour.

    ``renew_if_due`` renews the controller's certificate and tells whether it did.
    """
    try:
        if renew_if_due():
            _log.info("the controller's certificate was renewed")
    except Exception:  # a full disk, most likely
        _log.failure("the controller's certificate could not be renewed")
    for purge in _PURGES:
        try:
            await database.transaction(system("housekeeping"), purge, name=purge.__name__)
        except Exception:  # nothing of this may end the controller
            _log.failure("housekeeping failed: {job}", job=purge.__name__)
