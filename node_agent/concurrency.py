"""Running blocking functions away from the reactor, and coroutines side by side."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, FirstError, execute, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class Blocking(Protocol):
    """Run a function that blocks, away from the reactor.

    Calls are run one after the other, in the order made, whether or not anybody awaits them.
    """

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Give its result."""


def inline(function: Callable[[], T]) -> Awaitable[T]:
    """Run it here and now: for boxes in memory, which never block."""
    return cast(Awaitable[T], execute(function))


def threaded(reactor: IReactorFromThreads, pool: ThreadPool) -> Blocking:
    """Run it on ``pool``, which must have exactly one thread."""

    def run(function: Callable[[], T]) -> Awaitable[T]:
        return cast(Awaitable[T], deferToThreadPool(reactor, pool, function))

    return run


async def all_of(tasks: Iterable[Coroutine[Any, Any, None]], limit: int = 64) -> None:
    """Run coroutines side by side, at most ``limit`` at once; raise the first failure."""
    all_tasks = tuple(tasks)
    waiting: Iterator[Coroutine[Any, Any, None]] = iter(all_tasks)

    async def worker() -> None:
        for task in waiting:
            await task

    running = [Deferred.fromCoroutine(worker()) for _ in range(min(limit, len(all_tasks)))]
    try:
        await gatherResults(running, consumeErrors=True)
    except FirstError as first:
        first.subFailure.raiseException()
