"""Changes that clients make side by side: how many a second are served."""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.bench.peers.peer import Client


def changes_a_second(
    clients: Sequence[Client],
    zones: Sequence[str],
    serial: int,
    seconds: float,
    until: Callable[[str, int], None],
) -> float:
    """Have each client change one zone after the other for ``seconds``; count until all are served.

    Zones take turns, the first of them with ``serial``. ``until`` waits for a zone's serial.
    """
    turns = itertools.count()
    wanted: dict[str, int] = {}
    begin = time.perf_counter()

    def work(client: Client) -> int:
        done = 0
        while time.perf_counter() - begin < seconds:
            turn = next(turns)
            zone = zones[turn % len(zones)]
            wanted[zone] = client(zone, serial + turn // len(zones))
            done += 1
        return done

    with ThreadPoolExecutor(len(clients)) as pool:
        done = sum(pool.map(work, clients))
    for zone, last in wanted.items():
        until(zone, last)
    return done / (time.perf_counter() - begin)
