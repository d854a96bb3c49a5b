"""``hsctl dns``: the name servers, their roles, and moves of zones to where these want them."""

from collections.abc import Mapping
from typing import Any

import click

from controller.client.errors import UsageError
from controller.hsctl import server_views, zone_move_views
from controller.hsctl.verbs import follows, reads, session, writes
from controller.hsctl.zone_moves import follow_move, follow_newest


@click.group()
def dns() -> None:
    """Name servers: who is master and slave of zones, and for whom.

    \b
    hsctl dns roles --master ns1.example.net --slave1 ns2.example.net
    hsctl dns apply --dry-run
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

    Zones that exist stay where they are until `hsctl dns apply`. Servers that are used by other
    customers keep their roles.

    \b
    hsctl dns roles --master ns1.example.net --slave1 ns2.example.net
    hsctl dns roles --none
    """
    if chance == bool(master or slave1 or slave2):
        raise UsageError("name a master and its slaves, or say --none")
    return {"master": master, "slave1": slave1, "slave2": slave2}


@dns.command()
@click.option("--allow-fewer", is_flag=True, help="Even where zones come to be on fewer servers.")
@writes(
    "dns.apply",
    "zones go to the servers that the roles name",
    view=zone_move_views.begun,
    then=lambda _: follow_newest(session().client),
)
def apply(*, allow_fewer: bool) -> Mapping[str, Any]:
    """Move existing zones to the servers where the roles want them.

    No zone is unanswered meanwhile: its new master serves it first, then the others take it from
    there. A server that leaves a zone answers for it until its old NS records have run out. Ctrl-C
    leaves the move going on; zones whose delegation is to be changed at the parent are listed.

    \b
    hsctl dns apply --dry-run
    hsctl dns apply
    """
    return {"allow_fewer": allow_fewer}


@dns.command()
@reads("dns.moves", paged=True, view=zone_move_views.move_row, empty="no zones were moved")
def moves() -> Mapping[str, Any]:
    """List the moves of zones, the newest first.

    \b
    hsctl dns moves
    """
    return {}


@dns.command()
@click.argument("move", type=click.IntRange(min=1))
@reads("dns.progress", view=zone_move_views.move)
def progress(move: int) -> Mapping[str, Any]:
    """Show how far a move of zones is, and what zones wait for.

    \b
    hsctl dns progress 3
    """
    return {"id": move}


@dns.command()
@follows("dns.progress", "MOVE")
def watch(id: int) -> int:
    """Follow a move of zones until all of them are on their new servers. Ctrl-C only stops looking.

    \b
    hsctl dns watch 3
    """
    return follow_move(session().client, id)


@dns.command()
@click.argument("move", type=click.IntRange(min=1))
@writes("dns.stop", "move {id} takes no more zones")
def stop(move: int) -> Mapping[str, Any]:
    """Have a move take no more zones; those on their way come to their new servers.

    \b
    hsctl dns stop 3
    """
    return {"id": move}
