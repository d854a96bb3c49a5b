"""Samples of how much of the box is in use, taken at the controller's interval."""

import os
import time
from collections.abc import Callable

import attrs
import psutil

from node_agent.wire.messages import Sample


@attrs.frozen
class Counters:
    """What the kernel has counted since the boot, in bytes, and when it was read (seconds)."""

    at: float
    disk_read: int
    disk_written: int
    net_received: int
    net_sent: int


def rate(before: int, after: int, seconds: float) -> float:
    """Give bytes a second; a counter that went back was begun anew and tells nothing."""
    return max(after - before, 0) / seconds if seconds > 0 else 0.0


class Gauge:
    """Takes samples; flows are between one sample and the next, so the first has none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._former: Counters | None = None

    def sample(self) -> Sample:
        """Look at the box. Blocks for some milliseconds."""
        memory = psutil.virtual_memory()
        disk_used, disk_total = fullest_disk()
        now = self._counters()
        former, self._former = self._former or now, now
        seconds = now.at - former.at
        return Sample(
            processor=float(psutil.cpu_percent(interval=None)),
            load=round(os.getloadavg()[0], 2),
            memory_used=max(memory.total - memory.available, 0),
            memory_total=memory.total,
            disk_used=disk_used,
            disk_total=disk_total,
            disk_read=rate(former.disk_read, now.disk_read, seconds),
            disk_written=rate(former.disk_written, now.disk_written, seconds),
            net_received=rate(former.net_received, now.net_received, seconds),
            net_sent=rate(former.net_sent, now.net_sent, seconds),
        )

    def _counters(self) -> Counters:
        disks = psutil.disk_io_counters()
        cards = psutil.net_io_counters(pernic=True)
        # What a box says to itself is no traffic.
        told = [each for name, each in cards.items() if name != "lo" and not name.startswith("lo0")]
        return Counters(
            at=self._clock(),
            disk_read=disks.read_bytes if disks is not None else 0,
            disk_written=disks.write_bytes if disks is not None else 0,
            net_received=sum(each.bytes_recv for each in told),
            net_sent=sum(each.bytes_sent for each in told),
        )


def fullest_disk() -> tuple[int, int]:
    """Give used and total bytes of the file system with the least share left, as daemons see it."""
    fullest = (0, 0)
    for part in psutil.disk_partitions(all=False) or ():
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:
            continue
        found = (usage.used, usage.used + usage.free)
        if found[1] and found[0] * max(fullest[1], 1) >= fullest[0] * found[1]:
            fullest = found
    if fullest[1]:
        return fullest
    usage = psutil.disk_usage("/")
    return usage.used, usage.used + usage.free
