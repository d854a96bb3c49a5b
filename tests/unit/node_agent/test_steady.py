import time

import pytest
from twisted.internet.selectreactor import SelectReactor

from node_agent.steady import count_steadily


def test_a_clock_that_is_set_back_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor = SelectReactor()
    try:
        count_steadily(reactor)
        begun: list[str] = []
        reactor.callLater(0, begun.append, "called")
        today = time.time()
        monkeypatch.setattr(time, "time", lambda: today - 3600)
        reactor.runUntilCurrent()
        assert begun == ["called"]
        assert reactor.seconds() < today - 3600
    finally:
        reactor.disconnectAll()
