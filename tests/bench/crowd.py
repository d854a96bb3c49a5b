"""Part c: a thousand simulated boxes on the cluster's controller, with real TLS.

The boxes are `tests.simulated_agent` in processes of their own; this module is both the parent that
measures and, run as a program, one such process.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from twisted.internet.defer import DeferredList, DeferredSemaphore, ensureDeferred

from tests.bench import identities
from tests.bench.cluster import Bench
from tests.bench.figures import table
from tests.bench.filling import Model
from tests.bench.footprint import cpu_seconds
from tests.simulated_agent import SimulatedAgent

SESSION_BAR = 80.0
"""KiB of the controller's memory for each session."""
PROCESSES = 2
DIALS = 50
"""Handshakes under way at once in one process."""


def measure(bench: Bench, count: int) -> str:
    """Connect them all, make one small change for all; give a table."""
    model = Model.open(bench.database_url)
    folder = bench.layout.root.parent / "crowd"
    folder.mkdir()
    server, boxes = model.add_boxes(count)
    files = identities.issue(bench.layout.controller / "pki", folder, boxes, PROCESSES)
    controller = bench.process("controller")
    memory, cpu = _resident(controller), cpu_seconds(controller)
    begin = time.monotonic()
    crowd = [
        subprocess.Popen([sys.executable, "-m", "tests.bench.crowd", bench.agents, str(file)])
        for file in files
    ]
    try:
        while model.connected() < count:
            _alive(crowd)
            time.sleep(0.05)
        connected, connect_cpu = time.monotonic() - begin, cpu_seconds(controller) - cpu
        time.sleep(2)  # what connecting left to do
        rows = [_row("connect all", count, connected, connect_cpu)]
        per_session = (_resident(controller) - memory) / 1024 / count
        for number, words in enumerate(("first object for all", "one small change for all")):
            cpu, begin = cpu_seconds(controller), time.monotonic()
            revision = model.change(server, "crowd.test", b"\x81\xa5small%d" % number)
            while model.settled(server, revision) < count:
                _alive(crowd)
                time.sleep(0.01)
            rows.append(_row(words, count, time.monotonic() - begin, cpu_seconds(controller) - cpu))
            time.sleep(1)
        later = (_resident(controller) - memory) / 1024 / count
    finally:
        for process in crowd:
            process.terminate()
            process.wait()
        model.close()
    verdict = "kept" if per_session <= SESSION_BAR else "MISSED"
    head = ("", "total", "controller CPU per agent")
    return (
        f"\nc. {count:,} simulated agents in {PROCESSES} other processes\n{table(head, rows)}\n"
        f"  controller memory per session: {per_session:.0f} KiB connected, {later:.0f} KiB after"
        f" the changes; bar {SESSION_BAR:g} KiB {verdict}"
    )


def _row(words: str, count: int, seconds: float, cpu: float) -> tuple[str, str, str]:
    return words, f"{seconds:.2f} s", f"{cpu / count * 1000:.2f} ms"


def _resident(process: psutil.Process) -> float:
    return float(process.memory_info().rss)


def _alive(crowd: list[subprocess.Popen[bytes]]) -> None:
    for process in crowd:
        if process.poll() is not None:
            raise RuntimeError(f"a process of simulated agents ended with {process.returncode}")


def _be_crowd(port: int, file: Path) -> None:
    """Dial for every box of the file and hold the sessions until we are ended."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    turns = DeferredSemaphore(DIALS)
    agents = [
        SimulatedAgent(tls, machine_id=f"crowd-{os.getpid()}-{number}")
        for number, tls in enumerate(identities.read(file))
    ]

    def dial(agent: SimulatedAgent) -> Any:
        async def connect() -> None:
            await agent.connect(reactor, port)
            await agent.until(lambda: bool(agent.messages))

        return turns.run(lambda: ensureDeferred(connect()))

    reactor.callWhenRunning(lambda: DeferredList([dial(agent) for agent in agents]))
    reactor.run()


if __name__ == "__main__":
    _be_crowd(int(sys.argv[1].rpartition(":")[2]), Path(sys.argv[2]))
