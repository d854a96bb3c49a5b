"""Following a move of an address until all names the new one, and the exit code it comes to."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from controller.client import exit_codes
from controller.client.client import Client
from controller.hsctl.address_move_views import far
from controller.hsctl.following import POLL, STUCK_SECONDS, follow
from controller.hsctl.terminal import moment, say
from controller.hsctl.waiting import Verdict

Move = Mapping[str, Any]


def judge(move: Move) -> Verdict | None:
    """Say how a move ended, None while it goes on. Pure.

    While the old address only answers until nobody keeps it, all is on the new one already.
    """
    if move["failed"]:
        return Verdict(exit_codes.NOT_APPLIED, f"{far(move)}; {move['waiting']}")
    if move["state"] == "stopped" and move["ended_at"] is not None:
        return Verdict(exit_codes.NOT_APPLIED, f"it was given up: {move['old']} stays")
    if move["ended_at"] is not None or move["phase"] == "retiring":
        return Verdict(exit_codes.DONE, f"{move['logical_server']} answers on {move['new']} alone")
    if move["old_until"] is not None:
        words = f"{move['logical_server']} answers on {move['new']}, and on {move['old']} until "
        return Verdict(exit_codes.DONE, words + moment(move["old_until"]))
    return None


def follow_newest(client: Client) -> int:
    """Follow the move that was begun last."""
    (newest, *_) = client.read("ip.moves", {"limit": 1})["items"]
    return follow_move(client, newest["id"])


def follow_move(
    client: Client,
    move: int,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Show how far a move is until its old address only runs out, or it is stuck; give the code."""
    return follow(lambda: _end_of(client, move, now, pause), move, f"hsctl ip watch {move}")


def _end_of(
    client: Client, move: int, now: Callable[[], float], pause: Callable[[float], None]
) -> Verdict:
    moved_at, seen = now(), ""
    while True:
        state = client.read("ip.progress", {"id": move})
        verdict = judge(state)
        if verdict is not None:
            return verdict
        words = far(state)
        if words != seen:
            say(words)
            moved_at, seen = now(), words
        if now() - moved_at >= STUCK_SECONDS:
            return Verdict(exit_codes.NOT_KNOWN_LIVE, f"{words}; {state['waiting']}")
        pause(POLL)
