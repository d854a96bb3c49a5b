"""``hsctl ssl``: certificates that all names directly below a domain share."""

from collections.abc import Mapping
from typing import IO, Any

import click

from controller.hsctl import views
from controller.hsctl.text_files import TEXT, text_of
from controller.hsctl.verbs import deletes, reads, writes


@click.group()
def ssl() -> None:
    """Shared SSL: one certificate for all names directly below a domain.

    \b
    hsctl ssl upload shared.test --certificate chain.pem --key key.pem
    hsctl ssl list
    """


@ssl.command("list")
@reads(
    "ssl.list",
    columns=("domain", "names", "not_after", "fingerprint"),
    paged=True,
    view=dict,
    empty="no certificate is shared",
)
def list_shared() -> Mapping[str, Any]:
    """List the shared certificates.

    \b
    hsctl ssl list
    """
    return {}


@ssl.command()
@click.argument("domain")
@reads("ssl.show", view=views.changed)
def show(domain: str) -> Mapping[str, Any]:
    """Show what is shared below a domain, and how many servers and sites present it.

    \b
    hsctl ssl show shared.test
    """
    return {"domain": domain}


@ssl.command()
@click.argument("domain")
@click.option(
    "--certificate",
    type=TEXT,
    required=True,
    metavar="FILE",
    help="Chain for *.DOMAIN, PEM, leaf first.",
)
@click.option(
    "--key",
    type=TEXT,
    required=True,
    metavar="FILE",
    help="Its private key, PEM.",
)
@writes("ssl.upload", "certificate shared below {domain}", view=views.changed)
def upload(*, domain: str, certificate: IO[str], key: IO[str]) -> Mapping[str, Any]:
    """Share a certificate below a domain, on all web servers; it replaces the one that was.

    Sites without a certificate of their own present it. The key is never shown again.

    \b
    hsctl ssl upload shared.test --certificate chain.pem --key key.pem
    """
    return {"domain": domain, "certificate": text_of(certificate), "key": text_of(key)}


@ssl.command()
@click.argument("domain")
@deletes("ssl.delete", "the certificate shared below {domain}", view=views.changed)
def delete(domain: str) -> Mapping[str, Any]:
    """Share nothing below a domain any more, and forget the key.

    \b
    hsctl ssl delete shared.test
    """
    return {"domain": domain}
