"""``hsctl fault``: what the boxes could not apply."""

from collections.abc import Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.hsctl import views
from controller.hsctl.verbs import reads, writes
from controller.hsctl.waiting import Verdict


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


def _told(answer: views.Answer) -> Verdict:
    words = f"boxes of {answer['logical_server']} told to try again: {answer['connected_boxes']}"
    away = ", ".join(answer["boxes_away"])
    return Verdict(exit_codes.DONE, f"{words}; not connected: {away}" if away else words)


@fault.command()
@click.argument("lserver")
@click.argument("kind", required=False, default="")
@click.argument("key", required=False, default="")
@writes("fault.retry", "boxes of {lserver} told to try again", view=views.nothing, judged=_told)
def retry(lserver: str, kind: str, key: str) -> Mapping[str, Any]:
    """Have the boxes of a logical server try again: all, or one object.

    \b
    hsctl fault retry web1.example.net
    hsctl fault retry web1.example.net site shop.test
    """
    return {"lserver": lserver, "kind": kind, "key": key}
