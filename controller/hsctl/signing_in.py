"""``hsctl login``: prove who the controller is, prove who we are, keep both as a profile."""

import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from controller.client.client import Client
from controller.client.errors import UnreachableError, UsageError
from controller.client.profiles import Profile, check_url, save
from controller.hsctl.terminal import say


@click.command()
@click.argument("url")
@click.option("--as", "name", default="default", show_default=True, help="Name of the profile.")
@click.option("--token", metavar="TOKEN", help="API token; - reads it from stdin. Else it asks.")
@click.option("--ca", metavar="FILE", help="The cluster's CA certificate (PEM).")
@click.option("--ca-fingerprint", metavar="HEX", help="Its SHA-256: `hs-ca fingerprint`.")
@click.option("--certificate", metavar="FILE", help="An operator's; no token then.")
@click.option("--key", metavar="FILE", help="Its private key.")
@click.option("--default", "make_default", is_flag=True, help="Use it when none is named.")
def login(
    *,
    url: str,
    name: str,
    token: str | None,
    ca: str | None,
    ca_fingerprint: str | None,
    certificate: str | None,
    key: str | None,
    make_default: bool,
) -> None:
    """Sign in to the controller at URL and keep it as a profile (0600).

    \b
    hsctl login https://cp.example.net:8443 --ca ca.pem
    echo "$TOKEN" | hsctl login https://cp.example.net:8443 --ca ca.pem --token - --as prod
    """
    check_url(url)
    authority = _authority(url, ca, ca_fingerprint)
    profile = Profile(
        name=name,
        url=url.rstrip("/"),
        ca=authority,
        token="" if certificate else _token(token),
        certificate=os.path.abspath(certificate) if certificate else "",
        key=os.path.abspath(key) if key else "",
    )
    client = Client(profile)
    client.read("status.show", {})
    client.close()
    save(profile, make_default=make_default)
    say(f"signed in: profile {name} ({profile.url})")


def _token(given: str | None) -> str:
    token = given or os.environ.get("HSCTL_TOKEN", "")
    if given == "-":
        token = sys.stdin.readline()
    elif not token:
        if not sys.stdin.isatty():
            raise UsageError("no token: --token -, or HSCTL_TOKEN")
        token = click.prompt("API token", hide_input=True, err=True)
    return token.strip()


def _authority(url: str, file: str | None, fingerprint: str | None) -> str:
    """Give the CA's certificate: from a file, or from the controller, proven by fingerprint."""
    if file:
        try:
            return Path(file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: {error}") from error
    parts = urlsplit(url)
    pem, shown = offered_authority(parts.hostname or "", parts.port or 443)
    if fingerprint:
        if fingerprint.lower().replace(":", "") != shown:
            raise UnreachableError(f"the controller's CA is another one: {shown}")
    elif not sys.stdin.isatty():
        raise UsageError(f"who is {url}? say --ca FILE, or --ca-fingerprint HEX")
    else:
        say(f"the CA of {url} has the fingerprint {shown}")
        click.confirm("Is that what `hs-ca fingerprint` says there?", abort=True, err=True)
    return pem


def offered_authority(host: str, port: int) -> tuple[str, str]:
    """Give the CA certificate (PEM) that a controller sends along, and its SHA-256 (hex).

    Nothing is proven by it: the fingerprint must be compared.
    """
    # Late: only this needs pyOpenSSL, for Python 3.11 cannot show a chain that it does not trust.
    import socket

    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_verify(SSL.VERIFY_NONE)
    try:
        with socket.create_connection((host, port), timeout=10) as plain:
            plain.settimeout(None)
            connection = SSL.Connection(context, plain)
            connection.set_tlsext_host_name(host.encode("idna"))
            connection.set_connect_state()
            connection.do_handshake()
            chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    except (OSError, SSL.Error, ssl.SSLError, UnicodeError) as error:
        raise UnreachableError(f"https://{host}:{port}: {error}") from error
    if len(chain) < 2:
        raise UnreachableError(f"https://{host}:{port} sends no CA: it is no controller")
    authority = chain[-1]
    return authority.public_bytes(Encoding.PEM).decode("ascii"), authority.fingerprint(
        SHA256()
    ).hex()
