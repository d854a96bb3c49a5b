"""Part h: many zones at once on empty name servers, and what one bad object among them costs.

The bare loops do the same control-channel calls and fsynced writes, and nothing else: no database,
no journal, no probe. They run first, and what they added is taken away again.
"""

import time

from tests.bench.changes import ACCOUNT
from tests.bench.cluster import Bench
from tests.bench.figures import median, table
from tests.bench.filling import Model
from tests.bench.footprint import cpu_seconds
from tests.bench.limit import Limit

BAR = 0.7
"""The product's rate over that of the bare loops."""
POISON_BAR = 1.2
"""The wall time of a batch with one bad object over that of one without."""
PAIRS = 3


def measure(bench: Bench, limit: Limit, count: int, poisoned: int) -> str:
    """Fill the name servers with ``count`` zones; then batches of ``poisoned``, good and bad."""
    model = Model.open(bench.database_url)
    try:
        bare = limit.batch(count)
        took, shares = _batch(bench, model, count)
        clean, bad = _poison(model, count, poisoned)
    finally:
        model.close()
    ratio = bare / took
    verdict = "kept" if ratio >= BAR else "MISSED"
    rows = (
        ("bare loops", f"{bare:.1f} s", f"{count / bare:.0f}", ""),
        ("product", f"{took:.1f} s", f"{count / took:.0f}", f"{ratio:.2f} of it, {verdict}"),
    )
    head = ("", "total", "zones/s", f"bar {BAR:g}")
    cpu = ", ".join(f"{name} {1000 * spent / count:.2f} ms" for name, spent in shares.items())
    cost = median(bad) / median(clean)
    cost_verdict = "kept" if cost <= POISON_BAR else "MISSED"
    return (
        f"\nh. {count:,} zones at once, on empty name servers\n"
        f"{table(head, rows)}\n  CPU per zone: {cpu}\n"
        f"  {poisoned:,} zones more: {median(clean):.2f} s; one of them bad: {median(bad):.2f} s"
        f" ({cost:.2f} of it, bar {POISON_BAR:g} {cost_verdict}; medians of {PAIRS})"
    )


def _batch(bench: Bench, model: Model, count: int) -> tuple[float, dict[str, float]]:
    processes = {name: bench.process(name) for name in ("controller", "ns1", "ns2")}
    before = {name: cpu_seconds(process) for name, process in processes.items()}
    took = _fill(model, 0, count)
    return took, {name: cpu_seconds(p) - before[name] for name, p in processes.items()}


def _poison(model: Model, first: int, count: int) -> tuple[list[float], list[float]]:
    clean, bad = [], []
    for number in range(PAIRS):
        clean.append(_fill(model, first, first + count))
        first += count
        bad.append(_fill(model, first, first + count, bad=first + count // 2))
        first += count
        if model.outcomes("quarantined") != number + 1:
            raise RuntimeError("the bad object was not quarantined")
    return clean, bad


def _fill(model: Model, first: int, last: int, bad: int = -1) -> float:
    """Give the seconds from the commit to the last outcome."""
    model.fill_zones(first, last, ACCOUNT, frozenset((bad,)))
    begin = time.monotonic()
    for _ in model.until_served():
        pass
    return time.monotonic() - begin
