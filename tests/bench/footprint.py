"""Part d: what the programs take when nothing happens."""

import time

import psutil

from tests.bench.cluster import Bench
from tests.bench.figures import table

AGENT_BAR = 80.0
"""MB of one agent."""


def measure(bench: Bench, seconds: float) -> str:
    """Watch the idle programs for some seconds; give a table."""
    names = ("controller", "ns1", "ns2", "web1")
    processes = {name: bench.process(name) for name in names}
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
