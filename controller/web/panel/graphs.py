"""The graphs of a box's load: which there are, and the samples made ready for them. Pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal

import attrs

from controller.web.panel.wording import size

Kind = Literal["percent", "number", "size", "flow"]
Column = list[float | None]

MOST_POINTS = 480
"""Points of a graph: more than a screen shows beside each other would only be carried."""
TABLE_ROWS = 12
GAP_STEPS = 3
"""A pause of this many usual steps between samples is a gap: nothing is drawn over it."""


@attrs.frozen
class Graph:
    """One graph: its series with their words, what they are measured in, the series of the top."""

    title: str
    series: tuple[tuple[str, str], ...]
    kind: Kind
    top: str = ""


GRAPHS = (
    Graph("Processor", (("processor", "In use"),), "percent"),
    Graph("Load", (("load", "Average of a minute"),), "number"),
    Graph("Memory", (("memory_used", "In use"),), "size", "memory_total"),
    Graph("Disk space", (("disk_used", "In use"),), "size", "disk_total"),
    Graph("Disk traffic", (("disk_read", "Read"), ("disk_written", "Written")), "flow"),
    Graph("Network", (("net_received", "Received"), ("net_sent", "Sent")), "flow"),
)


def written(kind: Kind, value: float | None) -> str:
    """Write a value for people."""
    if value is None:
        return "none"
    if kind == "percent":
        return f"{value:.0f} %"
    if kind == "number":
        return f"{value:.2f}"
    return size(value) if kind == "size" else f"{size(value)}/s"


def thin(
    at: Sequence[int], columns: Sequence[Sequence[float]], most: int
) -> tuple[list[int], list[list[float]]]:
    """Give at most ``most`` points: means of as many neighbours each as that takes."""
    share = max(-(-len(at) // most), 1)
    starts = range(0, len(at), share)
    return (
        [at[start] for start in starts],
        [
            [sum(part) / len(part) for start in starts if (part := column[start : start + share])]
            for column in columns
        ],
    )


def with_gaps(
    at: Sequence[int], columns: Sequence[Sequence[float]]
) -> tuple[list[int], list[Column]]:
    """Put an empty point into each pause, so that no line is drawn over what nobody measured."""
    pauses = sorted(after - before for before, after in pairwise(at))
    longest = GAP_STEPS * pauses[len(pauses) // 2] if pauses else 0
    moments: list[int] = []
    filled: list[Column] = [[] for _ in columns]
    for place, moment in enumerate(at):
        if moments and moment - moments[-1] > longest:
            moments.append(moments[-1] + 1)
            for column in filled:
                column.append(None)
        moments.append(moment)
        for column, values in zip(filled, columns, strict=True):
            column.append(values[place])
    return moments, filled


def drawn(load: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the page shows of the answer of ``pserver.load``."""
    names = list(load["series"])
    at, columns = thin(load["at"], [load["series"][name] for name in names], MOST_POINTS)
    moments, filled = with_gaps(at, columns)
    given = {
        "at": moments,
        "series": {
            name: [None if one is None else round(one, 2) for one in column]
            for name, column in zip(names, filled, strict=True)
        },
        "since": _seconds(load["since"]),
        "until": _seconds(load["until"]),
        "span": load["span"],
    }
    rows_at, rows = thin(load["at"], [load["series"][name] for name in names], TABLE_ROWS)
    by_name = dict(zip(names, rows, strict=True))
    return {
        "graphs": [_shown(graph, load["series"]) for graph in GRAPHS],
        "data": json.dumps(given, separators=(",", ":")),
        "rows": [
            {
                "at": datetime.fromtimestamp(moment, UTC).isoformat(),
                "cells": [
                    (
                        graph.title,
                        " / ".join(
                            written(graph.kind, by_name[name][place]) for name, _ in graph.series
                        ),
                    )
                    for graph in GRAPHS
                ],
            }
            for place, moment in reversed(list(enumerate(rows_at)))
        ],
    }


def _shown(graph: Graph, series: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    top = max(series[graph.top], default=0.0) if graph.top else 0.0
    if graph.kind == "percent":
        top = 100.0
    values = [value for name, _ in graph.series for value in series[name]]
    last = " / ".join(written(graph.kind, series[name][-1]) for name, _ in graph.series if values)
    return {
        "title": graph.title,
        "names": " ".join(name for name, _ in graph.series),
        "words": [words for _, words in graph.series],
        "kind": graph.kind,
        "top": top,
        "last": f"{last} of {written(graph.kind, top)}" if graph.top and values else last,
        "range": f"{written(graph.kind, min(values))} to {written(graph.kind, max(values))}"
        if values
        else "",
    }


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
