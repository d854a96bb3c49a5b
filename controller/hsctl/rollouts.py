"""``hsctl rollout``: settings for all servers of a type, in waves."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.client.client import Client
from controller.hsctl import views
from controller.hsctl.following import POLL, STUCK_SECONDS, follow
from controller.hsctl.servers import pairs
from controller.hsctl.terminal import say
from controller.hsctl.verbs import follows, reads, session, writes
from controller.hsctl.waiting import Verdict


@click.group()
def rollout() -> None:
    """Settings for all logical servers of a type, in waves: a few first, and a pause on failure.

    \b
    hsctl rollout set apache timeout=45
    hsctl rollout list
    hsctl rollout resume 2
    """


@rollout.command("set")
@click.argument("type")
@click.argument("given", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option(
    "--waves",
    default="1,10%,rest",
    show_default=True,
    metavar="SIZES",
    help="Servers of each wave: a number, a share, the rest.",
)
@writes(
    "rollout.begin",
    "servers of the type {type} are changed in waves",
    view=views.plain,
    then=lambda _: follow_newest(session().client),
)
def set_settings(type: str, given: tuple[str, ...], waves: str) -> Mapping[str, Any]:
    """Change settings of every logical server of a type, wave after wave.

    Servers with the fewest customers come first. A wave follows once the one before was seen live
    on every box; on the first failure the rollout pauses, and no other server is changed. Ctrl-C
    leaves it going on.

    \b
    hsctl rollout set apache timeout=45 --dry-run
    hsctl rollout set apache timeout=45 --waves 1,5,25%,rest
    """
    return {"type": type, "settings": pairs(given), "waves": waves.split(",")}


@rollout.command("list")
@reads(
    "rollout.list",
    view=dict,  # whole: its number is its name
    columns=("id", "started_at", "by", "type", "settings", "waves", "written", "state", "message"),
    paged=True,
    empty="no rollouts",
)
def list_rollouts() -> Mapping[str, Any]:
    """List rollouts, the newest first.

    \b
    hsctl rollout list
    """
    return {}


@rollout.command()
@click.argument("id", type=click.IntRange(min=1))
@reads("rollout.show")
def show(id: int) -> Mapping[str, Any]:
    """Show a rollout: the servers of each wave, how many waves are written, what it waits for.

    \b
    hsctl rollout show 2
    """
    return {"id": id}


@rollout.command()
@follows("rollout.show")
def watch(id: int) -> int:
    """Follow a rollout until it has ended or pauses. Ctrl-C only stops looking.

    \b
    hsctl rollout watch 2
    """
    return follow_rollout(session().client, id)


@rollout.command()
@click.argument("id", type=click.IntRange(min=1))
@click.option("--past-failure", is_flag=True, help="Whatever became of the wave that failed.")
@writes("rollout.resume", "rollout {id} goes on", view=views.nothing)
def resume(id: int, *, past_failure: bool) -> Mapping[str, Any]:
    """Have a paused rollout go on, once what failed was mended.

    \b
    hsctl rollout resume 2
    hsctl rollout resume 2 --past-failure
    """
    return {"id": id, "past_failure": past_failure}


@rollout.command()
@click.argument("id", type=click.IntRange(min=1))
@writes("rollout.stop", "rollout {id} ended", view=views.nothing)
def stop(id: int) -> Mapping[str, Any]:
    """End a rollout: servers that have the settings keep them, no others get them.

    \b
    hsctl rollout stop 2
    """
    return {"id": id}


def judge(state: Mapping[str, Any]) -> Verdict | None:
    """Say how a rollout ended, None while it goes on. Pure."""
    words = f"{state['written']} of {len(state['waves'])} waves"
    if state["state"] == "done":
        return Verdict(exit_codes.DONE, f"{words} are live")
    if state["state"] == "running":
        return None
    told = f": {state['message']}" if state["message"] else ""
    on = f"; hsctl rollout resume {state['id']} goes on" if state["state"] == "paused" else ""
    return Verdict(exit_codes.NOT_APPLIED, f"{words} were sent, it is {state['state']}{told}{on}")


def follow_newest(client: Client) -> int:
    """Follow the rollout that was begun last."""
    (newest, *_) = client.read("rollout.list", {"limit": 1})["items"] or [None]
    return exit_codes.DONE if newest is None else follow_rollout(client, newest["id"])


def follow_rollout(
    client: Client,
    number: int,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Tell of each wave until the rollout has ended or nothing moves; give the exit code."""
    return follow(
        lambda: _end_of(client, number, now, pause),
        number,
        f"hsctl rollout watch {number}",
        what="rollout",
    )


def _end_of(
    client: Client, number: int, now: Callable[[], float], pause: Callable[[float], None]
) -> Verdict:
    moved_at, seen = now(), -1
    while True:
        state = client.read("rollout.show", {"id": number})
        if state["written"] != seen:
            seen, moved_at = state["written"], now()
            if seen:
                say(f"wave {seen} of {len(state['waves'])} (change {state['change']})")
        verdict = judge(state)
        if verdict is not None:
            return verdict
        if now() - moved_at >= STUCK_SECONDS:
            told = state["message"] or "nothing moves"
            return Verdict(exit_codes.NOT_KNOWN_LIVE, f"wave {seen} is not live: {told}")
        pause(POLL)
