"""Transactions on PostgreSQL: the only way in which the controller reads and writes its state.

The function given to `Database.transaction` may run more than once (a serialization failure, a
deadlock, a connection that died before the commit): it must do nothing but use its transaction, and
leave effects to `Transaction.after_commit`.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from controller.principal import Principal
from controller.storage.errors import (
    CommitUnknownError,
    DatabaseUnavailableError,
    NestedTransactionError,
    OvertakenError,
    StorageError,
)
from controller.storage.link import Link, SilentError, plight_of
from controller.storage.listener import Listener
from controller.storage.pool import POOL_SECONDS, Pool

__all__ = [
    "CommitUnknownError",
    "Database",
    "DatabaseUnavailableError",
    "NestedTransactionError",
    "OvertakenError",
    "Rollback",
    "StorageError",
    "Transaction",
]

T = TypeVar("T")

_log = Logger()

ATTEMPTS = 8
_RETRIED = ("40001", "40P01", "23503")
"""A foreign key is broken by those who read a row before another transaction deleted it, or read
that nothing refers to one before another did: whoever reads again is told by a rule of his own."""


class Rollback(Exception):  # noqa: N818 no error: a way to end
    """Raised inside a transaction: it is rolled back and its answer is ``value`` (dry run)."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


class Transaction:
    """One open transaction, as its principal. Statements run one after the other."""

    def __init__(
        self, link: Link, principal: Principal, *, single: bool = False, reads: bool = False
    ) -> None:
        self._link = link
        self.principal = principal
        self._single = single
        self._reads = reads
        self._hooks: list[Callable[[], None]] = []
        self._state = "unbegun"
        self._asking = False
        self._carried: list[tuple[str, tuple[object, ...]]] = []

    async def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Give every row. uuid and inet come as text, bytea as bytes, jsonb as Python values."""
        cursor = await self._ask(sql, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    async def row(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...]:
        """Give exactly one row; raises LookupError for none or several."""
        found = await self.rows(sql, parameters)
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows where one was expected: {sql}")
        return found[0]

    async def maybe(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Give the one row or None; raises LookupError for several."""
        found = await self.rows(sql, parameters)
        if len(found) > 1:
            raise LookupError(f"{len(found)} rows where at most one was expected: {sql}")
        return found[0] if found else None

    async def lock(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...]:
        """Lock, or just read, the one row whose id was read before.

        Raises `OvertakenError` where it is gone by now: the transaction is run again then, and
        finds what there is.
        """
        found = await self.maybe(sql, parameters)
        if found is None:
            raise OvertakenError(f"a row is gone that was read before: {sql}")
        return found

    async def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement; give how many rows it touched."""
        cursor = await self._ask(sql, parameters)
        count: int = cursor.rowcount
        return count

    def run_with_next(self, sql: str, parameters: Sequence[object]) -> None:
        """Run a statement in the round trip of the next one, or of the COMMIT if none comes.

        For one that gives nothing; what PostgreSQL has against it is raised by the next.
        """
        self._carried.append((self._link.executing(sql, parameters), tuple(parameters)))

    def after_commit(self, function: Callable[[], None]) -> None:
        """Call ``function`` once the commit is certain; never after a rollback."""
        self._hooks.append(function)

    @property
    def left(self) -> bool:
        """Whether it has given its answer and has yet to be rolled back."""
        return self._state == "left"

    @property
    def open(self) -> bool:
        """Whether statements may still be run."""
        return self._state in ("unbegun", "begun")

    async def _ask(self, sql: str, parameters: Sequence[object]) -> Any:
        if not self.open:
            raise RuntimeError("the transaction has ended")
        if self._asking:
            raise RuntimeError("a statement of this transaction is still running: await it first")
        sql, parameters = self._with_carried(self._link.executing(sql, parameters), parameters)
        if self._state == "unbegun":
            # BEGIN and the principal travel with the first statement: no round trip of their own.
            begin = _begin(self.principal, reads=self._reads)
            if self._single:
                # What travels together is one transaction without being said to be.
                sql, self._state = f"{begin.removeprefix('BEGIN; ')}; {sql}", "ended"
            else:
                sql, self._state = f"{begin}; {sql}", "begun"
        self._asking = True
        try:
            return await self._link.ask(sql, tuple(parameters))
        finally:
            self._asking = False

    def _with_carried(self, sql: str, parameters: Sequence[object]) -> tuple[str, Sequence[object]]:
        if not self._carried:
            return sql, parameters
        carried, self._carried = self._carried, []
        if not parameters:
            sql = sql.replace("%", "%%")  # the values of the others are put in now
        texts = [*(text for text, _ in carried), sql]
        return "; ".join(texts), [*(v for _, values in carried for v in values), *parameters]

    async def commit(self) -> list[Callable[[], None]]:
        """Commit; give the hooks to run. For `Database` only."""
        if self._reads:
            self._state = "left" if self._state == "begun" else "ended"
            return self._hooks
        if self._state == "begun" or self._carried:
            cursor = await self._ask("COMMIT", ())
            if cursor.statusmessage != "COMMIT":
                raise StorageError(
                    "an error inside the transaction was swallowed: PostgreSQL rolled it back"
                )
        self._state = "ended"
        return self._hooks

    async def roll_back(self) -> None:
        """Roll back. For `Database` only."""
        begun, self._state = self._state in ("begun", "left"), "ended"
        if begun:
            await self._link.ask("ROLLBACK", None)


def _begin(principal: Principal, *, reads: bool) -> str:
    # All words come from closed sets (a Literal, an int), so no parameters are needed.
    # What only reads is rolled back, so PostgreSQL must refuse a write in it, not forget it.
    begin = "BEGIN READ ONLY" if reads else "BEGIN"
    if principal.kind == "account":
        if principal.account is None:
            raise ValueError("a principal of the kind account names its account")
        return (
            f"{begin}; SET LOCAL hs.principal = 'account';"
            f" SET LOCAL hs.account = '{int(principal.account)}'"
        )
    return f"{begin}; SET LOCAL hs.principal = 'provider'"


_current: ContextVar[Transaction | None] = ContextVar("hs_transaction", default=None)


class Database:
    """A pool of connections to one PostgreSQL database.

    Connections that die are replaced when next needed; transactions wait for a server that is away
    up to ``pool_seconds``, then raise `DatabaseUnavailableError`.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int = 6,
        pool_seconds: float = POOL_SECONDS,
        reactor: IReactorTime | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor as installed  # noqa: PLC0415 installs a reactor

            reactor = cast("IReactorTime", installed)
        self._pool = Pool(url, size=size, seconds=pool_seconds, reactor=reactor, jitter=jitter)
        self._listener = Listener(url, reactor, jitter)

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        size: int = 6,
        pool_seconds: float = POOL_SECONDS,
        jitter: Callable[[], float] = random.random,
    ) -> "Database":
        """Connect; raises `DatabaseUnavailableError` where the server does not answer.

        ``url`` may name the owner or `hs_runtime`: the work is done as `hs_runtime` either way.
        """
        database = cls(url, size=size, pool_seconds=pool_seconds, jitter=jitter)
        database._pool.put_away(await database._pool.lease())
        return database

    async def transaction(
        self,
        principal: Principal,
        function: Callable[[Transaction], Awaitable[T]],
        *,
        name: str,
        single: bool = False,
        reads: bool = False,
    ) -> T:
        """Run ``function`` in one transaction (READ COMMITTED) as ``principal``; give its answer.

        ``single`` is for a function that asks one statement, which only reads: it is its own
        transaction, and takes one round trip. ``reads`` is for a function that only reads: its
        answer does not wait for the transaction's end, and what it writes is rolled back.

        Retries serialization failures, deadlocks, broken foreign keys, `OvertakenError` and
        connections lost before the commit, with jitter, at most `ATTEMPTS` times; where PostgreSQL
        is silent, once. Raises `NestedTransactionError`, `DatabaseUnavailableError`,
        `CommitUnknownError`, else what ``function`` raised; psycopg2's own errors
        (``psycopg2.errors.UniqueViolation``) come through as they are.
        """
        outer = _current.get()
        if outer is not None and outer.open:
            raise NestedTransactionError(f"{name}: asked for inside another transaction")
        attempt = 1
        while True:
            link = await self._pool.lease()
            transaction = Transaction(link, principal, single=single, reads=reads)
            _current.set(transaction)
            try:
                value, hooks = await self._attempt(link, transaction, function)
                break
            except psycopg2.Error as error:
                again = error.pgcode in _RETRIED or link.is_death(error)
                if isinstance(error, SilentError):
                    attempt = max(attempt, ATTEMPTS - 1)  # another backend is asked, once
                if not again or attempt >= ATTEMPTS:
                    plight = plight_of(error)
                    # A write in what only reads is a mistake of ours, and no plight.
                    if (plight and not reads) or link.is_death(error):
                        raise DatabaseUnavailableError(
                            f"{name}: {str(error).strip()}", plight or "away"
                        ) from error
                    raise
                _log.info("{name}: again after {error}", name=name, error=str(error).strip())
            except OvertakenError as error:
                if attempt >= ATTEMPTS:
                    raise
                _log.info("{name}: again after {error}", name=name, error=str(error))
            except ConnectionDone as error:
                raise DatabaseUnavailableError("the database was closed") from error
            finally:
                _current.set(outer)
                self._give_back(link, transaction)
            await self._pool.pause(attempt)
            attempt += 1
        for hook in hooks:
            try:
                hook()
            except Exception:  # committed is committed: a hook's failure must not look like ours
                _log.failure("A hook after the commit of {name} failed", name=name)
        return value

    async def _attempt(
        self, link: Link, transaction: Transaction, function: Callable[[Transaction], Awaitable[T]]
    ) -> tuple[T, list[Callable[[], None]]]:
        try:
            value = await function(transaction)
        except Rollback as way_out:
            await transaction.roll_back()
            return way_out.value, []  # type: ignore[return-value]
        except Exception as error:  # whatever a command raises, its transaction must not stay open
            if link.is_death(error):
                link.abandon()
            else:
                await self._roll_back_after(link, transaction)
            raise
        except BaseException:  # thrown away half-way: nothing may be awaited any more
            link.abandon()
            raise
        try:
            return value, await transaction.commit()
        except (psycopg2.Error, ConnectionDone) as error:
            if link.is_death(error):
                link.abandon()
                raise CommitUnknownError(
                    "the connection was lost during the commit: it may or may not have happened"
                ) from error
            await self._roll_back_after(link, transaction)
            raise

    async def _roll_back_after(self, link: Link, transaction: Transaction) -> None:
        try:
            await transaction.roll_back()
        except psycopg2.Error:
            link.abandon()  # the server rolls back what a closed connection had open

    def _give_back(self, link: Link, transaction: Transaction) -> None:
        if link.usable and not self._pool.closed and (transaction.left or link.prepares):
            Deferred.fromCoroutine(self._tidy(link, transaction))
        else:
            self._pool.put_away(link)

    async def _tidy(self, link: Link, transaction: Transaction) -> None:
        """End what only read and prepare what is asked again, while nobody waits for it."""
        try:
            if transaction.left:
                await transaction.roll_back()
            await link.prepare()
        except (psycopg2.Error, ConnectionDone):
            link.abandon()
        finally:
            self._pool.put_away(link)

    async def listen(
        self,
        channel: str,
        callback: Callable[[str], None],
        *,
        recovered: Callable[[], None] | None = None,
    ) -> None:
        """Call ``callback`` with the payload of each NOTIFY on ``channel``, in order.

        The listening survives a restart of the server. What was notified meanwhile is lost:
        ``recovered`` is called then, for whoever wants to look at once and not at the next rescan.
        """
        try:
            await self._listener.listen(channel, callback, recovered)
        except psycopg2.Error as error:
            raise DatabaseUnavailableError(f"cannot listen: {str(error).strip()}") from error

    async def close(self) -> None:
        """Close every connection; transactions under way fail, waiting ones are refused."""
        self._listener.close()
        self._pool.close()
