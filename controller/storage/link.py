"""One connection to PostgreSQL: txpostgres, with the corners that it leaves sharp rounded off."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import extensions
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres.txpostgres import Connection

from controller.storage.errors import Plight
from controller.storage.prepared import Prepared, Statement, parts, preparing, usable
from controller.storage.roles import RUNTIME_ROLE

_log = Logger()

CONNECT_SECONDS = 10.0
STATEMENT_MILLISECONDS = 30_000
ANSWER_SECONDS = 35.0
"""From a statement to its answer, at most: longer than PostgreSQL itself gives it. A backend that
hangs, on its disk or stopped, ends nothing by itself."""
LOCK_MILLISECONDS = 10_000
IDLE_IN_TRANSACTION_MILLISECONDS = 60_000

_DEATH = ("57P01", "57P02", "57P03", "57P05")  # shut down, crashed, starting, idle too long
_UNPREPARED = "26000"  # somebody discarded what the connection had prepared
_PLIGHTS: Mapping[str, Plight] = {"53100": "full", "53300": "crowded", "25006": "read-only"}
_CROWDED = ("too many clients", "too many connections", "remaining connection slots")
_STALE = ("0A000", "RevalidateCachedQuery")  # the schema changed below a prepared statement
_TYPES_OF = "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = "


class SilentError(psycopg2.OperationalError):
    """PostgreSQL took a statement and gave no answer within `ANSWER_SECONDS`."""


def _as_bytes(value: str | bytes | None, _cursor: Any) -> bytes | None:
    if value is None:
        return None
    assert isinstance(value, str)
    return bytes.fromhex(value[2:])  # after the two characters \x: bytea_output is hex


def _as_number(value: str | bytes | None, _cursor: Any) -> int | float | None:
    if value is None:
        return None
    assert isinstance(value, str)
    return int(value) if value.lstrip("-").isdigit() else float(value)


_BYTEA = extensions.new_type((17,), "HS_BYTEA", _as_bytes)
_NUMERIC = extensions.new_type((1700,), "HS_NUMERIC", _as_number)
_TYPES = (
    _BYTEA,
    _NUMERIC,
    extensions.new_array_type((1001,), "HS_BYTEA_ARRAY", _BYTEA),
    extensions.new_array_type((1231,), "HS_NUMERIC_ARRAY", _NUMERIC),
    extensions.new_array_type((2951,), "HS_UUID_ARRAY", extensions.UNICODE),
    extensions.new_array_type((1041,), "HS_INET_ARRAY", extensions.UNICODE),
)


def plight_of(error: psycopg2.Error) -> Plight | None:
    """Say what keeps PostgreSQL from its work, where ``error`` tells; None for any other error.

    The codes are of its manual, appendix A. A refused connection has none, only words.
    """
    if error.pgcode is None:
        return "crowded" if any(words in str(error) for words in _CROWDED) else None
    return _PLIGHTS.get(error.pgcode)


class Link(Connection):  # type: ignore[misc]
    """A connection that acts as `hs_runtime`, whatever role the connection string names.

    txpostgres opens, watches and closes it. Its cursors are not used: each statement would have the
    socket taken from the reactor and given back twice, and its answer wait for one more turn of it.
    """

    _pollingD: "Deferred[object] | None"

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        lost: Callable[["Link"], None],
        notified: Callable[[str, str], None] | None = None,
    ) -> None:
        super().__init__(reactor)
        self._lost: Callable[[Link], None] | None = lost
        self._notified = notified
        self._prepared = Prepared()
        self._asked: tuple[extensions.cursor, Deferred[Any], IDelayedCall] | None = None

    async def open(self, url: str) -> None:
        """Connect within `CONNECT_SECONDS`; raises psycopg2.OperationalError."""
        given = extensions.parse_dsn(url)
        options = {
            "role": RUNTIME_ROLE,
            "statement_timeout": STATEMENT_MILLISECONDS,
            "lock_timeout": LOCK_MILLISECONDS,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MILLISECONDS,
            "timezone": "UTC",
            "bytea_output": "hex",
        }
        words = [given.pop("options", ""), *(f"-c {k}={v}" for k, v in options.items())]
        settings = {
            "application_name": "heliosphere",
            "keepalives_idle": "30",
            "tcp_user_timeout": "20000",
            **given,
            "options": " ".join(word for word in words if word),
        }
        opening: Deferred[object] = self.connect(extensions.make_dsn(**settings))
        late = self.reactor.callLater(CONNECT_SECONDS, self._connect_late)
        try:
            await opening
        except psycopg2.Error:
            self.abandon()
            raise
        finally:
            if late.active():
                late.cancel()
        for kind in _TYPES:
            extensions.register_type(kind, self._connection)

    def _connect_late(self) -> None:
        waiting, self._pollingD = self._pollingD, None
        self.abandon()
        if waiting is not None:
            waiting.errback(psycopg2.OperationalError(f"no answer in {CONNECT_SECONDS:g} seconds"))

    def ask(self, sql: str, parameters: Sequence[object] | None) -> "Deferred[Any]":
        """Run SQL; gives the cursor. Cancelling the Deferred closes the connection.

        Raises psycopg2's own errors, and `SilentError` where no answer comes: the connection is
        closed then too.

        So a cancelled transaction can never go on half-done, nor its connection be used again with
        a statement still under way.
        """
        answer: Deferred[Any] = Deferred(self._cancel)
        try:
            cursor = self._connection.cursor()
            cursor.execute(sql, parameters or None)
        except psycopg2.Error as error:
            answer.errback(error)
            return answer
        late = self.reactor.callLater(ANSWER_SECONDS, self._expire)
        self._asked = cursor, answer, late
        self._go_on()
        return answer

    def _cancel(self, _: "Deferred[Any]") -> None:
        if self._asked is not None:
            self._asked[2].cancel()
        self._asked = None
        self.abandon()

    def _expire(self) -> None:
        assert self._asked is not None
        (_, answer, _), self._asked = self._asked, None
        self.abandon()
        answer.errback(SilentError(f"no answer within {ANSWER_SECONDS:g} seconds"))

    def _go_on(self) -> None:
        """Have psycopg2 send and take what it can; tell who asked once the answer is whole."""
        # libpq closes its socket where it fails, and the reactor can only forget one that is open.
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        try:
            state = self._connection.poll()
        except psycopg2.Error as error:
            if self._asked is None:
                raise
            self._watch()
            self._tell(error)
            return
        self._watch()
        self.checkForNotifies()
        if state == extensions.POLL_WRITE:
            self.reactor.addWriter(self)
        elif state == extensions.POLL_OK:
            self._tell()

    def _watch(self) -> None:
        if not self._connection.closed:
            self.reactor.addReader(self)

    def _tell(self, failed: psycopg2.Error | Failure | None = None) -> None:
        if self._asked is None:
            return
        (cursor, answer, late), self._asked = self._asked, None
        late.cancel()
        answer.callback(cursor) if failed is None else answer.errback(failed)

    def executing(self, sql: str, parameters: Sequence[object]) -> str:
        """Give what to send for ``sql``: the execution of what was prepared, else ``sql``."""
        return self._prepared.executing(sql, parameters)

    @property
    def prepares(self) -> bool:
        """Whether `prepare` has anything to do."""
        return self._prepared.has_due

    async def prepare(self) -> None:
        """Prepare what has been asked repeatedly, between two transactions.

        What PostgreSQL refuses to prepare is sent as it is from now on. Raises psycopg2.Error and
        ConnectionDone where the connection died.
        """
        for key in self._prepared.take_due():
            sql, has_parameters = key
            statements = [
                await self._prepare_part(preparing(part, has_parameters=has_parameters))
                for part in parts(sql)
            ]
            self._prepared.keep(key, statements)

    async def _prepare_part(self, text: str | None) -> Statement | None:
        if text is None:
            return None
        name = self._prepared.name()
        try:
            cursor = await self.ask(f"PREPARE {name} AS {text}; {_TYPES_OF}'{name}'", None)
        except psycopg2.Error as error:
            if self.is_death(error):
                raise
            return None
        ((kinds,),) = cursor.fetchall()
        return Statement(name, tuple(kinds)) if usable(kinds) else None

    @property
    def usable(self) -> bool:
        """Whether the connection is open, as far as is known."""
        return self._connection is not None and not self._connection.closed

    def is_death(self, error: BaseException) -> bool:
        """Tell whether ``error`` means that this connection is gone, or of no use any more."""
        if not self.usable:
            return True
        if isinstance(error, psycopg2.Error) and (
            error.pgcode == _UNPREPARED or (error.pgcode, error.diag.source_function) == _STALE
        ):
            return True
        if isinstance(error, psycopg2.OperationalError):
            return error.pgcode is None or error.pgcode in _DEATH or error.pgcode[:2] == "08"
        # The bare class without a code is libpq's "server closed the connection"; its subclasses
        # without a code are the caller's mistakes (an argument that cannot be adapted).
        return type(error) is psycopg2.DatabaseError and error.pgcode is None

    def abandon(self) -> None:
        """Close the connection at once; the server rolls back what was open."""
        self._lost = None
        if self._connection is not None:
            self.close()

    def doRead(self) -> None:
        """Read; an idle connection that the server closed is given up quietly."""
        if self._pollingD is not None:
            super().doRead()  # it is being opened
            return
        try:
            self._go_on()
        except psycopg2.Error:
            lost = self._lost
            self.abandon()
            if lost is not None:
                lost(self)

    def doWrite(self) -> None:
        """Send the rest of a long statement."""
        if self._pollingD is not None:
            super().doWrite()  # it is being opened
            return
        self._go_on()

    def connectionLost(self, reason: Failure) -> None:
        """Tell who waits for an answer."""
        if self._connection.closed:
            self._tell(reason)
        elif self._asked is not None:
            self._go_on()  # what the server said at last tells more
            self._tell(psycopg2.OperationalError("the connection was lost"))
        super().connectionLost(reason)

    def checkForNotifies(self) -> None:
        """Hand on notifications in order; a callback that fails is logged, the next still runs."""
        if self._connection.closed:
            return
        notifies = self._connection.notifies[:]
        del self._connection.notifies[:]
        if self._notified is None:
            return
        for notify in notifies:
            try:
                self._notified(notify.channel, notify.payload)
            except Exception:  # a border: whatever a listener does must not cost others theirs
                _log.failure("A listener on {channel} failed", channel=notify.channel)
