"""Times and what they come to: median, p99, ratios, a table."""

import statistics
from collections.abc import Sequence

import attrs


@attrs.define
class Times:
    """Measured times in seconds, of the limit and of the product, taken in turns."""

    limit: list[float] = attrs.field(factory=list)
    product: list[float] = attrs.field(factory=list)

    @property
    def ratio(self) -> float:
        """The product's median over the limit's."""
        return median(self.product) / median(self.limit)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Give (word, limit, product, ratio, bar) for median and p99."""
        found = []
        for word, of, bar in (("median", median, 2.0), ("p99", p99, 4.0)):
            limit, product = of(self.limit), of(self.product)
            ratio = product / limit
            verdict = f"{bar:g} {'kept' if ratio <= bar else 'MISSED'}"
            found.append((word, ms(limit), ms(product), f"{ratio:.2f}", verdict))
        return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The smallest value that 95 % do not exceed; the largest one of fewer than twenty."""
    return _exceeded_by(values, 5)


def p99(values: Sequence[float]) -> float:
    """The smallest value that 99 % do not exceed; the largest one of fewer than a hundred."""
    return _exceeded_by(values, 1)


def _exceeded_by(values: Sequence[float], share: int) -> float:
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * (100 - share) // 100) - 1)]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns: the first one to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  " + "   ".join(cells).rstrip()

    return "\n".join(line(row) for row in (head, *rows))
