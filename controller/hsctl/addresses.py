"""``hsctl ip``: addresses of logical servers."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import address_move_views, views
from controller.hsctl.address_moves import follow_move, follow_newest
from controller.hsctl.verbs import deletes, follows, reads, session, writes

_TYPES = click.Choice(["shared", "dedicated", "service", "dns-reseller", "outgoing", "bouncing"])
_port = click.option("--port", type=int, metavar="N", help="Its port; the service type's own else.")


@click.group()
def ip() -> None:
    """IP addresses of logical servers.

    \b
    hsctl ip add web1.example.net --from 192.0.2.11 --mask 24 --type shared
    """


@ip.command()
@click.argument("lserver")
@click.option(
    "--from", "first", required=True, metavar="A", help="The address, or a range's first."
)
@click.option("--to", "last", default="", metavar="B", help="The last address of a range.")
@click.option("--mask", required=True, metavar="M", help="255.255.255.0, or a prefix: 24.")
@click.option("--type", "type_", required=True, type=_TYPES)
@click.option("--tag", type=int, metavar="N", help="Tag of a shared address (2).")
@_port
@writes("ip.add", "addresses added to {lserver}", view=views.addresses_added)
def add(
    *,
    lserver: str,
    first: str,
    last: str,
    mask: str,
    type_: str,
    tag: int | None,
    port: int | None,
) -> Mapping[str, Any]:
    """Add an address, or a range of dedicated ones, to a logical server.

    \b
    hsctl ip add ns1.example.net --from 192.0.2.53 --mask 24 --type service
    hsctl ip add web1.example.net --from 192.0.2.100 --to 192.0.2.120 --mask 24 --type dedicated
    """
    return {
        "lserver": lserver,
        "first": first,
        "last": last,
        "mask": mask,
        "type": type_,
        "tag": tag,
        "port": port,
    }


@ip.command("list")
@click.argument("lserver", required=False)
@click.option("--type", "type_", type=_TYPES, help="Only of this type.")
@click.option("--free", is_flag=True, help="Only dedicated ones that no site has.")
@reads(
    "ip.list",
    columns=("ip", "prefix", "port", "type", "tag", "logical_server", "used_by", "move"),
    paged=True,
    empty="no addresses: hsctl ip add",
)
def list_addresses(lserver: str | None, type_: str | None, free: bool) -> Mapping[str, Any]:
    """List the addresses, all or those of one logical server.

    \b
    hsctl ip list web1.example.net
    hsctl ip list web1.example.net --free
    """
    return {"lserver": lserver, "type": type_, "free": "true" if free else None}


@ip.command()
@click.argument("address")
@_port
@reads("ip.show", view=views.address)
def show(address: str, port: int | None) -> Mapping[str, Any]:
    """Show an address.

    \b
    hsctl ip show 192.0.2.11
    """
    return {"ip": address, "port": port}


@ip.command()
@click.argument("address")
@_port
@click.option("--mask", metavar="M", help="255.255.255.0, or a prefix: 24.")
@click.option("--tag", type=int, metavar="N", help="Tag of a shared address.")
@click.option("--new-port", type=int, metavar="N", help="Another port, while nothing uses it.")
@writes("ip.edit", "address {ip} changed", view=views.address)
def edit(
    *, address: str, port: int | None, mask: str | None, tag: int | None, new_port: int | None
) -> Mapping[str, Any]:
    """Change mask, tag or port of an address; what is not named stays.

    \b
    hsctl ip edit 192.0.2.11 --mask 255.255.255.255
    """
    return {"ip": address, "port": port, "mask": mask, "tag": tag, "new_port": new_port}


@ip.command()
@click.argument("address")
@_port
@click.option("--to", "last", metavar="B", help="The last of a range of dedicated addresses.")
@click.option("--confirm", type=int, metavar="N", help="The number of addresses of a large range.")
@deletes("ip.delete", "address {ip}")
def delete(
    address: str, port: int | None, last: str | None, confirm: int | None
) -> Mapping[str, Any]:
    """Delete an address, or a range of them, that nothing uses.

    \b
    hsctl ip delete 192.0.2.11
    hsctl ip delete 192.0.2.100 --to 192.0.2.250 --confirm 151
    """
    return {"ip": address, "port": port, "last": last, "confirm": confirm}


@ip.command()
@click.argument("old")
@click.argument("new")
@_port
@click.option("--mask", default="", metavar="M", help="Of the new one; the old one's else.")
@click.option(
    "--keep-hours",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Answer on the old one at least so long after the switch.",
)
@writes(
    "ip.move",
    "{old} becomes {new}",
    view=address_move_views.begun,
    then=lambda _: follow_newest(session().client),
)
def move(*, old: str, new: str, port: int | None, mask: str, keep_hours: int) -> Mapping[str, Any]:
    """Renumber a server: its address OLD becomes NEW, and nothing is unanswered meanwhile.

    The server answers on NEW before anybody is told of it; records, transfer lists and listeners
    follow, and OLD is answered until no answer with it may be kept any more. What people have
    written themselves, and glue at the parent, is listed. Bring NEW up on the box first. Ctrl-C
    leaves the move going on.

    \b
    hsctl ip move 192.0.2.11 192.0.2.77 --dry-run
    hsctl ip move 192.0.2.11 192.0.2.77
    hsctl ip move 192.0.2.53 198.51.100.53 --keep-hours 48
    """
    return {"ip": old, "new": new, "port": port, "mask": mask, "keep_hours": keep_hours}


@ip.command()
@click.argument("lserver", required=False)
@reads("ip.moves", paged=True, view=address_move_views.move_row, empty="no address was moved")
def moves(lserver: str | None) -> Mapping[str, Any]:
    """List the moves of addresses, the newest first.

    \b
    hsctl ip moves
    hsctl ip moves web1.example.net
    """
    return {"lserver": lserver}


@ip.command()
@click.argument("move", type=click.IntRange(min=1))
@reads("ip.progress", view=address_move_views.move)
def progress(move: int) -> Mapping[str, Any]:
    """Show how far a move of an address is, what it waits for, and what is left to people.

    \b
    hsctl ip progress 3
    """
    return {"id": move}


@ip.command()
@follows("ip.progress", "MOVE")
def watch(id: int) -> int:
    """Follow a move of an address until all names the new one. Ctrl-C only stops looking.

    \b
    hsctl ip watch 3
    """
    return follow_move(session().client, id)


@ip.command()
@click.argument("move", type=click.IntRange(min=1))
@writes("ip.stop", "move {id} is given up")
def stop(move: int) -> Mapping[str, Any]:
    """Give a move up that has not switched yet: the new address goes again.

    \b
    hsctl ip stop 3
    """
    return {"id": move}
