"""Following a change until it is live: what is shown meanwhile, and the exit code it comes to."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import attrs

from controller.hsctl import exit_codes
from controller.hsctl.client import Client
from controller.hsctl.errors import ConnectionFailedError
from controller.hsctl.terminal import cell, say

_POLL = 20.0
_GRACE = 5.0
"""Seconds given to lanes that are still moving once another one is known not to."""
_STUCK = frozenset(("held", "unknown"))
_MOVING = frozenset(("sending", "stored", "waiting"))

Lane = Mapping[str, Any]


class Display(Protocol):
    """Shows lanes while they move."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def show(self, lanes: Sequence[Lane]) -> None:
        """Show how far the lanes are."""

    def note(self, text: str) -> None:
        """Tell something beside them."""


@attrs.frozen
class Verdict:
    """How a wait ended: the exit code, and why in one line."""

    exit_code: int
    words: str


def judge(state: Mapping[str, Any], stuck_for: float) -> Verdict | None:
    """Say whether the wait is over; None to go on.

    ``stuck_for`` are the seconds since a lane was first seen lost or held. Unknown is never done.
    """
    lanes: Sequence[Lane] = state["lanes"]
    if state["state"] == "done":
        return Verdict(exit_codes.DONE, "live everywhere")
    if state["state"] == "failed":
        bad = [lane for lane in lanes if lane["state"] in ("failed", "quarantined")]
        return Verdict(exit_codes.NOT_APPLIED, "; ".join(_line(lane) for lane in bad) or "failed")
    stuck = [lane for lane in lanes if lane["state"] in _STUCK]
    moving = any(lane["state"] in _MOVING for lane in lanes)
    if stuck and (not moving or stuck_for >= _GRACE):
        return Verdict(
            exit_codes.NOT_KNOWN_LIVE,
            f"{'; '.join(_line(lane) for lane in stuck)}. It goes on when the box is back",
        )
    return None


def follow(
    client: Client,
    change: int,
    timeout: float,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    display: Display | None = None,
) -> int:
    """Wait until ``change`` is live, has failed, is stuck or ``timeout`` seconds are over.

    A controller that goes away meanwhile is asked again until time is up. Ctrl-C says how to go on.
    """
    until = now() + timeout
    seen = ""
    stuck_since: float | None = None
    with display or _display() as shown:
        try:
            while True:
                left = max(0.0, until - now())
                try:
                    # What is not seen yet is asked for at once, what follows as soon as it moves.
                    wait = min(left, _POLL if stuck_since is None else 1.0) if seen else 0.0
                    state = client.read(
                        "change.show", {"id": change, "wait": f"{wait:.3f}", "seen": seen or None}
                    )
                except ConnectionFailedError as error:
                    shown.note(f"{error.message}; asking again")
                    if left <= 0:
                        return _end(shown, change, _not_in_time(timeout))
                    pause(min(0.5, left))
                    continue
                seen = state["seen"]
                shown.show(state["lanes"])
                if any(lane["state"] in _STUCK for lane in state["lanes"]):
                    stuck_since = now() if stuck_since is None else stuck_since
                else:
                    stuck_since = None
                verdict = judge(state, 0.0 if stuck_since is None else now() - stuck_since)
                if verdict is None and now() >= until:
                    verdict = _not_in_time(timeout)
                if verdict is not None:
                    return _end(shown, change, verdict)
        except KeyboardInterrupt:
            shown.note(f"change {change} goes on; follow it with: hsctl change watch {change}")
            return exit_codes.NOT_KNOWN_LIVE


def _not_in_time(timeout: float) -> Verdict:
    return Verdict(exit_codes.NOT_KNOWN_LIVE, f"not known to be live after {timeout:g} s")


def _end(display: Display, change: int, verdict: Verdict) -> int:
    line = f"change {change}: {verdict.words}"
    if verdict.exit_code == exit_codes.NOT_KNOWN_LIVE:
        line += f"; hsctl change watch {change} goes on"
    display.note(line)
    return verdict.exit_code


def _line(lane: Lane) -> str:
    words = f": {lane['message']}" if lane["message"] else ""
    thing = f"{lane['kind']} {lane['key'] or lane['logical_server']}"
    return f"{lane['box']} {thing} {lane['state']}{words}"


def _display() -> Display:
    return TerminalDisplay() if sys.stderr.isatty() else LineDisplay()


class LineDisplay:
    """A line on stderr for each lane that moved: for logs and pipes."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, ...], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, lanes: Sequence[Lane]) -> None:
        """Print what moved since the last time."""
        for lane in lanes:
            key = tuple(str(lane[name]) for name in ("box", "logical_server", "kind", "key"))
            line = _line(lane)
            if self._shown.get(key) != line:
                self._shown[key] = line
                say(line)

    def note(self, text: str) -> None:
        """Print a line."""
        say(text)


class TerminalDisplay:
    """A live table on the terminal. Imports rich, which only a terminal needs."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=Console(stderr=True), refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, lanes: Sequence[Lane]) -> None:
        """Draw the lanes anew."""
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        colours = {"live": "green", "failed": "red", "quarantined": "red", "unknown": "red"}
        table = Table(box=None, pad_edge=False, show_header=False)
        for lane in lanes:
            state = lane["state"]
            table.add_row(
                *(Text(cell(lane[name])) for name in ("box", "logical_server", "kind", "key")),
                Text(cell(state), style=colours.get(state, "yellow")),
                Text(cell(lane["message"])),
            )
        self._live.update(table, refresh=True)

    def note(self, text: str) -> None:
        """Print a line above the table."""
        from rich.text import Text  # noqa: PLC0415

        self._live.console.print(Text(cell(text)))
