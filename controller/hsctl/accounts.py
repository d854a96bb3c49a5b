"""``hsctl account``: customers' accounts."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import views
from controller.hsctl.verbs import deletes, reads, writes

_NONE = "no accounts: hsctl account add NAME makes one"


@click.group()
def account() -> None:
    """Customers' accounts: each domain belongs to one.

    \b
    hsctl account add acme
    """


@account.command()
@click.argument("name")
@writes("account.add", "account {name} added", view=views.nothing)
def add(name: str) -> Mapping[str, Any]:
    """Add an account.

    \b
    hsctl account add acme
    """
    return {"name": name}


@account.command("list")
@click.option("--filter", "text", metavar="TEXT", help="Only names that match this.")
@reads("account.list", columns=("name", "domains", "created_at"), paged=True, empty=_NONE)
def list_accounts(text: str | None) -> Mapping[str, Any]:
    """List the accounts.

    \b
    hsctl account list
    """
    return {"filter": text}


@account.command()
@click.argument("name")
@reads("account.show")
def show(name: str) -> Mapping[str, Any]:
    """Show an account.

    \b
    hsctl account show acme
    """
    return {"name": name}


@account.command()
@click.argument("name")
@deletes("account.delete", "account {name}")
def delete(name: str) -> Mapping[str, Any]:
    """Delete an account that has no domains left.

    \b
    hsctl account delete acme
    """
    return {"name": name}
