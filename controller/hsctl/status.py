"""``hsctl status``: the cluster at a glance."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl.verbs import reads


@click.command()
@reads("status.show")
def status() -> Mapping[str, Any]:
    """Show the state of the cluster: boxes with intent and condition, lanes, counts.

    \b
    hsctl status
    hsctl status -o json
    """
    return {}
