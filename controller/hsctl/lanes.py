"""The lanes of a change in words: one line for each lane, however many objects it touched."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

Lane = Mapping[str, Any]
"""One object of a change on one lane, as the API tells it."""

STUCK = frozenset(("held", "unknown"))
MOVING = frozenset(("sending", "stored", "waiting"))
BAD = frozenset(("failed", "quarantined"))

_WEIGHT = ("failed", "quarantined", "unknown", "held", "waiting", "stored", "sending", "live")
_WORDS = {"stored": "applying", "waiting": "waiting", "sending": "sending"}


@attrs.frozen
class LaneSum:
    """One lane: its weightiest state, and how many of its objects are live."""

    box: str
    logical_server: str
    state: str
    live: int
    objects: int
    message: str

    @property
    def mark(self) -> str:
        """The name of the sign that stands before it."""
        if self.state in BAD:
            return "bad"
        if self.state in STUCK:
            return "stuck"
        return "good" if self.state == "live" else "moving"

    @property
    def words(self) -> str:
        """Its state for a person."""
        text = _WORDS.get(self.state, self.state)
        if self.objects > 1 and self.state != "live":
            text += f" ({self.live} of {self.objects} live)"
        return f"{text}: {self.message}" if self.message else text


def sums(lanes: Sequence[Lane]) -> list[LaneSum]:
    """Sum objects up, lane by lane, in the order in which the lanes came."""
    groups: dict[tuple[str, str], list[Lane]] = {}
    for lane in lanes:
        groups.setdefault((str(lane["box"]), str(lane["logical_server"])), []).append(lane)
    return [_sum(box, server, parts) for (box, server), parts in groups.items()]


def _sum(box: str, server: str, parts: Sequence[Lane]) -> LaneSum:
    state = next(
        (word for word in _WEIGHT if any(part["state"] == word for part in parts)),
        str(parts[0]["state"]),
    )
    told = [str(part["message"]) for part in parts if part["state"] == state and part["message"]]
    live = sum(part["state"] == "live" for part in parts)
    return LaneSum(box, server, state, live, len(parts), told[0] if told else "")


def line(lane: Lane) -> str:
    """Say of one object where it is, how far, and why."""
    words = f": {lane['message']}" if lane["message"] else ""
    thing = f"{lane['kind']} {lane['key'] or lane['logical_server']}"
    return f"{lane['box']} {thing} {lane['state']}{words}"


def where(lanes: Sequence[Lane]) -> str:
    """Name the boxes, as many as fit a sentence."""
    boxes = list(dict.fromkeys(str(lane["box"]) for lane in lanes))
    if len(boxes) > 4:
        return f"{len(boxes)} boxes"
    return f"{', '.join(boxes[:-1])} and {boxes[-1]}" if len(boxes) > 1 else boxes[0]
