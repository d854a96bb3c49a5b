"""Time that only goes on: a step of the system's clock must not stop what is done by time.

Twisted counts by the time of day. Set back by an hour (a first NTP answer, an RTC in local time),
it would be silent for an hour: no heartbeat, no retry, no look for a hold.
"""

import time
from typing import Any


def count_steadily(reactor: Any) -> None:
    """Have ``reactor`` count seconds of the monotonic clock. Call it before anything is timed."""
    reactor.seconds = time.monotonic
