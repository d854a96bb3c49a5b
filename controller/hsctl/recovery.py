"""``hsctl recover``: going on with boxes that know more than the database."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.client.client import Client
from controller.hsctl import displays
from controller.hsctl.following import POLL
from controller.hsctl.verbs import confirm, session, writes
from controller.hsctl.waiting import Verdict

_PATIENCE = 60.0
"""Seconds until the boxes have gone on."""


@click.command()
@click.argument("lserver")
@click.option(
    "--adopt",
    "mode",
    flag_value="adopt",
    help="The boxes keep what they have, and get what they lack.",
)
@click.option(
    "--overwrite",
    "mode",
    flag_value="overwrite",
    help="The boxes get what the database says, and lose what it does not know.",
)
@click.option(
    "--removed",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="With --overwrite: how many objects may go, where that was asked.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@writes(
    "lserver.recover",
    "{name}: going on ({mode})",
    first=lambda fields: follow_recovery(session().client, str(fields["name"])),
)
def recover(lserver: str, mode: str | None, removed: int | None, yes: bool) -> Mapping[str, Any]:
    """Go on with a logical server whose boxes are ahead, after the restore of an older backup.

    Nothing is sent to such a box, and nothing deleted there, until you say which side is right. A
    server that was adopted can be overwritten later, once.

    \b
    hsctl recover ns1.example.net --adopt
    hsctl recover ns1.example.net --overwrite
    """
    if mode is None:
        raise click.UsageError("which side is right? --adopt (the boxes) or --overwrite")
    if removed is not None and mode == "adopt":
        raise click.UsageError("--removed goes with --overwrite: --adopt removes nothing")
    if mode == "overwrite":
        confirm(f"Overwrite what the boxes of {lserver} hold with what the database says?", yes)
    return {"name": lserver, "mode": mode, "removed": removed}


def follow_recovery(
    client: Client,
    name: str,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Wait until what the boxes of a server hold was compared; give the exit code.

    Only then is it known whether an overwrite would remove so much that it is held back: that is
    told, and nothing can be live before it was confirmed.
    """
    until = now() + _PATIENCE
    try:
        while (verdict := judge(client.read("lserver.show", {"name": name}))) is None:
            if now() >= until:
                words = "not known to have gone on; hsctl status shows it"
                verdict = Verdict(exit_codes.NOT_KNOWN_LIVE, words)
                break
            pause(POLL)
    except KeyboardInterrupt:
        verdict = Verdict(exit_codes.NOT_KNOWN_LIVE, "it goes on; hsctl status shows it")
    if verdict.exit_code != exit_codes.DONE:
        displays.settle("stuck", f"{name}: {verdict.words}")
    return verdict.exit_code


def judge(server: Mapping[str, Any]) -> Verdict | None:
    """Say how a recovery ended by the lanes of its server; None while they are compared."""
    lanes = server["lanes"]
    if any(lane["connected"] and lane["condition"] == "behind" for lane in lanes):
        return None
    words = [
        f"{lane['pserver']} is {lane['condition']}: {lane['message']}"
        if lane["connected"]
        else f"{lane['pserver']} is not connected"
        for lane in lanes
        if lane["condition"] != "ok" or not lane["connected"]
    ]
    if words:
        return Verdict(exit_codes.NOT_KNOWN_LIVE, "; ".join(words))
    return Verdict(exit_codes.DONE, "")
