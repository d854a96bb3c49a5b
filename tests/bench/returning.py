"""Part g: a fleet comes back after its controller was restarted, killed or told to end.

The boxes are in other processes, with real TLS and an agent's own dialler (`redialling`); the
controller is alone, with a database that survives it. A change for every box is on its way when the
controller is killed, and another one is committed while it is away.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import attrs
import psutil

from tests.bench import alone, identities
from tests.bench.figures import table
from tests.bench.fleet_model import FleetModel
from tests.bench.footprint import cpu_seconds, megabytes
from tests.bench.redialling import Told

BAR = 60.0
"""Seconds from the end of the old controller until every box has a session with the new one."""
MEMORY_BAR = 900.0
"""MB of the controller at its most."""
HEAD = (
    "controller",
    "away",
    "all back",
    "bar",
    "all settled",
    "were on their way",
    "peak RSS",
    "bar",
    "CPU each",
    "dials/s at most",
    "sent again",
    "lost",
)
PROCESSES = 2
PATIENCE = 900.0
SAMPLE_SECONDS = 10.0
_POLL = 0.1


class NotBackError(Exception):
    """The fleet did not come to what was waited for."""


@attrs.define
class Crowd:
    """The processes of simulated boxes."""

    told_files: list[Path]
    processes: list["subprocess.Popen[bytes]"]

    def told(self) -> Told:
        """Give what the boxes have seen so far."""
        for process in self.processes:
            if process.poll() is not None:
                raise NotBackError(f"a process of boxes ended with {process.returncode}")
        return Told.together(self.told_files)


@attrs.frozen
class Fleet:
    """All that the part works with."""

    controller: alone.Controller
    model: FleetModel
    crowd: Crowd
    count: int

    def until(self, holds: Callable[[], bool], words: str) -> float:
        """Wait for something; give the seconds."""
        begin = time.monotonic()
        while not holds():
            if time.monotonic() - begin > PATIENCE:
                raise NotBackError(f"{words} after {PATIENCE:g} s: {self.crowd.told()}")
            time.sleep(_POLL)
        return time.monotonic() - begin

    def all_connected(self) -> bool:
        """Whether every box has a session, as the boxes see it."""
        return self.crowd.told().connected == self.count

    def all_settled(self) -> bool:
        """Whether every box has told that it serves the newest."""
        return self.model.settled() == self.count


def measure(
    folder: Path,
    count: int,
    minutes: float,
    say: Callable[[str], None],
    show: Callable[[str], None],
) -> None:
    """Connect ``count`` boxes, restart the controller twice, then hold them for ``minutes``."""
    with _fleet(folder, count, say) as fleet:
        show(f"\ng. {count:,} simulated agents in {PROCESSES} other processes come back")
        say("waiting for all to connect")
        before = cpu_seconds(fleet.controller.process())
        took = fleet.until(fleet.all_connected, "not all connected")
        spent = cpu_seconds(fleet.controller.process()) - before
        show(
            f"  first connect of all: {took:.1f} s, controller CPU {_each(spent, count)} per agent"
        )
        begin = time.monotonic()
        fleet.model.change(b"first")
        fleet.until(fleet.all_settled, "not all settled")
        show(f"  a change for all, settled: {time.monotonic() - begin:.1f} s")
        rows = []
        for word, how in (("killed (-9)", SIGKILL), ("told to end", SIGTERM)):
            say(f"controller {word}")
            rows.append(_restart(fleet, word, how))
            say(f"all back after {rows[-1][2]}, all settled after {rows[-1][4]}")
        show(table(HEAD, rows))
        if minutes:
            say(f"holding them for {minutes:g} minutes")
            show(_hold(fleet, minutes))


def _restart(fleet: Fleet, word: str, how: Signals) -> tuple[str, ...]:
    """End the controller amid a change, commit another while it is away, and start it again."""
    before = fleet.crowd.told()
    fleet.model.change(b"amid " + word.encode())
    ended, second = time.monotonic(), int(time.time())
    fleet.controller.end(how)
    unsettled = fleet.count - fleet.model.settled()
    fleet.model.change(b"while away " + word.encode())
    fleet.controller.start()
    away = time.monotonic() - ended
    process = fleet.controller.process()
    spent = -cpu_seconds(process)
    fleet.until(fleet.all_connected, "not all back")
    back = time.monotonic() - ended
    fleet.until(fleet.all_settled, "not all settled")
    spent += cpu_seconds(process)
    all_settled = time.monotonic() - ended
    time.sleep(1.0)  # what the boxes saw is told by then
    told, peak = fleet.crowd.told(), _peak(process)
    dials = max(n for at, n in told.dials.items() if at >= second)
    return (
        word,
        f"{away:.1f} s",
        f"{back:.1f} s",
        f"{BAR:g} s {'kept' if back <= BAR else 'MISSED'}",
        f"{all_settled:.1f} s",
        f"{unsettled:,}",
        f"{peak:.0f} MB",
        f"{MEMORY_BAR:g} MB {'kept' if peak <= MEMORY_BAR else 'MISSED'}",
        _each(spent, fleet.count),
        str(dials),
        str(told.again - before.again),
        str(_lost(fleet, told)),
    )


def _lost(fleet: Fleet, told: Told) -> int:
    """Count the boxes that do not hold what the model has for them."""
    wanted = fleet.model.revisions()
    return sum(max(0, n - told.held.get(revision, 0)) for revision, n in wanted.items())


def _hold(fleet: Fleet, minutes: float) -> str:
    """Hold the fleet, with a change for one box at each sample; give how the memory went."""
    process, samples = fleet.controller.process(), []
    begin = time.monotonic()
    before, number = cpu_seconds(process), 0
    welcomes = fleet.crowd.told().welcomes
    while (at := time.monotonic() - begin) < minutes * 60:
        samples.append((at, megabytes(process)))
        number += 1
        box = number % fleet.count + 1
        fleet.model.change(b"held %d" % number, box, box)
        time.sleep(max(0.0, begin + number * SAMPLE_SECONDS - time.monotonic()))
    spent = cpu_seconds(process) - before
    told = fleet.crowd.told()
    sixths = [samples[len(samples) * part // 6][1] for part in range(6)]
    return (
        f"  held for {minutes:g} minutes: RSS {samples[0][1]:.0f} MB at first,"
        f" {samples[-1][1]:.0f} MB at last, {max(m for _, m in samples):.0f} MB at most;"
        f" by sixths {', '.join(f'{each:.0f}' for each in sixths)};"
        f" slope {_slope(samples) * 3600:+.1f} MB an hour over all,"
        f" {_slope(samples[len(samples) // 2 :]) * 3600:+.1f} over the later half;"
        f" CPU {100 * spent / (minutes * 60):.0f} %, sessions {told.connected:,},"
        f" begun anew {told.welcomes - welcomes:,}"
    )


def _slope(samples: list[tuple[float, float]]) -> float:
    """Give the slope of the line that fits best, in MB a second."""
    count = len(samples)
    mean_at = sum(at for at, _ in samples) / count
    mean = sum(value for _, value in samples) / count
    spread = sum((at - mean_at) ** 2 for at, _ in samples)
    return sum((at - mean_at) * (value - mean) for at, value in samples) / spread if spread else 0.0


def _peak(process: psutil.Process) -> float:
    """Give the most resident memory that a process ever had, in MB."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError("VmHWM")


def _each(seconds: float, count: int) -> str:
    return f"{seconds / count * 1000:.2f} ms"


@contextmanager
def _fleet(folder: Path, count: int, say: Callable[[str], None]) -> Iterator[Fleet]:
    with alone.controller(folder, "heliosphere.test") as controller:
        model = FleetModel.open(controller.database_url, count)
        say(f"issuing {count:,} certificates")
        crowd = folder / "crowd"
        crowd.mkdir()
        files = identities.issue(controller.pki, crowd, model.boxes(), PROCESSES)
        told = [file.with_suffix(".told") for file in files]
        controller.start()
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for file, told_file in zip(files, told, strict=True):
                words = ("-m", "tests.bench.redialling", str(controller.agents))
                processes.append(
                    subprocess.Popen([sys.executable, *words, str(file), str(told_file)])
                )
            yield Fleet(controller, model, Crowd(told, processes), count)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
            model.close()
