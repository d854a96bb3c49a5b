"""How much of a box was in use over time, and whether that is measured (R249 to R251)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from controller.cluster.boxes.boxes import find_box
from controller.cluster.ports import FleetPort
from controller.commands import Command, Work
from controller.fleet.monitoring import RINGS, SERIES
from controller.moments import time_text
from controller.refusal import CommandError

SPANS = dict(zip(("hour", "day", "month"), RINGS, strict=True))
"""What may be asked for, and the ring that holds it."""


@attrs.frozen
class ShowLoad:
    """The load of a box over the last ``span``: hour, day or month (30 days)."""

    name: str
    span: str = "hour"


@attrs.frozen
class SwitchMonitoring:
    """Whether a box samples itself (R250)."""

    name: str
    monitoring: bool


_READ = f"""
SELECT extract(epoch FROM at)::bigint, {", ".join(SERIES)} FROM box_sample
WHERE box_id = %s AND step = %s AND at > %s AND at <= %s ORDER BY at
"""  # noqa: S608 - names of columns, from the table of series


def _rounded(name: str, value: float) -> float | int:
    return round(value, 2) if name in ("processor", "load") else round(value)


@attrs.frozen
class Monitoring:
    """The commands; ``clock`` gives seconds since the epoch."""

    clock: Callable[[], float]
    fleet: FleetPort

    async def load(self, work: Work, request: ShowLoad) -> dict[str, Any]:
        """Give samples as columns of equal length, oldest first; ``at`` in seconds (epoch)."""
        if request.span not in SPANS:
            raise CommandError(
                "pserver.load.span",
                "not a span that is kept",
                field="span",
                value=request.span,
                allowed=", ".join(SPANS),
            )
        step, places = SPANS[request.span]
        box = await find_box(work.tx, request.name)
        monitoring, connected = await work.tx.lock(
            "SELECT monitoring, connected FROM box WHERE id = %s", (box.id,)
        )
        until = datetime.fromtimestamp(self.clock(), UTC)
        since = until - timedelta(seconds=step * places)
        rows = await work.tx.rows(_READ, (box.id, step, since, until))
        return {
            "name": box.name,
            "span": request.span,
            "step": step,
            "since": time_text(since),
            "until": time_text(until),
            "monitoring": monitoring,
            "connected": connected,
            "at": [row[0] for row in rows],
            "series": {
                name: [_rounded(name, row[place]) for row in rows]
                for place, name in enumerate(SERIES, 1)
            },
        }

    async def switch(self, work: Work, request: SwitchMonitoring) -> dict[str, Any]:
        """Switch the monitoring of a box on or off; one that is connected hears it at once."""
        box, on = await find_box(work.tx, request.name), request.monitoring
        touched = await work.tx.run(
            """UPDATE box SET monitoring = %s, version = version + 1
               WHERE id = %s AND monitoring <> %s""",
            (on, box.id, on),
        )
        if touched:
            work.change.row("box", box.name, {"monitoring": not on}, {"monitoring": on})
        work.tx.after_commit(lambda: self.fleet.set_monitoring(box.id, on))
        return {"name": box.name, "monitoring": on}

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "pserver.load",
                "GET",
                "/pservers/{name}/load",
                ShowLoad,
                "provider.read",
                "Show the load of a physical server over time",
                self.load,
                "Means of ten seconds for an hour, of a minute for a day, of a quarter of an hour "
                "for thirty days. The series are columns of equal length beside `at` (seconds "
                "since the epoch); sizes are in bytes, flows in bytes a second.",
            ),
            Command(
                "pserver.monitoring",
                "PUT",
                "/pservers/{name}/monitoring",
                SwitchMonitoring,
                "provider.write",
                "Switch the monitoring of a physical server on or off",
                self.switch,
                "Off: the box takes no samples, and is asked for no packages and services.",
            ),
        )
