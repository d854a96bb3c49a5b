"""Ports for servers under test."""

import itertools
import os

from controller.local.layout import Place
from controller.local.places import is_free

_EACH = 2_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OURS = range(10_000 + _WORKER % 5 * _EACH, 10_000 + (_WORKER % 5 + 1) * _EACH)
"""Neither what the kernel gives to whoever connects, nor what a local cluster takes."""
_NEXT = itertools.islice(itertools.cycle(_OURS), os.getpid() % _EACH, None)


def free_port() -> int:
    """Give a port of 127.0.0.1 that is free for TCP and UDP.

    No other test of a run with up to five workers is given it: a server that is killed and started
    again finds it free.
    """
    for port in itertools.islice(_NEXT, _EACH):
        if is_free(Place("127.0.0.1", port), datagram=True):
            return port
    raise AssertionError(f"no free port among {_OURS}")
