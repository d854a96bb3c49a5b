"""Waiting for a change to move: the long poll of ``GET /changes/{id}?wait=SECONDS&seen=HASH``."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import msgspec
from twisted.internet.interfaces import IReactorTime

from controller.web.channel import HangUp
from controller.web.events import EventBus, Listener
from controller.web.problems import problem

LONGEST_WAIT = 60.0
_REREAD = 5.0
"""Seconds after which the change is read again without an event: a lost wake-up costs no more."""


@attrs.frozen
class Wait:
    """How long to wait, and what the client has seen already (empty: nothing)."""

    seconds: float
    seen: str


def take_wait(query: dict[str, Sequence[str]]) -> Wait | None:
    """Take ``wait`` and ``seen`` out of a query; None where the client does not wait."""
    texts, seen = query.pop("wait", None), query.pop("seen", None)
    if texts is None:
        return None
    try:
        seconds = float(texts[0])
    except ValueError:
        seconds = -1.0
    if len(texts) != 1 or not 0 <= seconds <= LONGEST_WAIT:
        raise problem(
            422,
            "request.field.invalid",
            "wait: not a number of seconds",
            field="wait",
            value=texts[0],
            allowed=f"0 to {LONGEST_WAIT:g}",
        )
    return Wait(seconds, seen[0] if seen else "")


def seen_hash(result: Any) -> str:
    """Give a short digest of what a client is shown; equal for equal states."""
    return hashlib.sha256(msgspec.json.encode(result, order="sorted")).hexdigest()[:16]


async def watch(
    read: Callable[[], Awaitable[dict[str, Any]]],
    wait: Wait,
    bus: EventBus,
    clock: IReactorTime,
    gone: HangUp,
) -> dict[str, Any]:
    """Read a change until it is no longer pending, differs from what was seen, or time is up.

    The answer carries ``seen`` for the next request.
    """
    until = clock.seconds() + wait.seconds
    with bus.listener(gone) as listener:
        while True:
            result = await read()
            digest = seen_hash(result)
            left = until - clock.seconds()
            moved = bool(wait.seen) and digest != wait.seen
            if result.get("state") != "pending" or moved or left <= 0 or gone():
                return {**result, "seen": digest}
            await _hear_of(result.get("id"), listener, min(left, _REREAD), clock)


async def _hear_of(change: object, listener: Listener, seconds: float, clock: IReactorTime) -> None:
    until = clock.seconds() + seconds
    while (left := until - clock.seconds()) > 0:
        event = await listener.next(left)
        if event is None or ("sealed" not in event and event.get("change", change) == change):
            return
