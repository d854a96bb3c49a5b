"""Following a change until it is live: what is shown meanwhile, and the exit code it comes to."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from controller.client import exit_codes
from controller.client.client import Client
from controller.client.errors import ConnectionFailedError
from controller.hsctl import displays
from controller.hsctl.lanes import BAD, MOVING, STUCK, Lane, line, sums, where

_POLL = 20.0
_GRACE = 5.0
"""Seconds given to lanes that are still moving once another one is known not to."""


@attrs.frozen
class Followed:
    """A change to follow: its id, what it did in words, and how to go on watching it."""

    id: int
    words: str
    watch: str
    cluster: str = ""

    @property
    def named(self) -> str:
        """The change with its cluster, for the end of a sentence."""
        return f"change {self.id} on {self.cluster}" if self.cluster else f"change {self.id}"


@attrs.frozen
class Verdict:
    """How a wait ended: the exit code, and why in one line."""

    exit_code: int
    words: str


def judge(state: Mapping[str, Any]) -> Verdict | None:
    """Say how the change ended; None while it has not. Unknown is never done."""
    lanes: Sequence[Lane] = state["lanes"]
    if state["state"] == "done":
        return Verdict(exit_codes.DONE, f"live on {where(lanes)}" if lanes else "")
    if state["state"] == "failed":
        bad = "; ".join(line(lane) for lane in lanes if lane["state"] in BAD)
        return Verdict(exit_codes.NOT_APPLIED, bad or "a box could not apply it")
    return None


def _given_up(lanes: Sequence[Lane], stuck_for: float) -> Verdict | None:
    """Say that waiting on is of no use now; None while it may be.

    ``stuck_for`` are the seconds since a lane was first seen lost or held.
    """
    stuck = [lane for lane in lanes if lane["state"] in STUCK]
    moving = any(lane["state"] in MOVING for lane in lanes)
    if stuck and (not moving or stuck_for >= _GRACE):
        return Verdict(exit_codes.NOT_KNOWN_LIVE, "; ".join(line(lane) for lane in stuck))
    return None


def follow(
    client: Client,
    change: Followed,
    timeout: float,
    *,
    patient: bool = False,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    display: displays.Display | None = None,
) -> int:
    """Wait until ``change`` is live, has failed, is stuck or ``timeout`` seconds are over.

    ``patient``: it being stuck, on a box that is lost or a lane that is held, ends nothing.
    A controller that goes away meanwhile is asked again until time is up. Ctrl-C says how to go on.
    """
    try:
        with display or displays.chosen() as shown:
            verdict = _await(client, change.id, timeout, shown, patient, now=now, pause=pause)
    except KeyboardInterrupt:
        displays.settle("moving", f"{change.named} goes on; follow it with: {change.watch}")
        return exit_codes.NOT_KNOWN_LIVE
    _settle(change, verdict)
    return verdict.exit_code


def _await(
    client: Client,
    change: int,
    timeout: float,
    shown: displays.Display,
    patient: bool,
    *,
    now: Callable[[], float],
    pause: Callable[[float], None],
) -> Verdict:
    until = now() + timeout
    seen = ""
    lanes: Sequence[Lane] = ()
    stuck_since: float | None = None
    lost = ""
    while True:
        left = max(0.0, until - now())
        try:
            # What is not seen yet is asked for at once, what follows as soon as it moves.
            wait = min(left, _POLL if stuck_since is None else 1.0) if seen else 0.0
            state = client.read(
                "change.show", {"id": change, "wait": f"{wait:.3f}", "seen": seen or None}
            )
        except ConnectionFailedError as error:
            if error.message != lost:
                lost = error.message
                shown.note(f"{lost}; asking again")
            if left <= 0:
                return _not_in_time(timeout, lanes)
            pause(min(0.5, left))
            continue
        lost = ""
        seen = state["seen"]
        lanes = state["lanes"]
        shown.show(lanes)
        if not patient and any(lane["state"] in STUCK for lane in lanes):
            stuck_since = now() if stuck_since is None else stuck_since
        else:
            stuck_since = None
        verdict = judge(state)
        if verdict is None and stuck_since is not None:
            verdict = _given_up(lanes, now() - stuck_since)
        if verdict is not None:
            return verdict
        if now() >= until:
            return _not_in_time(timeout, lanes)


def _not_in_time(timeout: float, lanes: Sequence[Lane]) -> Verdict:
    behind = [f"{lane.box} {lane.words}" for lane in sums(lanes) if lane.mark != "good"]
    some = f" ({'; '.join(behind[:4])})" if behind else ""
    return Verdict(exit_codes.NOT_KNOWN_LIVE, f"not known to be live after {timeout:g} s{some}")


def _settle(change: Followed, verdict: Verdict) -> None:
    """Print the one line that a write comes to."""
    if verdict.exit_code == exit_codes.DONE:
        live = f": {verdict.words}" if verdict.words else ""
        displays.settle("good", f"{change.words}{live} [{change.named}]")
    elif verdict.exit_code == exit_codes.NOT_APPLIED:
        displays.settle(
            "bad",
            f"{change.words}, but not live everywhere: {verdict.words}; "
            f"hsctl fault list shows it [{change.named}]",
        )
    else:
        displays.settle(
            "stuck",
            f"{change.words}, but {verdict.words}; it goes on by itself, "
            f"{change.watch} follows it [{change.named}]",
        )
