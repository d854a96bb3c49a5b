"""Zone serials: 32-bit numbers on a circle (RFC 1982). Ours only ever grow."""

MODULUS = 2**32
_HALF = 2**31


def is_newer(left: int, right: int) -> bool:
    """Tell whether serial ``left`` is after ``right`` (RFC 1982 section 3.2).

    Two serials exactly half the circle apart have no order: False both ways.
    """
    return left != right and 0 < (left - right) % MODULUS < _HALF


def at_least(left: int, right: int) -> bool:
    """Tell whether ``left`` is ``right`` or after it."""
    return left == right or is_newer(left, right)


def next_serial(current: int, now: int) -> int:
    """Give the serial after ``current``: the time in seconds since the epoch, or one more.

    The time is taken so that a zone that was removed and added again, or a controller restored
    from a backup, does not hand out serials that secondaries have already seen. Zero is skipped:
    some secondaries read it as "none".
    """
    clock = now % MODULUS
    if clock and is_newer(clock, current):
        return clock
    return (current + 1) % MODULUS or 1
