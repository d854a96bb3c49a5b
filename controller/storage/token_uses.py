"""Whose a token is, asked with each request; and when it was last used, noted now and then."""

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from controller.principal import system
from controller.storage import people
from controller.storage.database import Database, Transaction

NOTED_EVERY = 3600.0
"""Seconds within which a token that is used again is not noted again."""
RETRY_SECONDS = 60.0
_PRINCIPAL = system("sign-in")
_log = Logger()


class TokenUses:
    """The API tokens as requests show them."""

    def __init__(self, database: Database, clock: IReactorTime) -> None:
        self._database = database
        self._clock = clock
        self._noted: dict[bytes, float] = {}

    async def operator_of(self, token: str) -> str | None:
        """Give the name of a token's operator; None for one that does not work.

        That it was used is written beside: nobody waits for it, and a failure keeps nobody out.
        """

        async def find(tx: Transaction) -> str | None:
            return await people.operator_of_token(tx, token)

        operator = await self._database.transaction(
            _PRINCIPAL, find, name="sign-in.token", single=True
        )
        if operator is not None:
            self._note(people.digest_of(token))
        return operator

    def _note(self, digest: bytes) -> None:
        now = self._clock.seconds()
        if digest in self._noted and now - self._noted[digest] < NOTED_EVERY:
            return
        self._noted[digest] = now

        async def write(tx: Transaction) -> None:
            await people.note_use(tx, digest)

        writing = self._database.transaction(_PRINCIPAL, write, name="sign-in.used")
        ensureDeferred(writing).addErrback(self._not_noted, digest)

    def _not_noted(self, failure: Failure, digest: bytes) -> None:
        """Have a use a minute from now noted instead."""
        self._noted[digest] -= NOTED_EVERY - RETRY_SECONDS
        _log.warn("A token's use was not noted: {why}", why=failure.value)
