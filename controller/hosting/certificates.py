"""Certificates: checked before they are taken, and the self-signed fallback."""

from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from controller.refusal import CommandError
from templates.apache.certificates import load_pair
from templates.apache.objects import Certificate
from templates.service_type import PlanRefusedError

FALLBACK_DAYS = 3650
_PUBLIC_FORM = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
_UNREADABLE = (
    ValueError,
    IndexError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@attrs.frozen
class CheckedPair:
    """A chain and its private key that a web server can present, PEM, and what the leaf says."""

    chain: str
    key: str = attrs.field(repr=False)
    names: tuple[str, ...]
    """The DNS names that it is for, lower case."""
    not_after: datetime
    fingerprint: str
    """SHA-256 of the leaf (DER), hexadecimal."""


def checked_pair(chain: str, key: str, domain: str, now: datetime) -> CheckedPair:
    """Check a certificate chain (leaf first) and its private key, both PEM, for a site.

    What is given back is written from what was parsed, so nothing else of the text goes on. Raises
    `CommandError`: ``certificate.invalid`` (a box could not load it either),
    ``certificate.key.invalid``, ``certificate.expired``, ``certificate.not-yet-valid``,
    ``certificate.name`` where it is not for ``domain``.
    """
    pair = _checked(chain, key, now)
    if not {domain, "*." + domain.partition(".")[2]} & set(pair.names):
        raise _refused("certificate.name", "certificate", f"the certificate is not for {domain}")
    return pair


def checked_shared_pair(chain: str, key: str, domain: str, now: datetime) -> CheckedPair:
    """Check what all names directly below ``domain`` share, as `checked_pair` does."""
    pair = _checked(chain, key, now)
    if f"*.{domain}" not in pair.names:
        raise _refused("certificate.name", "certificate", f"the certificate is not for *.{domain}")
    return pair


def _checked(chain: str, key: str, now: datetime) -> CheckedPair:
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
        leaf = certificates[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        public = leaf.public_key().public_bytes(*_PUBLIC_FORM)
    except _UNREADABLE as error:
        raise _refused(
            "certificate.invalid", "certificate", "not a certificate chain with DNS names"
        ) from error
    if not key:
        raise _refused("certificate.key.invalid", "key", "a certificate comes with its private key")
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refused(
            "certificate.key.invalid", "key", "not an unencrypted private key"
        ) from error
    if private.public_key().public_bytes(*_PUBLIC_FORM) != public:
        raise _refused("certificate.key.invalid", "key", "the private key is not the certificate's")
    if leaf.not_valid_after_utc <= now:
        raise _refused("certificate.expired", "certificate", "the certificate has expired")
    if leaf.not_valid_before_utc > now:
        begins = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        raise _refused("certificate.not-yet-valid", "certificate", f"it is valid from {begins} on")
    pem = "".join(
        certificate.public_bytes(serialization.Encoding.PEM).decode()
        for certificate in certificates
    )
    text = _key_text(private)
    try:
        loaded = load_pair(Certificate(chain=pem, key=text))
    except PlanRefusedError as error:
        raise _refused("certificate.invalid", "certificate", str(error)) from error
    return CheckedPair(
        chain=pem,
        key=text,
        names=tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)),
        not_after=leaf.not_valid_after_utc,
        fingerprint=loaded.fingerprint,
    )


def _refused(error_id: str, field: str, why: str) -> CommandError:
    return CommandError(
        error_id,
        why,
        field=field,
        allowed="a PEM chain that is valid now and names the domain, and its PEM private key",
    )


def _key_text(private: PrivateKeyTypes) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def self_signed(name: str) -> tuple[str, str]:
    """Make what a web server presents for names without a certificate: (chain, key), PEM.

    It names the server alone, no customer, and is trusted by nobody: that is its purpose.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=FALLBACK_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), _key_text(key)
