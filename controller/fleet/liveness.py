"""How often agents and controller speak, and when silence means that the other is gone. Pure."""

HEARTBEATS_PER_SECOND = 100.0
SHORTEST_INTERVAL = 10.0
LONGEST_INTERVAL = 120.0
SILENT_INTERVALS = 3
"""Intervals without a word after which a session ends."""
GRACE_INTERVALS = 3
"""Intervals after the controller's start before any box is called lost."""
SHORTEST_GRACE = 75.0
"""Seconds of grace after the controller's start, at least: where it was away for long, an agent
waits for half a minute between two attempts (`node_agent.connection.LONGEST_WAIT`), which may fail
once more while all the others come."""


def interval(boxes: int) -> float:
    """Give the seconds between heartbeats: all boxes together stay at a bounded rate."""
    return min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, boxes / HEARTBEATS_PER_SECOND))


def is_silent(now: float, heard: float, between: float) -> bool:
    """Whether a peer has been silent for too long."""
    return now - heard > between * SILENT_INTERVALS


def must_speak(now: float, said: float, between: float) -> bool:
    """Whether something must be said now, so that the peer does not think us gone.

    Called at every half interval, hence the half.
    """
    return now - said >= between / 2
