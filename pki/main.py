"""``hs-ca``: the certificate authority in the operator's hands, without a controller.

Whatever came from elsewhere (a request, a name) is printed escaped and with a fingerprint, so that
no control character makes the screen lie (S13).
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO
from uuid import uuid4

import click
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pki.authority import CERTIFICATE_FILE, LEAF_DAYS, Authority, AuthorityError, Issued
from pki.cores import write_no_core
from pki.keys import (
    LARGEST_REQUEST,
    KeyRefusedError,
    new_key,
    public_key_of,
    replace_durably,
    signing_request,
    write_private,
)
from pki.names import Name, NameRefusedError
from pki.revocation import DENY_LIST_FILE, DenyList, DenyListError, parse_serial

DEFAULT_DIRECTORY = Path("/var/lib/heliosphere/ca")
LONGEST_SHOWN = 200

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="HS_CA_DIR",
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Directory of the CA; also taken from HS_CA_DIR.",
)

deny_list_option = click.option(
    "--deny-list",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The deny-list that the controllers use.  [default: {DENY_LIST_FILE} in --dir]",
)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what a person can cause into one line on stderr and exit code 1."""
    try:
        yield
    except (AuthorityError, KeyRefusedError, NameRefusedError, DenyListError, OSError) as error:
        raise click.ClickException(str(error)) from error


def in_colons(digest_hex: str) -> str:
    """Write a fingerprint in pairs, as people compare it."""
    return ":".join(digest_hex[i : i + 2] for i in range(0, len(digest_hex), 2))


def escaped(text: str) -> str:
    """Show foreign text in printable ASCII, cut where it is too long to read."""
    shown = ascii(text)
    return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "... (cut)"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 refused, one line says why; 2 wrong usage.",
)
def cli() -> None:
    """Keep the certificate authority of a Heliosphere cluster.

    The CA is a directory of its own: ca.pem, ca-key.pem (mode 0600) and the deny-list. It may live
    on another machine than the controllers.
    """


@cli.command(short_help="Make a new CA.")
@directory_option
@click.option("--cluster", help="Id of the cluster: a-z, 0-9, '.', '-'.  [default: a new uuid]")
def init(directory: Path, cluster: str | None) -> None:
    """Make a new CA. An existing one is never replaced."""
    with refusing():
        authority = Authority.create(directory, cluster or str(uuid4()))
    _describe(authority, directory)


@cli.command(short_help="Show the CA and its fingerprint.")
@directory_option
def show(directory: Path) -> None:
    """Show the cluster, the validity and the fingerprint of the CA."""
    with refusing():
        authority = Authority.load(directory)
    _describe(authority, directory)


@cli.command(short_help="Print the SHA-256 of the CA's certificate.")
@directory_option
def fingerprint(directory: Path) -> None:
    """Print the SHA-256 fingerprint of the CA's certificate, hex digits only."""
    with refusing():
        click.echo(Authority.load(directory).fingerprint)


@cli.command("issue-operator", short_help="Make a key and certificate for an operator.")
@directory_option
@click.argument("name")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for NAME.pem, NAME-key.pem (mode 0600) and ca.pem.",
)
@click.option(
    "--days", type=click.IntRange(1, 366), default=LEAF_DAYS, show_default=True, help="Validity."
)
def issue_operator(directory: Path, name: str, out: Path, days: int) -> None:
    """Make a key and a certificate for the operator NAME. Existing files are not replaced."""
    with refusing():
        authority = Authority.load(directory)
        operator = Name(authority.cluster, "operator", name)
        certificate_file, key_file = out / f"{name}.pem", out / f"{name}-key.pem"
        for path in (certificate_file, key_file):
            if path.exists():
                raise AuthorityError(f"{path} exists: it is not replaced")
        ca_file = out / CERTIFICATE_FILE
        if ca_file.exists() and ca_file.read_bytes() != authority.certificate_pem:
            raise AuthorityError(f"{ca_file} is of another CA: it is not replaced")
        key = new_key()
        issued = authority.issue(signing_request(key), operator, days)
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(key_file, key)
        replace_durably(certificate_file, issued.certificate_pem, mode=0o644)
        replace_durably(ca_file, authority.certificate_pem, mode=0o644)
    _report(issued)
    click.echo(f"certificate  {certificate_file}\nkey          {key_file}", err=True)


@cli.command(short_help="Sign a box's request.")
@directory_option
@click.argument("csr", type=click.File("rb"))
@click.option("--box", required=True, metavar="UUID", help="The box that the certificate is for.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the certificate.  [default: standard output]",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def sign(directory: Path, csr: IO[bytes], box: str, out: Path | None, yes: bool) -> None:
    """Sign the request in the file CSR ('-' reads standard input) for a box.

    Of the request only the public key is used; what else it asks for is shown and ignored.
    """
    with refusing():
        authority = Authority.load(directory)
        name = Name(authority.cluster, "box", box)
        request = csr.read(LARGEST_REQUEST + 1)
        _show_request(request, name)
    if not yes:
        click.confirm("Issue this certificate?", abort=True, err=True)
    with refusing():
        issued = authority.issue(request, name)
        if out is not None:
            replace_durably(out, issued.certificate_pem, mode=0o644)
    _report(issued)
    if out is None:
        click.echo(issued.certificate_pem.decode("ascii"), nl=False)


@cli.command(short_help="Put a certificate on the deny-list.")
@directory_option
@deny_list_option
@click.argument("serial")
def revoke(directory: Path, deny_list: Path | None, serial: str) -> None:
    """Put the certificate with SERIAL (hex) on the deny-list.

    From then on every controller that uses this file refuses it at the handshake. Sessions that are
    already open are ended by the controller that holds them.
    """
    with refusing():
        number = parse_serial(serial)
        _deny_list(directory, deny_list).add(number)
    click.echo(f"revoked {number:x}")


@cli.command("list-revoked", short_help="Print the serials on the deny-list.")
@directory_option
@deny_list_option
def list_revoked(directory: Path, deny_list: Path | None) -> None:
    """Print the serials on the deny-list, hex, one a line."""
    with refusing():
        for serial in _deny_list(directory, deny_list):
            click.echo(f"{serial:x}")


def _deny_list(directory: Path, path: Path | None) -> DenyList:
    """Load the list of this CA, or the one named; a directory that is not there is refused."""
    path = path or directory / DENY_LIST_FILE
    if not path.parent.is_dir():
        raise DenyListError(f"no deny-list here: {path.parent} is not a directory")
    return DenyList.load(path)


def _describe(authority: Authority, directory: Path) -> None:
    certificate = authority.certificate
    click.echo(f"directory    {directory}")
    click.echo(f"cluster      {authority.cluster}")
    click.echo(f"valid from   {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"valid until  {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(f"SHA-256      {in_colons(authority.fingerprint)}")


def _show_request(request: bytes, name: Name) -> None:
    """Say on stderr what is asked and what would be issued."""
    key = public_key_of(request).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd lengths: it is shown cut anyway
            subject = x509.load_pem_x509_csr(request).subject.rfc4514_string()
    except ValueError:
        subject = "(unreadable)"
    click.echo(f"asked for    {escaped(subject)} (ignored)", err=True)
    click.echo(f"key SHA-256  {in_colons(sha256(key).hexdigest())}", err=True)
    click.echo(f"issue for    {name.uri}", err=True)


def _report(issued: Issued) -> None:
    click.echo(f"issued for   {issued.name.uri}", err=True)
    click.echo(f"serial       {issued.serial:x}", err=True)
    click.echo(f"valid until  {issued.not_after:%Y-%m-%d %H:%M:%S} UTC", err=True)


def main() -> None:
    """Run ``hs-ca``."""
    write_no_core()
    cli.main(args=sys.argv[1:], prog_name="hs-ca")
