"""The load of a box as a table with a curve a line: a pure function of the controller's answer."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from controller.hsctl.views import Answer

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
"""Signs of a curve; each stands for an equal share of the span."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    number, unit = float(count), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"


def _flow(count: float) -> str:
    return f"{size(count)}/s"


def _percent(share: float) -> str:
    return f"{share:.0f} %"


def _number(value: float) -> str:
    return f"{value:.2f}"


_SHOWN: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("processor", "processor", "", _percent),
    ("load", "load", "", _number),
    ("memory", "memory_used", "memory_total", size),
    ("disk", "disk_used", "disk_total", size),
    ("disk reads", "disk_read", "", _flow),
    ("disk writes", "disk_written", "", _flow),
    ("received", "net_received", "", _flow),
    ("sent", "net_sent", "", _flow),
)


def curve(
    moments: Sequence[float], values: Sequence[float], since: float, until: float, top: float
) -> str:
    """Draw values over time in `_WIDTH` signs: blank where there are none, ``top`` is full."""
    places: list[list[float]] = [[] for _ in range(_WIDTH)]
    length = max(until - since, 1.0)
    for moment, value in zip(moments, values, strict=False):
        place = int((moment - since) / length * _WIDTH)
        places[min(max(place, 0), _WIDTH - 1)].append(value)
    signs = []
    for found in places:
        share = sum(found) / len(found) / top if found and top > 0 else 0.0
        bar = _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]
        signs.append(bar if found else " ")
    return "".join(signs).rstrip() or "-"


def load(answer: Answer) -> dict[str, Any]:
    """Give the load of a box for a person."""
    at, series = answer.get("at") or [], answer.get("series") or {}
    shown: dict[str, Any] = {
        "name": answer.get("name"),
        "span": answer.get("span"),
        "monitoring": "on" if answer.get("monitoring") else "off: no samples are taken",
    }
    if not at:
        return {**shown, "load": "no samples in this span"}
    since = _seconds(answer.get("since"), at[0])
    until = _seconds(answer.get("until"), at[-1])
    rows = []
    for words, name, total, written in _SHOWN:
        values = [float(value) for value in series.get(name, ())]
        if not values:
            continue
        whole = max(series.get(total) or (0.0,)) if total else 0.0
        top = whole or (100.0 if name == "processor" else max(values))
        rows.append(
            {
                "what": words,
                "last": written(values[-1]) + (f" of {written(whole)}" if whole else ""),
                "lowest": written(min(values)),
                "mean": written(sum(values) / len(values)),
                "highest": written(max(values)),
                "curve": curve(at, values, since, until, top),
            }
        )
    return {**shown, "load": rows}


def _seconds(moment: object, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return float(otherwise)
