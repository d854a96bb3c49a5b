"""``hsctl lserver``: the logical servers."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from controller.client.errors import UsageError
from controller.hsctl import server_views, views
from controller.hsctl.verbs import deletes, reads, writes

_COLUMNS = ("name", "group", "type", "pservers", "addresses", "state", "signup")


@click.group()
def lserver() -> None:
    """Logical servers: the programs on boxes that serve clients.

    \b
    hsctl lserver add web2.example.net --group web --type apache --pserver web2
    hsctl ip add web2.example.net --from 192.0.2.21 --mask 24 --type shared
    hsctl lserver signup on web2.example.net
    """


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE``; the controller reads each value by its setting."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"not a setting: {text} (NAME=VALUE)")
        found[name] = value
    return found


@lserver.command()
@click.argument("name")
@click.option("--group", required=True, metavar="G", help="Its server group: web, dns ...")
@click.option("--type", "type_", required=True, metavar="T", help="Its service type: apache ...")
@click.option("--pserver", required=True, metavar="P", help="The box that it runs on.")
@click.option("--description", default="", metavar="TEXT")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting of its type.")
@writes("lserver.add", "logical server {name} added", view=views.server)
def add(
    *,
    name: str,
    group: str,
    type_: str,
    pserver: str,
    description: str,
    given: tuple[str, ...],
) -> Mapping[str, Any]:
    """Add a logical server to a box. It serves once it has an address.

    \b
    hsctl lserver add ns3.example.net --group dns --type bind --pserver ns3
    """
    return {
        "name": name,
        "group": group,
        "type": type_,
        "pserver": pserver,
        "description": description,
        "settings": pairs(given),
    }


@lserver.command("list")
@click.option("--filter", "text", metavar="TEXT", help="Only names that contain this.")
@click.option("--group", metavar="G", help="Only of this group.")
@reads(
    "lserver.list", columns=_COLUMNS, paged=True, view=views.server_row, empty="no logical servers"
)
def list_servers(text: str | None, group: str | None) -> Mapping[str, Any]:
    """List the logical servers.

    \b
    hsctl lserver list --group dns
    """
    return {"filter": text, "group": group}


@lserver.command()
@click.argument("name")
@reads("lserver.show", view=server_views.server)
def show(name: str) -> Mapping[str, Any]:
    """Show a logical server: addresses, lanes, what uses it, and its settings with their help.

    \b
    hsctl lserver show ns1.example.net
    """
    return {"name": name}


@lserver.command()
@click.argument("name")
@reads("lserver.records", view=server_views.records)
def records(name: str) -> Mapping[str, Any]:
    """Show the DNS records of a logical server, generated in the service zone.

    \b
    hsctl lserver records web1.example.net
    """
    return {"name": name}


@lserver.command("set")
@click.argument("name")
@click.argument("given", nargs=-1, required=True, metavar="KEY=VALUE...")
@writes("lserver.set", "settings of {name} changed", view=server_views.server_set)
def set_settings(name: str, given: tuple[str, ...]) -> Mapping[str, Any]:
    """Change settings of a logical server; what is not named stays.

    KEY= takes a setting back to its default; a list has commas. lserver show tells what can be set.

    \b
    hsctl lserver set web1.example.net tls_port=443 timeout=30
    hsctl lserver set ns1.example.net role=master used_by=all
    hsctl lserver set mysql1.example.net phpmyadmin_server=web1.example.net
    """
    return {"name": name, "settings": pairs(given)}


@lserver.command()
@click.argument("name")
@click.option("--description", required=True, metavar="TEXT", help="One line; empty for none.")
@writes("lserver.edit", "description of {name} changed", view=views.nothing)
def edit(name: str, description: str) -> Mapping[str, Any]:
    """Change the note that tells a logical server from the others.

    \b
    hsctl lserver edit web1.example.net --description "shop customers"
    """
    return {"name": name, "description": description}


@lserver.command()
@click.argument("name")
@click.argument("new")
@writes("lserver.rename", "{name} is {new} now", view=server_views.renamed)
def rename(name: str, new: str) -> Mapping[str, Any]:
    """Give a logical server another name; generated records and settings that name it follow.

    Records written by hand that point to the old name are listed. A name server that has zones of
    customers keeps its name, because their NS records say it.

    \b
    hsctl lserver rename web1.example.net www1.example.net --dry-run
    """
    return {"name": name, "to": new}


@lserver.command()
@click.argument("name")
@click.option("--to", required=True, metavar="P", help="The box that it shall stand on.")
@writes("lserver.move", "{name} moved to {to}", view=views.nothing)
def move(name: str, to: str) -> Mapping[str, Any]:
    """Put a logical server onto another box: one without an address, or one that is only modelled.

    What clients ask already is not moved: add a server on the other box, let what is new go there,
    and delete this one when it is empty. Zones of a name server go there by `hsctl dns apply`.

    \b
    hsctl lserver move ns2.example.net --to ns2
    """
    return {"name": name, "to": to}


@lserver.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.argument("name")
@writes("lserver.signup", "signup on {name} switched {switch}", view=views.nothing)
def signup(switch: str, name: str) -> Mapping[str, Any]:
    """Open a logical server for new customers, or close it.

    \b
    hsctl lserver signup on web1.example.net
    """
    return {"name": name, "signup": switch == "on"}


@lserver.command()
@click.argument("name")
@deletes("lserver.delete", "logical server {name}")
def delete(name: str) -> Mapping[str, Any]:
    """Delete a logical server that serves nothing and has no addresses.

    \b
    hsctl lserver delete web2.example.net
    """
    return {"name": name}
