"""What the agent tells of its box."""

from typing import Any

import attrs
import psutil
import pytest

from node_agent.sysinfo import sample


@attrs.frozen
class Part:
    """A mount, as psutil gives it."""

    device: str
    mountpoint: str
    fstype: str = "ext4"


@attrs.frozen
class Usage:
    """How full it is, as psutil gives it."""

    total: int = 4
    free: int = 3


def test_a_file_system_that_is_bound_elsewhere_too_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = [
        Part("/dev/vda", "/var/tmp"),
        Part("/dev/vda", "/"),
        Part("/dev/vdb", "/srv"),
        Part("/dev/vda", "/var/lib/heliosphere/agent"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)
    monkeypatch.setattr(psutil, "disk_usage", lambda mountpoint: Usage())
    told: Any = sample(())["disks"]
    assert [(each["device"], each["mount"]) for each in told] == [
        ("/dev/vda", "/"),
        ("/dev/vdb", "/srv"),
    ]
