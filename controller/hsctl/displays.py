"""What is shown while a change goes live: a line for each lane, live on a terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

from controller.hsctl.lanes import Lane, LaneSum, sums, where
from controller.hsctl.terminal import mark, paint, say, write
from controller.printable import clean

if TYPE_CHECKING:
    from rich.text import Text

_COLOURS = {"good": "green", "bad": "red", "stuck": "red", "moving": "yellow"}
_MOST_LINES = 12
"""A change may touch a thousand lanes, and a terminal that scrolls cannot be drawn anew."""


class Display(Protocol):
    """Shows lanes while they move, and one line in the end."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End: what was drawn is taken away again."""

    def show(self, lanes: Sequence[Lane]) -> None:
        """Show how far the lanes are."""

    def note(self, text: str) -> None:
        """Tell something beside them."""


def settle(sign: str, text: str) -> None:
    """Print the line that all comes to, with its mark where a person looks."""
    if sys.stderr.isatty():
        write(f"{paint(mark(sign, sys.stderr), _COLOURS[sign])} {clean(text)}", err=True)
    else:
        say(text)


def chosen() -> Display:
    """Give the display for where stderr goes."""
    return TerminalDisplay() if sys.stderr.isatty() else LineDisplay()


class LineDisplay:
    """For logs and pipes: a line for each lane once it came to rest, none for its steps."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], str] = {}
        self._announced = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, lanes: Sequence[Lane]) -> None:
        """Print the lanes that came to rest since the last time."""
        found = sums(lanes)
        if not self._announced and any(lane.mark == "moving" for lane in found):
            say(f"waiting for {where(lanes)}")
        self._announced = True
        for lane in found:
            key = (lane.box, lane.logical_server)
            if lane.mark != "moving" and self._shown.get(key) != lane.words:
                self._shown[key] = lane.words
                say(f"{lane.box} {lane.words}")

    def note(self, text: str) -> None:
        """Print a line."""
        say(text)


class TerminalDisplay:
    """Lines that are drawn anew while lanes move. Imports rich, which only a terminal needs."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        # Now: while it is drawing, rich stands in the place of stderr, and has no encoding.
        self._marks = {name: mark(name, sys.stderr) for name in _COLOURS}
        self._live = Live(
            console=Console(stderr=True, highlight=False), refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, lanes: Sequence[Lane]) -> None:
        """Draw the lanes anew: the ones that are not live first where there are too many."""
        from rich.text import Text

        found = sums(lanes)
        left_out = ""
        if len(found) > _MOST_LINES:
            found = sorted(found, key=lambda lane: lane.state == "live")
            live = sum(lane.state == "live" for lane in found)
            left_out = f"  {live} of {len(found)} lanes are live"
            found = found[:_MOST_LINES]
        width = max((len(clean(lane.box)) for lane in found), default=0)
        drawn = [self._drawn(lane, width) for lane in found]
        if left_out:
            drawn.append(Text(left_out))
        self._live.update(Text("\n").join(drawn), refresh=True)

    def _drawn(self, lane: LaneSum, width: int) -> "Text":
        from rich.text import Text

        return Text.assemble(
            (f"{self._marks[lane.mark]} ", _COLOURS[lane.mark]),
            f"{clean(lane.box):{width}}  {clean(lane.words)}",
            no_wrap=True,
            overflow="ellipsis",
        )

    def note(self, text: str) -> None:
        """Print a line above the lanes."""
        from rich.text import Text

        self._live.console.print(Text(clean(text)))
