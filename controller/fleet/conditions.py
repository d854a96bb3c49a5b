"""What a box is called: the words of the design (section 6), from what is known. Pure.

Panel, API and hsctl use these words and no others.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import attrs

Condition = Literal[
    "never connected",
    "connected",
    "behind",
    "held",
    "ahead",
    "blocked",
    "daemon down",
    "disk full",
    "clock skewed",
    "certificate expiring",
    "version too old",
    "duplicate identity",
    "drifted",
    "lost",
]

CERTIFICATE_DAYS = 14
"""A certificate that ends sooner should have renewed itself long ago."""
CLOCK_SECONDS = 30.0

LANES: dict[str, Condition] = {
    "ahead": "ahead",
    "daemon-down": "daemon down",
    "disk-full": "disk full",
    "blocked": "blocked",
    "held": "held",
    "behind": "behind",
}
"""What a box is called by the condition of one of its lanes."""


@attrs.frozen
class LaneFacts:
    """A lane of the box: its own condition, and how far it is."""

    condition: str
    settled: int
    server_revision: int
    drifted: int = 0
    """Files that are not as the agent wrote them."""


@attrs.frozen
class BoxFacts:
    """What is known of a box. ``clock_skew`` is in seconds; ``grace`` ends after a start of the
    controller, when silence begins to count.
    """

    first_seen: datetime | None
    connected: bool
    certificate_ends: datetime | None
    lanes: Sequence[LaneFacts]
    clock_skew: float = 0.0
    refused: Literal["", "protocol", "duplicate-identity"] = ""
    """Why a session for this box was refused lately, if it was."""
    in_grace: bool = False


def conditions(box: BoxFacts, now: datetime) -> tuple[Condition, ...]:
    """Give every word that holds, the weightiest first; ``connected`` alone means all is well."""
    if box.first_seen is None:
        return ("never connected",)
    words: list[Condition] = []
    if box.refused == "duplicate-identity":
        words.append("duplicate identity")
    if not box.connected:
        if box.refused == "protocol":
            words.append("version too old")
        if not box.in_grace:
            words.append("lost")
    held = {lane.condition for lane in box.lanes}
    words += [word for condition, word in LANES.items() if condition in held]
    if "behind" not in words and any(lane.settled < lane.server_revision for lane in box.lanes):
        words.append("behind")
    if any(lane.drifted for lane in box.lanes):
        words.append("drifted")
    if abs(box.clock_skew) > CLOCK_SECONDS:
        words.append("clock skewed")
    ends = box.certificate_ends
    if ends is not None and ends - now < timedelta(days=CERTIFICATE_DAYS):
        words.append("certificate expiring")
    if box.connected:
        words.append("connected")
    return tuple(words)
