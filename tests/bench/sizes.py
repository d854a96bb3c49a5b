"""Part e: one record change with more and more zones on the name server, beside the limit."""

import sys
import time

from tests.bench.changes import ACCOUNT, Product, record_changes
from tests.bench.cluster import Bench
from tests.bench.figures import Times, median, ms, p99, table
from tests.bench.filling import Model
from tests.bench.limit import Limit

BAR = 1.5
"""How much the ratios may differ from each other."""
_SHOWN_EVERY = 10.0


def measure(
    bench: Bench, limit: Limit, product: Product, sizes: tuple[int, ...], pairs: int
) -> str:
    """Grow the cluster to each of ``sizes`` and measure; give a table."""
    model = Model.open(bench.database_url)
    rows: list[tuple[str, ...]] = []
    ratios: list[float] = []
    present = 0
    try:
        for size in sizes:
            took = _grow(model, present, size)
            rate = f"{(size - present) / took:.0f} zones/s"
            present = size
            product.settled()
            times: Times = record_changes(limit, product, pairs)
            ratios.append(times.ratio)
            rows.append(
                (
                    f"{size:,} zones",
                    ms(median(times.limit)),
                    ms(median(times.product)),
                    f"{times.ratio:.2f}",
                    ms(p99(times.product)),
                    rate,
                )
            )
    finally:
        model.close()
    spread = max(ratios) / min(ratios)
    verdict = "kept" if spread <= BAR else "MISSED"
    head = ("", "limit", "product", "ratio", "product p99", "filled at")
    return (
        f"\ne. record change by number of zones ({pairs} pairs each, medians)\n"
        f"{table(head, rows)}\n"
        f"  ratios differ by {spread:.2f}, bar {BAR:g} {verdict}"
    )


def _grow(model: Model, present: int, size: int) -> float:
    begin = shown = time.monotonic()
    model.fill_zones(present, size, ACCOUNT)
    for left in model.until_served():
        if time.monotonic() - shown > _SHOWN_EVERY:
            shown = time.monotonic()
            print(f"== {size:,} zones: {left:,} revisions to go", file=sys.stderr, flush=True)
    return time.monotonic() - begin
