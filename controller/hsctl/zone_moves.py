"""Following a move of zones until all are on their new servers, and the exit code it comes to."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.client.client import Client
from controller.hsctl.following import POLL, STUCK_SECONDS, follow
from controller.hsctl.terminal import moment, say
from controller.hsctl.waiting import Verdict

Move = Mapping[str, Any]


def judge(move: Move) -> Verdict | None:
    """Say how a move ended, None while it goes on. Pure.

    Zones that wait for old NS records to run out are on their new servers already.
    """
    arrived, failed = move["moved"] + move["leaving"], move["failed"]
    if move["ended_at"] is None and (move["under_way"] or arrived + failed < move["zones"]):
        return None
    words = f"{arrived} of {move['zones']} zones are on their new servers"
    if failed:
        return Verdict(exit_codes.NOT_APPLIED, f"{words}, {failed} could not be applied on a box")
    if move["leaves_at"]:
        words += f"; those of before answer until {moment(move['leaves_at'])}"
    if move["state"] == "stopped":
        return Verdict(exit_codes.NOT_APPLIED, f"{words}; it was stopped: {move['message']}")
    return Verdict(exit_codes.DONE, words)


def follow_newest(client: Client) -> int:
    """Follow the move that was begun last, where it has not ended."""
    (newest, *_) = client.read("dns.moves", {"limit": 1})["items"] or [None]
    if newest is None or newest["ended_at"] is not None:
        return exit_codes.DONE
    return follow_move(client, newest["id"])


def follow_move(
    client: Client,
    move: int,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Show how far a move is until it has ended or nothing moves any more; give the exit code."""
    return follow(lambda: _end_of(client, move, now, pause), move, f"hsctl dns watch {move}")


def _end_of(
    client: Client, move: int, now: Callable[[], float], pause: Callable[[float], None]
) -> Verdict:
    state = client.read("dns.progress", {"id": move})
    moved_at, seen = now(), -1
    terminal = sys.stderr.isatty()
    with click.progressbar(
        length=state["zones"], label="zones", file=sys.stderr, show_pos=True, hidden=not terminal
    ) as bar:
        while True:
            arrived = state["moved"] + state["leaving"]
            if arrived != seen:
                bar.update(arrived - max(seen, 0))
                if not terminal and arrived * 10 // state["zones"] != seen * 10 // state["zones"]:
                    say(f"{arrived} of {state['zones']} zones moved")
                moved_at, seen = now(), arrived
            verdict = judge(state)
            if verdict is not None:
                return verdict
            if now() - moved_at >= STUCK_SECONDS:
                return Verdict(exit_codes.NOT_KNOWN_LIVE, _stuck(state))
            pause(POLL)
            state = client.read("dns.progress", {"id": move})


def _stuck(state: Move) -> str:
    words = "; ".join(f"{one['zone']}: {one['message']}" for one in state["waiting"][:3])
    far = f"{state['moved']} of {state['zones']} zones moved, and nothing moves"
    return f"{far}: {words}" if words else far
