"""What boxes tell of their load, on its way into the rings of ``box_sample``.

The place of a sample in a ring follows from its time, so a ring overwrites itself: nothing is ever
deleted, and a box never has more rows than its rings have places.
"""

import math
from collections.abc import Sequence
from functools import partial

import attrs
from twisted.logger import Logger

from controller.fleet.words import FLEET
from controller.storage.database import Database, Transaction
from node_agent.wire.messages import Sample

log = Logger()

RINGS: tuple[tuple[int, int], ...] = ((10, 360), (60, 1440), (900, 2880))
"""(seconds that a place stands for, places): an hour, a day, thirty days."""
SERIES = (
    "processor",
    "load",
    "memory_used",
    "memory_total",
    "disk_used",
    "disk_total",
    "disk_read",
    "disk_written",
    "net_received",
    "net_sent",
)
"""The columns of a sample, named as in the message."""
LARGEST = 1e18


@attrs.frozen
class Dated:
    """A box's sample with the session that it came on and the time at which it came."""

    box: str
    epoch: int
    at: float
    sample: Sample


class SampleStore:
    """Gathers samples between two writes: the newest of each box."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, Dated] = {}

    def take(self, dated: Dated) -> None:
        """Take a sample; it is written with the next `save`."""
        self._waiting[dated.box] = dated

    async def save(self) -> None:
        """Write what has come. What cannot be written is let go: the next samples come soon."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            await self._database.transaction(
                FLEET,
                partial(write_samples, samples=tuple(waiting.values())),
                name="fleet.samples",
            )
        except Exception as error:
            # A gap in a graph is no reason to end the loop that writes it.
            log.warn("{count} samples were not written: {error}", count=len(waiting), error=error)


def _bounded(value: float, most: float) -> float:
    return min(max(float(value), 0.0), most) if math.isfinite(value) else 0.0


_MEANS = ", ".join(
    f"{name} = CASE WHEN s.at = excluded.at"
    f" THEN (s.{name} * s.samples + excluded.{name}) / (s.samples + 1) ELSE excluded.{name} END"
    for name in SERIES
)
_WRITE = f"""
INSERT INTO box_sample AS s (box_id, step, slot, at, samples, {", ".join(SERIES)})
SELECT q.box, r.step, (floor(q.at / r.step)::bigint %% r.places)::int,
       to_timestamp(floor(q.at / r.step) * r.step), 1, {", ".join(f"q.{name}" for name in SERIES)}
FROM unnest(%s::uuid[], %s::bigint[], %s::float8[]{", %s::float8[]" * len(SERIES)})
     AS q(box, epoch, at, {", ".join(SERIES)})
JOIN box b ON b.id = q.box AND b.session_epoch = q.epoch AND b.monitoring
CROSS JOIN unnest(%s::int[], %s::int[]) AS r(step, places)
ORDER BY q.box, r.step
ON CONFLICT (box_id, step, slot) DO UPDATE
SET at = excluded.at, samples = CASE WHEN s.at = excluded.at THEN s.samples + 1 ELSE 1 END, {_MEANS}
"""  # noqa: S608 - names of columns, from the table above


async def write_samples(tx: Transaction, samples: Sequence[Dated]) -> None:
    """Write one sample a box into its rings; a place already begun holds the mean.

    A sample of a session that is over, or of a box that is monitored no more, is dropped.
    """
    columns = [
        [
            _bounded(getattr(each.sample, name), 100.0 if name == "processor" else LARGEST)
            for each in samples
        ]
        for name in SERIES
    ]
    await tx.run(
        _WRITE,
        (
            [each.box for each in samples],
            [each.epoch for each in samples],
            [each.at for each in samples],
            *columns,
            [step for step, _ in RINGS],
            [places for _, places in RINGS],
        ),
    )


async def monitored_among(tx: Transaction, boxes: Sequence[str]) -> set[str]:
    """Give those of ``boxes`` that are monitored (R250)."""
    rows = await tx.rows(
        "SELECT id::text FROM box WHERE id = ANY(%s::uuid[]) AND monitoring", (list(boxes),)
    )
    return {row[0] for row in rows}
