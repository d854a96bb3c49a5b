"""``hsctl fault``: what the boxes could not apply."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl.verbs import reads, writes


@click.group()
def fault() -> None:
    """Faults: objects that a box quarantined, failed or holds, and lanes that do not work.

    \b
    hsctl fault list
    hsctl fault retry web1.example.net
    """


@fault.command("list")
@click.argument("lserver", required=False, default="")
@reads(
    "fault.list",
    columns=("box", "logical_server", "kind", "key", "state", "message", "since"),
    paged=True,
    empty="no faults",
)
def list_faults(lserver: str) -> Mapping[str, Any]:
    """List the faults with the daemon's own words.

    \b
    hsctl fault list web1.example.net
    """
    return {"lserver": lserver}


@fault.command()
@click.argument("lserver")
@click.argument("kind", required=False, default="")
@click.argument("key", required=False, default="")
@writes("fault.retry", "boxes of {lserver} told to try again")
def retry(lserver: str, kind: str, key: str) -> Mapping[str, Any]:
    """Have the boxes of a logical server try again: all, or one object.

    \b
    hsctl fault retry web1.example.net
    hsctl fault retry web1.example.net site shop.test
    """
    return {"lserver": lserver, "kind": kind, "key": key}
