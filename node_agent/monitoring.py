"""Samples of how much of the box is in use, taken at the controller's interval."""

import os
import time
from collections.abc import Callable

import attrs
import psutil

from node_agent.wire.messages import Sample


@attrs.frozen
class Counters:
    """What the kernel has counted since the boot: bytes, and processor time in seconds.

    ``at`` is when it was read (seconds). Not psutil's own percentage: it remembers a thread's last
    call, and ours come from many.
    """

    at: float
    busy: float
    idle: float
    disk_read: int
    disk_written: int
    net_received: int
    net_sent: int


def rate(before: int, after: int, seconds: float) -> float:
    """Give bytes a second; a counter that went back was begun anew and tells nothing."""
    return max(after - before, 0) / seconds if seconds > 0 else 0.0


def share(before: Counters, after: Counters) -> float:
    """Give the share of the processors' time between two looks that was used, 0 to 100."""
    busy, idle = max(after.busy - before.busy, 0.0), max(after.idle - before.idle, 0.0)
    return 100.0 * busy / (busy + idle) if busy + idle > 0 else 0.0


class Gauge:
    """Takes samples: what flows is measured from one look to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._former: Counters | None = None

    def sample(self) -> Sample | None:
        """Look at the box; None the first time. Blocks for some milliseconds."""
        former, now = self._former, self._counters()
        self._former = now
        if former is None:
            return None
        memory = psutil.virtual_memory()
        disk_used, disk_total = fullest_disk()
        seconds = now.at - former.at
        return Sample(
            processor=round(share(former, now), 1),
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
        times = psutil.cpu_times()._asdict()
        idle = times["idle"] + times.get("iowait", 0.0)
        # Linux counts the time of guests within that of their user.
        guests = times.get("guest", 0.0) + times.get("guest_nice", 0.0)
        return Counters(
            at=self._clock(),
            busy=sum(times.values()) - idle - guests,
            idle=idle,
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
