"""``hsctl site``: settings and certificates of web sites."""

from collections.abc import Mapping
from typing import Any

import click

from controller.client.errors import UsageError
from controller.hsctl import views
from controller.hsctl.text_files import TEXT, text_of
from controller.hsctl.verbs import reads, writes


@click.group()
def site() -> None:
    """Settings and certificates of the web sites of domains.

    \b
    hsctl site set shop.test --redirect-to https://new-shop.test/
    """


@site.command()
@click.argument("domain")
@reads("site.show", view=views.site)
def show(domain: str) -> Mapping[str, Any]:
    """Show the site of a domain.

    \b
    hsctl site show shop.test
    """
    return {"name": domain}


@site.command()
@click.argument("domain")
@click.option(
    "--dedicated/--shared",
    "dedicated",
    required=True,
    default=None,
    help="An address of its own, or one that it shares.",
)
@click.option("--tag", type=int, metavar="N", help="Tag of the shared address.")
@writes("site.address", "site of {name} has its address", view=views.site)
def address(*, domain: str, dedicated: bool, tag: int | None) -> Mapping[str, Any]:
    """Give a site a dedicated address of its server, or a shared one; its records follow.

    \b
    hsctl site address shop.test --dedicated
    hsctl site address shop.test --shared --tag 3
    """
    return {"name": domain, "type": "dedicated" if dedicated else "shared", "tag": tag}


@site.command("set")
@click.argument("domain")
@click.option("--index", metavar="FILE,FILE", help="Names of index documents, in order.")
@click.option("--redirect-to", metavar="URL", help="Send every request there; empty ends it.")
@click.option("--indexes/--no-indexes", default=None, help="List directories without an index.")
@click.option("--plain", is_flag=True, help="Take all settings back to the server's own.")
@click.option("--certificate", type=TEXT, metavar="FILE", help="Chain, PEM.")
@click.option("--key", type=TEXT, metavar="FILE", help="Its private key, PEM.")
@click.option("--no-certificate", is_flag=True, help="Take the certificate away.")
@writes("site.set", "site of {name} set", view=views.site)
def set_site(
    *,
    domain: str,
    index: str | None,
    redirect_to: str | None,
    indexes: bool | None,
    plain: bool,
    certificate: Any,
    key: Any,
    no_certificate: bool,
) -> Mapping[str, Any]:
    """Change the settings of a site; what is not named stays.

    \b
    hsctl site set shop.test --index index.php,index.html
    hsctl site set shop.test --certificate chain.pem --key key.pem
    """
    if no_certificate and (certificate or key):
        raise UsageError("--no-certificate takes the certificate away: no --certificate, no --key")
    chain = text_of(certificate) if certificate else None
    return {
        "name": domain,
        "index": None if index is None else [part for part in index.split(",") if part],
        "redirect_to": redirect_to,
        "indexes": indexes,
        "plain": plain,
        "certificate": "" if no_certificate else chain,
        "key": text_of(key) if key else None,
    }
