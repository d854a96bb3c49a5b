"""Part d: what the programs take when nothing happens; for parts a and b, what they used."""

import time

import psutil

from tests.bench.cluster import Bench
from tests.bench.figures import ms, table

AGENT_BAR = 80.0
"""MB of one agent."""


PROGRAMS = ("controller", "ns1", "ns2", "web1")
"""The programs that are ours: the controller, and the agents by their boxes."""


class Used:
    """The processor time of our programs since this was made."""

    def __init__(self, bench: Bench) -> None:
        self._processes = {name: bench.process(name) for name in PROGRAMS}
        self._before = {name: cpu_seconds(each) for name, each in self._processes.items()}

    def for_each(self, count: int) -> str:
        """Say what each of ``count`` changes took, with all that follows one."""
        used = {name: cpu_seconds(each) for name, each in self._processes.items()}
        words = (f"{name} {ms((used[name] - self._before[name]) / count)}" for name in PROGRAMS)
        return f"  processor time of the product's own programs for each: {', '.join(words)}"


def measure(bench: Bench, seconds: float) -> str:
    """Watch the idle programs for some seconds; give a table."""
    processes = {name: bench.process(name) for name in PROGRAMS}
    before = {name: cpu_seconds(process) for name, process in processes.items()}
    time.sleep(seconds)
    rows = []
    for name, process in processes.items():
        share = 100 * (cpu_seconds(process) - before[name]) / seconds
        memory = megabytes(process)
        bar = "" if name == "controller" else f"80 {'kept' if memory <= AGENT_BAR else 'MISSED'}"
        what = name if name == "controller" else f"agent of {name}"
        rows.append((what, f"{memory:.0f} MB", f"{share:.2f} %", bar))
    head = ("", "RSS", "idle CPU", "bar (MB)")
    return f"\nd. memory, and CPU over {seconds:g} idle seconds\n{table(head, rows)}"


def cpu_seconds(process: psutil.Process) -> float:
    """Give the CPU time that a process has used, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def megabytes(process: psutil.Process) -> float:
    """Give a process's resident memory in MB."""
    return float(process.memory_info().rss) / 1e6
