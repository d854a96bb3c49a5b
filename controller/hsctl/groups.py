"""``hsctl group``: the server groups."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import server_views
from controller.hsctl.verbs import reads

_COLUMNS = ("group", "title", "types", "addresses", "boxes", "logical_servers", "open_for_signup")


@click.group()
def group() -> None:
    """Server groups: what may be placed on which boxes.

    \b
    hsctl group list
    """


@group.command("list")
@reads("group.list", columns=_COLUMNS, paged=True, view=server_views.group_row)
def list_groups() -> Mapping[str, Any]:
    """List the server groups with their types and what they hold.

    A type marked as modelled has rules, addresses and settings; no box runs it yet.

    \b
    hsctl group list -o json
    """
    return {}
