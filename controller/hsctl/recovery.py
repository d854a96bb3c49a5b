"""``hsctl recover``: going on with boxes that know more than the database."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl.verbs import confirm, writes


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
@writes("lserver.recover", "{name}: going on ({mode})")
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
