"""Following what goes on by itself, a move or a rollout, to its exit code."""

from collections.abc import Callable

from controller.client import exit_codes
from controller.hsctl import displays
from controller.hsctl.terminal import told
from controller.hsctl.waiting import Verdict

POLL = 0.5
"""Seconds between two looks."""
STUCK_SECONDS = 120.0
"""A move that came no further for so long is left to itself."""


def follow(end: Callable[[], Verdict], number: int, again: str, *, what: str = "move") -> int:
    """Show how a move (or ``what`` it is) ended, once ``end`` has seen it; give the exit code.

    ``again`` is the command that follows it anew: Ctrl-C only stops looking.
    """

    def tell() -> int:
        try:
            verdict = end()
        except KeyboardInterrupt:
            displays.settle("moving", f"the {what} goes on; follow it with: {again}")
            return exit_codes.NOT_KNOWN_LIVE
        if verdict.exit_code == exit_codes.NOT_KNOWN_LIVE:
            displays.settle("stuck", f"{verdict.words}; it goes on by itself, {again} follows it")
        else:
            sign = "good" if verdict.exit_code == exit_codes.DONE else "bad"
            displays.settle(sign, f"{verdict.words} [{what} {number}]")
        return verdict.exit_code

    return told(tell)
