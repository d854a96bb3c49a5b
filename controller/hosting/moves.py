"""What moves of zones and moves of addresses have in common."""

GRACE_SECONDS = 600
"""After the answers of before have run out everywhere, so long are they still given."""

REHEARSED = 49
"""Zones that a dry run asks boxes about for a move: with the service zone beside them, they are as
many objects as a box is asked for at a time."""
