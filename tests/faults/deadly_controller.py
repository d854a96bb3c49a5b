"""``hs-controller``, dying of SIGKILL at a crash point that a test names in a file.

The file named by ``HS_DIE_AT`` holds the point, which counts once a command has begun after that:
what boxes say by themselves kills nobody. Who dies of it removes it: the next one lives.

The file named by ``HS_CLOCK`` holds the seconds by which its clock is wrong: that of this process,
and never the machine's.
"""

import os
import signal
import time
from functools import partial
from pathlib import Path

_true_time = time.time


def stepped() -> float:
    """Give the time of day, stepped as a test says."""
    try:
        return _true_time() + float(Path(os.environ["HS_CLOCK"]).read_text())
    except (FileNotFoundError, ValueError):
        return _true_time()


time.time = stepped  # before Twisted takes it for its own

import controller.running  # noqa: E402
from controller.crash_points import CrashPoint  # noqa: E402
from controller.main import main  # noqa: E402


class Deadly:
    """Lets points pass until the one that is ordered."""

    def __init__(self, order: Path) -> None:
        self._order = order
        self._begun = False

    def __call__(self, point: CrashPoint) -> None:
        """End this very process, as the kernel would, where this point is the one."""
        try:
            deadly = self._order.read_text()
        except FileNotFoundError:
            return
        self._begun = self._begun or point == "claimed"
        if self._begun and point == deadly:
            self._order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    controller.running.Controller = partial(  # type: ignore[assignment,misc]
        controller.running.Controller, at=Deadly(Path(os.environ["HS_DIE_AT"]))
    )
    main()
