"""The event bus of one process, by a clock of its own."""

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from controller.web.channel import HangUp
from controller.web.events import BACKLOG, EventBus, Listener


class Client:
    """A request's end as `HangUp` sees it."""

    def __init__(self) -> None:
        self.finished: Deferred[None] = Deferred()

    def notifyFinish(self) -> "Deferred[None]":
        return self.finished


def hearing() -> tuple[EventBus, Clock, Client, Listener]:
    clock, client = Clock(), Client()
    bus = EventBus(clock)
    return bus, clock, client, bus.listener(HangUp(cast("Any", client)))


def start(listener: Listener, seconds: float) -> "Deferred[Any]":
    return Deferred.fromCoroutine(listener.next(seconds))


def result(deferred: "Deferred[Any]") -> Any:
    found: list[Any] = []
    deferred.addCallback(found.append)
    assert found, "it still waits"
    return found[0]


def test_an_event_wakes_the_one_who_waits_and_leaves_no_clock() -> None:
    bus, clock, _, listener = hearing()
    with listener:
        waiting = start(listener, 5)
        bus.heard('{"change": 1}')
        assert result(waiting) == {"change": 1}
    assert clock.getDelayedCalls() == []


def test_events_before_the_wait_are_kept_in_order() -> None:
    bus, _, _, listener = hearing()
    with listener:
        bus.heard('{"change": 1}')
        bus.heard('{"box": "ns1"}')
        assert [result(start(listener, 5)), result(start(listener, 5))] == [
            {"change": 1},
            {"box": "ns1"},
        ]


def test_time_passes_and_a_hang_up_ends_the_wait() -> None:
    _, clock, client, listener = hearing()
    with listener:
        waiting = start(listener, 5)
        clock.advance(5)
        assert result(waiting) is None
        waiting = start(listener, 5)
        client.finished.errback(ConnectionError())
        assert result(waiting) is None
        assert result(start(listener, 5)) is None
    assert clock.getDelayedCalls() == []


def test_a_slow_reader_is_told_and_costs_a_bounded_memory() -> None:
    bus, _, _, listener = hearing()
    with listener:
        for number in range(BACKLOG + 1):
            bus.heard(f'{{"change": {number}}}')
        assert result(start(listener, 0)) == {"change": 1}
        assert listener.take_missed()
        assert not listener.take_missed()


def test_what_is_no_event_is_dropped() -> None:
    bus, _, _, listener = hearing()
    with listener:
        for payload in ("", "x", "[]", "1", '{"change": {}}', '{"change": null}', "[" * 100_000):
            bus.heard(payload)
        assert result(start(listener, 0)) is None


def test_one_who_left_hears_nothing() -> None:
    bus, _, _, listener = hearing()
    with listener:
        pass
    bus.heard('{"change": 1}')
    assert result(start(listener, 0)) is None
