"""The cluster's certificate authority: a directory of its own, and what it issues.

The directory can live on another machine than the controllers. Of a signing request only the
public key is used; what a certificate says is decided by the `Name` it is issued for (S5).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.keys import (
    KeyRefusedError,
    load_key,
    new_key,
    public_key_of,
    read_private,
    replace_durably,
    write_private,
)
from pki.names import CLUSTER, Name, NameRefusedError, check_cluster

CERTIFICATE_FILE = "ca.pem"
KEY_FILE = "ca-key.pem"
AUTHORITY_DAYS = 3650
LEAF_DAYS = 90
BACKDATED = timedelta(minutes=5)
LONGEST_HOST = 253


class AuthorityError(Exception):
    """The CA's directory cannot be used: missing, incomplete, already there, or unsafe."""


@attrs.frozen
class Issued:
    """A new certificate: PEM of the leaf alone, its serial, and its end (UTC)."""

    certificate_pem: bytes
    serial: int
    not_after: datetime
    name: Name


def fingerprint_of(certificate_pem: bytes) -> str:
    """Give the SHA-256 (hex) of a certificate's DER; raises ValueError when it is none."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def utc_now() -> datetime:
    """Give the time of day, in UTC."""
    return datetime.now(UTC)


@attrs.frozen
class Authority:
    """The loaded CA. ``now`` is the clock that certificates are dated by."""

    cluster: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)
    now: Callable[[], datetime] = utc_now

    @classmethod
    def create(
        cls, directory: Path, cluster: str, *, now: Callable[[], datetime] = utc_now
    ) -> "Authority":
        """Make a CA in ``directory`` (made 0700 when missing).

        Raises `AuthorityError` when a CA, or the rest of one, is already there.
        """
        check_cluster(cluster)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (CERTIFICATE_FILE, KEY_FILE):
            if (directory / name).exists():
                raise AuthorityError(f"{directory / name} exists: it is not replaced")
        key_pem = new_key()
        key = load_key(key_pem)
        certificate = _self_signed(cluster, key, now())
        write_private(directory / KEY_FILE, key_pem)
        replace_durably(
            directory / CERTIFICATE_FILE,
            certificate.public_bytes(serialization.Encoding.PEM),
            mode=0o644,
        )
        return cls(cluster, certificate, key, now)

    @classmethod
    def load(cls, directory: Path, *, now: Callable[[], datetime] = utc_now) -> "Authority":
        """Load the CA. Raises `AuthorityError` when it is missing, unsafe or inconsistent."""
        try:
            certificate = x509.load_pem_x509_certificate(
                (directory / CERTIFICATE_FILE).read_bytes()
            )
            key = load_key(read_private(directory / KEY_FILE))
        except FileNotFoundError as error:
            raise AuthorityError(f"no CA here: {error.filename} is missing") from error
        except OSError as error:
            raise AuthorityError(f"the CA cannot be read: {error}") from error
        except KeyRefusedError as error:
            raise AuthorityError(f"the CA's key is refused: {error}") from error
        except ValueError as error:
            raise AuthorityError(f"{directory / CERTIFICATE_FILE} is not a certificate") from error
        if certificate.public_key() != key.public_key():
            raise AuthorityError(f"{CERTIFICATE_FILE} and {KEY_FILE} do not belong together")
        return cls(_cluster_of(certificate), certificate, key, now)

    @property
    def certificate_pem(self) -> bytes:
        """The CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA certificate's DER, 64 hex digits."""
        return fingerprint_of(self.certificate_pem)

    def issue(
        self, csr_pem: bytes, name: Name, days: int = LEAF_DAYS, *, hosts: Sequence[str] = ()
    ) -> Issued:
        """Issue a certificate for ``name`` to the key in the request.

        ``hosts`` (DNS names and IP addresses, by which browsers and hsctl know the panel) are for
        controllers only. Raises `KeyRefusedError` for a bad request, `NameRefusedError` for
        another cluster's name or a bad host.
        """
        if name.cluster != self.cluster:
            raise NameRefusedError(
                f"{name.uri} is not of this CA's cluster, which is {self.cluster}"
            )
        if hosts and name.role != "controller":
            raise NameRefusedError(f"{name.uri}: only a controller has host names")
        public_key = public_key_of(csr_pem)
        start = self.now()
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if name.role == "controller":
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        sans: list[x509.GeneralName] = [x509.UniformResourceIdentifier(name.uri)]
        sans += [_host(text) for text in hosts]
        end = min(
            (start + timedelta(days=days)).replace(microsecond=0),
            self.certificate.not_valid_after_utc,
        )
        if end <= start:
            raise AuthorityError(f"the CA's certificate ended at {end:%Y-%m-%d}: it cannot issue")
        certificate = (
            x509.CertificateBuilder()
            .serial_number(x509.random_serial_number())
            .subject_name(_subject(self.cluster, f"{name.role} {name.subject}".strip()))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .not_valid_before(start - BACKDATED)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(sans), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        return Issued(
            certificate.public_bytes(serialization.Encoding.PEM),
            certificate.serial_number,
            certificate.not_valid_after_utc,
            name,
        )


def _host(text: str) -> x509.GeneralName:
    """Read a DNS name (an A-label, no wildcard) or an IP address."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    labels = text.split(".")
    if len(text) > LONGEST_HOST or not all(
        CLUSTER.fullmatch(label) and "." not in label for label in labels
    ):
        raise NameRefusedError(
            f"host {text[:LONGEST_HOST]!a}: a DNS name in lower-case ASCII or an IP address"
            " is expected"
        )
    return x509.DNSName(text)


def _subject(cluster: str, common_name: str) -> x509.Name:
    """Make the subject that people see in tools; no program here reads it from a leaf."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _cluster_of(certificate: x509.Certificate) -> str:
    organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(organizations) != 1:
        raise AuthorityError(f"{CERTIFICATE_FILE} does not name its cluster")
    try:
        return check_cluster(str(organizations[0].value))
    except NameRefusedError as error:
        raise AuthorityError(f"{CERTIFICATE_FILE}: {error}") from error


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _self_signed(
    cluster: str, key: ec.EllipticCurvePrivateKey, start: datetime
) -> x509.Certificate:
    name = _subject(cluster, "Heliosphere CA")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .not_valid_before(start - BACKDATED)
        .not_valid_after(start + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
