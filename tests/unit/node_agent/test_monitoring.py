"""Samples of the box: flows between two of them, and what the agent sends when it is told to."""

from collections.abc import Iterator

import psutil
import pytest

from node_agent.monitoring import Counters, Gauge, fullest_disk, rate, share


def test_a_flow_is_bytes_a_second_and_never_negative() -> None:
    assert rate(100, 1100, 10.0) == 100.0
    assert rate(1100, 100, 10.0) == 0.0
    assert rate(0, 100, 0.0) == 0.0


def test_the_share_in_use_is_of_the_time_between_two_looks() -> None:
    def counted(busy: float, idle: float) -> Counters:
        return Counters(0.0, busy, idle, 0, 0, 0, 0)

    assert share(counted(100.0, 900.0), counted(103.0, 901.0)) == 75.0
    assert share(counted(100.0, 900.0), counted(100.0, 900.0)) == 0.0
    assert share(counted(100.0, 900.0), counted(1.0, 1.0)) == 0.0


def test_a_gauge_measures_this_machine() -> None:
    moments: Iterator[float] = iter((0.0, 10.0))
    gauge = Gauge(clock=lambda: next(moments))
    first, second = gauge.sample(), gauge.sample()
    assert first is None, "nothing has flowed yet"
    assert second is not None
    assert 0 < second.memory_used <= second.memory_total == psutil.virtual_memory().total
    assert 0 < second.disk_used <= second.disk_total
    assert min(second.processor, second.load, second.net_received, second.disk_written) >= 0.0


def test_a_box_whose_disks_are_not_counted_has_no_disk_traffic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    gauge = Gauge()
    gauge.sample()
    sample = gauge.sample()
    assert sample is not None
    assert sample.disk_read == 0.0


def test_the_fullest_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usages = {"/": (50, 50), "/srv": (90, 10), "/empty": (0, 0), "/boot": (1, 99)}

    class Part:
        def __init__(self, mountpoint: str) -> None:
            self.mountpoint = mountpoint

    class Usage:
        def __init__(self, used: int, free: int) -> None:
            self.used, self.free = used, free

    def usage(mountpoint: str) -> Usage:
        if mountpoint == "/away":
            raise OSError("not mounted")
        return Usage(*usages[mountpoint])

    monkeypatch.setattr(
        psutil, "disk_partitions", lambda all: [Part(name) for name in (*usages, "/away")]
    )
    monkeypatch.setattr(psutil, "disk_usage", usage)
    assert fullest_disk() == (90, 100)
