"""``hsctl dns``: the name servers and their roles."""

from collections.abc import Mapping
from typing import Any

import click

from controller.client.errors import UsageError
from controller.hsctl import server_views
from controller.hsctl.verbs import reads, writes


@click.group()
def dns() -> None:
    """Name servers: who is master and slave of new zones, and for whom.

    \b
    hsctl dns roles --master ns1.example.net --slave1 ns2.example.net
    hsctl lserver set ns3.example.net used_by=resellers
    """


@dns.command()
@reads("dns.show", view=server_views.dns)
def show() -> Mapping[str, Any]:
    """Show the name servers, their roles and zones, and where new zones go.

    \b
    hsctl dns show
    """
    return {}


@dns.command()
@click.option("--master", default="", metavar="S", help="The master of new zones.")
@click.option("--slave1", default="", metavar="S", help="A slave of new zones.")
@click.option("--slave2", default="", metavar="S", help="Another one.")
@click.option("--none", "chance", is_flag=True, help="Take all roles: draw them for each zone.")
@writes("dns.roles", "roles of name servers for new zones changed", view=server_views.dns)
def roles(master: str, slave1: str, slave2: str, chance: bool) -> Mapping[str, Any]:
    """Give name servers their roles for new zones; servers that are not named lose theirs.

    Zones that exist stay where they are. Servers that are used by other customers keep their roles.

    \b
    hsctl dns roles --master ns1.example.net --slave1 ns2.example.net
    hsctl dns roles --none
    """
    if chance == bool(master or slave1 or slave2):
        raise UsageError("name a master and its slaves, or say --none")
    return {"master": master, "slave1": slave1, "slave2": slave2}
