"""``hsctl domain``: domains with their zones and sites."""

import sys
from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import views
from controller.hsctl.terminal import print_json
from controller.hsctl.text_files import TEXT, text_of
from controller.hsctl.verbs import deletes, output_option, reads, session, writes


@click.group()
def domain() -> None:
    """Domains: a zone on the name servers and a site on a web server each.

    \b
    hsctl domain add shop.test --account acme
    """


@domain.command()
@click.argument("name")
@click.option("--account", required=True, metavar="A", help="The account that it belongs to.")
@click.option("--on", default="", metavar="LSERVER", help="Its web server; drawn at random else.")
@writes("domain.add", "domain {name} added", view=views.domain)
def add(name: str, account: str, on: str) -> Mapping[str, Any]:
    """Host a domain: its zone and its site are made in one change.

    \b
    hsctl domain add shop.test --account acme
    hsctl domain add bücher.example --account acme --dry-run
    """
    return {"name": name, "account": account, "on": on}


@domain.command("list")
@click.option("--filter", "text", metavar="TEXT", help="Only names that begin with this.")
@click.option("--account", metavar="A", help="Only of this account.")
@reads(
    "domain.list",
    columns=("name", "unicode", "account", "created_at"),
    paged=True,
    view=views.domain_row,
    empty="no domains: hsctl domain add NAME --account ACCOUNT makes one",
)
def list_domains(text: str | None, account: str | None) -> Mapping[str, Any]:
    """List the domains.

    \b
    hsctl domain list --account acme
    """
    return {"filter": text, "account": account}


@domain.command()
@click.argument("name")
@reads("domain.show", view=views.domain)
def show(name: str) -> Mapping[str, Any]:
    """Show a domain with its name servers, serial and site.

    \b
    hsctl domain show shop.test
    """
    return {"name": name}


def export(name: str, output: str) -> None:
    """Print a domain's zone as a master file (RFC 1035).

    \b
    hsctl domain export shop.test > shop.test.zone
    """
    answer = session().client.read("domain.export", {"name": name})
    if output == "json":
        print_json(answer)
    else:
        sys.stdout.write(str(answer["text"]))


setattr(export, "__hsctl_command__", "domain.export")  # noqa: B010 (what the decorators leave)
domain.command("export")(click.argument("name")(output_option(export)))


@domain.command("import")
@click.argument("name")
@click.argument("file", type=TEXT)
@click.option("--replace", is_flag=True, help="Keep only the file's records; they are added else.")
@click.option("--account", default="", metavar="A", help="Host the domain first, for this account.")
@click.option("--on", default="", metavar="LSERVER", help="Its web server, where it is new.")
@writes("domain.import", "zone file taken into {name}", view=views.domain)
def import_zone(name: str, file: Any, replace: bool, account: str, on: str) -> Mapping[str, Any]:
    """Take the records of a master file (RFC 1035) into a domain's zone; - reads stdin.

    \b
    hsctl domain import shop.test shop.test.zone --replace
    hsctl domain import new.test new.test.zone --account acme
    """
    return {"name": name, "text": text_of(file), "replace": replace, "account": account, "on": on}


@domain.command()
@click.argument("name")
@deletes("domain.delete", "domain {name}", also="its zone and its site with it")
def delete(name: str) -> Mapping[str, Any]:
    """Delete a domain with its zone and its site. The site's files stay on the web server.

    \b
    hsctl domain delete shop.test
    """
    return {"name": name}
