"""``hsctl service``: the service domain, and what it is for beside the names of servers."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import views
from controller.hsctl.verbs import deletes, reads, writes

_SWITCH = click.Choice(["on", "off"])


@click.group()
def service() -> None:
    """The service domain: the provider's own, with the names of all servers.

    \b
    hsctl service show
    hsctl service set --third-level on
    """


@service.command()
@reads("service.show")
def show() -> Mapping[str, Any]:
    """Show the service domain and what it is for.

    \b
    hsctl service show
    """
    return {}


@service.command("set")
@click.option(
    "--third-level", type=_SWITCH, help="Whether customers may have names directly below it."
)
@click.option(
    "--instant-access", type=_SWITCH, help="Whether new sites answer at an alias below it at once."
)
@writes("service.set", "uses of the service domain chosen", view=views.changed)
def change(third_level: str | None, instant_access: str | None) -> Mapping[str, Any]:
    """Choose what the service domain is for. What is hosted below it stays when switched off.

    \b
    hsctl service set --third-level on
    hsctl domain add shop.example.net --account acme
    hsctl service set --instant-access on
    """
    given = {"third_level": third_level, "instant_access": instant_access}
    return {use: None if word is None else word == "on" for use, word in given.items()}


@service.command()
@click.option("--account", required=True, metavar="NAME", help="The account that it is kept in.")
@click.option("--on", default="", metavar="SERVER", help="Its web server; one is drawn else.")
@writes("service.host", "own site hosted at the service domain", view=views.changed)
def host(account: str, on: str) -> Mapping[str, Any]:
    """Host the provider's own site at the service domain, and at `www.` before it.

    \b
    hsctl service host --account provider --on web1.example.net
    """
    return {"account": account, "on": on}


@service.command()
@deletes("service.unhost", "the site at the service domain", view=views.changed)
def unhost() -> Mapping[str, Any]:
    """Host no site at the service domain any more; its files stay on the web server.

    \b
    hsctl service unhost
    """
    return {}
