"""``/events``: tells open pages that something moved, so that they fetch their live part again.

An event carries no data of the model; what a page then fetches is checked like any other request.
"""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime

from controller.web.channel import BoundedRequest, HangUp
from controller.web.events import Event, EventBus, Listener

_HEARTBEAT = 15.0
"""Seconds after which the session is looked at again and a comment shows that the stream lives."""
_CALM = 0.25
"""Seconds in which events are put together: a page need not be drawn more often."""

SessionCheck = Callable[[], Awaitable[bool]]


async def follow(
    request: BoundedRequest,
    bus: EventBus,
    clock: IReactorTime,
    gone: HangUp,
    still_signed_in: SessionCheck,
) -> None:
    """Write events until the client hangs up or its session ends."""
    request.responseHeaders.setRawHeaders("Content-Type", ["text/event-stream"])
    with bus.listener(gone) as listener:
        request.write(b"retry: 3000\n\n")
        looked = clock.seconds()
        while not gone():
            kinds = await _heard(listener, clock)
            if clock.seconds() - looked >= _HEARTBEAT:
                looked = clock.seconds()
                if not await still_signed_in():
                    return
            if gone():
                return
            for kind in sorted(kinds):
                request.write(f"event: {kind}\ndata: 1\n\n".encode("ascii"))
            if not kinds:
                request.write(b": alive\n\n")


async def _heard(listener: Listener, clock: IReactorTime) -> set[str]:
    """Give the kinds of events of one moment, none after a silence."""
    event = await listener.next(_HEARTBEAT)
    if event is None:
        return set()
    kinds = {_kind(event)}
    until = clock.seconds() + _CALM
    while (left := until - clock.seconds()) > 0:
        event = await listener.next(left)
        if event is not None:
            kinds.add(_kind(event))
    return kinds


def _kind(event: Event) -> str:
    return "box" if "box" in event else "change"
