"""Silence, refusals and disorder on a session, by a clock of the test's own."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from node_agent.config import ControllerAddress
from node_agent.connection import BRIEF_SECONDS, WELCOME_SECONDS, Dialler, Session
from node_agent.wire.codec import decode_from_agent, encode
from node_agent.wire.messages import (
    Alive,
    Assign,
    FromAgent,
    FromController,
    Hello,
    Message,
    Refused,
    Welcome,
)

HELLO = Hello(
    protocol_min=1,
    protocol_max=1,
    agent_version="1",
    boot_id="b",
    machine_id="m",
    os_family="linux",
    kinds={},
    lanes=(),
)
WELCOME = Welcome(protocol=1, history="h", session_epoch=1, interval=10.0, now=0.0)


class Transport(StringTransport):
    def setTcpNoDelay(self, on: bool) -> None:
        """Nothing to set."""

    def setTcpKeepAlive(self, on: bool) -> None:
        """Nothing to set."""


class Told:
    def __init__(self) -> None:
        self.messages: list[object] = []

    async def hello(self) -> Hello:
        return HELLO

    def welcomed(self, send: Callable[[FromAgent], None], welcome: Welcome) -> None:
        self.messages.append(welcome)

    def received(self, message: FromController) -> None:
        self.messages.append(message)

    def ended(self) -> None:
        self.messages.append("ended")


class Line:
    def __init__(self) -> None:
        self.clock = Clock()
        self.told = Told()
        self.transport = Transport()
        self.session = Session(self.clock, self.told, HELLO)
        self.session.makeConnection(self.transport)
        self.session.handshakeCompleted()

    def say(self, message: Message) -> None:
        frame = encode(message)
        self.session.dataReceived(len(frame).to_bytes(4, "big") + frame)

    @property
    def lost(self) -> bool:
        return self.transport.disconnecting or self.transport.disconnected

    def heard(self) -> list[object]:
        data, messages = self.transport.value(), []
        while data:
            size = int.from_bytes(data[:4], "big")
            messages.append(decode_from_agent(data[4 : 4 + size]))
            data = data[4 + size :]
        self.transport.clear()
        return messages


def test_nothing_but_hello_is_said_before_the_welcome() -> None:
    line = Line()
    line.clock.advance(WELCOME_SECONDS / 2)
    assert line.heard() == [HELLO]


def test_a_controller_that_never_welcomes_is_left() -> None:
    line = Line()
    line.clock.pump([1.0] * int(WELCOME_SECONDS))
    assert line.lost


def test_the_agent_says_alive_before_the_interval_is_over() -> None:
    line = Line()
    line.say(WELCOME)
    line.heard()
    line.clock.pump([0.5] * 20)
    assert line.heard() == [Alive()]


def test_three_intervals_of_silence_end_the_session() -> None:
    line = Line()
    line.say(WELCOME)
    line.clock.pump([0.5] * 58)
    assert not line.lost
    line.clock.pump([0.5] * 4)
    assert line.lost


def test_any_traffic_puts_the_deadline_off() -> None:
    line = Line()
    line.say(WELCOME)
    for _ in range(10):
        line.clock.pump([0.5] * 50)
        line.session.dataReceived(b"")
        line.say(Alive())
    assert not line.lost


def test_a_refusal_says_how_long_to_stay_away() -> None:
    line = Line()
    line.say(Refused(reason="busy", detail="later", retry_after=42.0))
    assert line.lost
    line.session.connectionLost()
    assert line.session.over.result == 42.0


@pytest.mark.parametrize(
    "message",
    [
        Assign(lanes=()),
        Welcome(protocol=9, history="h", session_epoch=1, interval=10.0, now=0.0),
        Welcome(protocol=1, history="h", session_epoch=1, interval=0.0, now=0.0),
        Welcome(protocol=1, history="h", session_epoch=1, interval=1e9, now=0.0),
    ],
)
def test_disorder_ends_the_session(message: Message) -> None:
    line = Line()
    line.say(message)
    assert line.lost
    assert line.told.messages == []


def test_a_second_welcome_ends_the_session() -> None:
    line = Line()
    line.say(WELCOME)
    line.say(WELCOME)
    assert line.lost


def test_a_journal_that_cannot_be_read_for_a_hello_does_not_end_the_dialling() -> None:
    told, clock, asked = Told(), Clock(), []

    class Nobody:
        def connect(self, factory: object) -> Deferred[None]:
            asked.append(factory)
            return fail(ConnectionRefusedError())

    async def hello() -> Hello:
        raise OSError("disk I/O error")

    well, told.hello = told.hello, hello  # type: ignore[method-assign]
    dialler = Dialler(clock, [ControllerAddress("h", 1)], lambda _: Nobody(), told)  # type: ignore[arg-type,return-value]
    dialler.start()
    told.hello = well  # type: ignore[method-assign]
    clock.pump([0.5] * 4)
    assert asked


class Fleet:
    """Agents that lose their sessions at one moment, and the moments at which they dial again."""

    def __init__(self, count: int, interval: float) -> None:
        self.clock = Clock()
        self.interval = interval
        self.dialled: list[float] = []
        self.sessions: list[Session] = []
        self.diallers = [
            Dialler(self.clock, [ControllerAddress("127.0.0.1", 1)], lambda _: self, Told())
            for _ in range(count)
        ]
        for dialler in self.diallers:
            dialler.start()

    async def connect(self, factory: Any) -> Any:
        self.dialled.append(self.clock.seconds())
        session = factory.buildProtocol(None)
        session.makeConnection(Transport())
        session.handshakeCompleted()
        self.sessions.append(session)
        frame = encode(msgspec.structs.replace(WELCOME, interval=self.interval))
        session.dataReceived(len(frame).to_bytes(4, "big") + frame)
        return session

    def fall(self) -> list[float]:
        """End all sessions at once; give how long after it each agent dialled again."""
        self.clock.advance(BRIEF_SECONDS)
        sessions, self.sessions, self.dialled = self.sessions, [], []
        begin = self.clock.seconds()
        for session in sessions:
            session.connectionLost()
        self.clock.pump([0.01] * 1500)
        return [at - begin for at in self.dialled]


def test_a_large_fleet_comes_back_over_a_longer_time_than_a_small_one() -> None:
    small, large = Fleet(100, 10.0).fall(), Fleet(100, 100.0).fall()
    assert len(small) == len(large) == 100
    assert max(small) <= 1.02
    assert max(large) <= 10.02
    for share, width in ((small, 1.0), (large, 10.0)):
        assert {int(4 * at / width) for at in share if at < width} == {0, 1, 2, 3}


def test_a_session_that_always_ends_at_once_is_begun_ever_more_seldom() -> None:
    fleet = Fleet(1, 10.0)
    for _ in range(20):
        (session,) = fleet.sessions
        fleet.sessions, begin = [], fleet.clock.seconds()
        session.connectionLost()
        while not fleet.sessions:
            fleet.clock.advance(0.1)
    assert 15.0 <= fleet.dialled[-1] - begin <= 30.1
    assert fleet.fall()[0] <= 1.02, "one that lasted is forgiven all before it"


def test_who_is_asked_to_wait_does_not_come_back_at_the_same_moment_as_the_others() -> None:
    fleet = Fleet(20, 10.0)
    for session in fleet.sessions:
        session.welcomed = False
        session.message_received(Refused(reason="busy", detail="", retry_after=5.0))
    back = fleet.fall()
    assert min(back) >= 5.0
    assert max(back) - min(back) > 0.5


def test_after_the_longest_outage_a_box_dials_within_half_a_minute() -> None:
    clock, dialled = Clock(), [0.0]

    class Away:
        def connect(self, factory: Any) -> Deferred[Any]:
            dialled.append(clock.seconds())
            return fail(OSError("refused"))

    Dialler(clock, [ControllerAddress("127.0.0.1", 1)], lambda _: Away(), Told()).start()
    clock.pump([0.1] * 6000)
    waits = [later - before for before, later in pairwise(dialled)]
    assert 15.0 < max(waits) <= 30.1
    assert min(waits[-5:]) >= 14.9
