"""``hsctl why``: which object and which change wrote a line of a file."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import change_views
from controller.hsctl.verbs import reads


@click.command()
@click.argument("box")
@click.argument("place", metavar="FILE[:LINE]")
@reads("pserver.why", view=change_views.why)
def why(box: str, place: str) -> Mapping[str, Any]:
    """Tell where a line of a file on a box comes from: the object, the change, who and when.

    The file is not read: what the box was told is rendered anew. Without a line, the newest change
    to the file's object is told.

    \b
    hsctl why ns1 /var/lib/heliosphere/lanes/ID/zones/3f/shop.test.zone:4
    """
    file, colon, line = place.rpartition(":")
    if colon and line.isascii() and line.isdigit() and len(line) < 10:
        return {"name": box, "file": file, "line": int(line)}
    return {"name": box, "file": place, "line": 0}
