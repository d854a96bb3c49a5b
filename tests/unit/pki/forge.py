"""Certificates that the CA itself would never issue, for the doors to refuse."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.authority import Authority
from pki.keys import new_key, signing_request
from pki.names import Name

CLUSTER = "c1"
BOX = "0b9a4c1e-5f60-4e1c-9a50-6f3c7d1b2a33"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


@attrs.frozen
class Bundle:
    """A certificate with its key, and what else is sent with it."""

    certificate_pem: bytes
    key_pem: bytes
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate_pem)


def issued(authority: Authority, name: Name, **options: object) -> Bundle:
    key = new_key()
    made = authority.issue(signing_request(key), name, **options)  # type: ignore[arg-type]
    return Bundle(made.certificate_pem, key, (authority.certificate,))


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def forged(
    issuer: x509.Certificate | None,
    issuer_key: PrivateKey | None,
    *,
    uris: Sequence[str],
    usages: Sequence[x509.ObjectIdentifier] = BOTH,
    key: PrivateKey | None = None,
    start: datetime | None = None,
    days: int = 90,
    authority: bool = False,
    common_name: str = "forged",
    dns: Sequence[str] = (),
    issuer_id: PrivateKey | None = None,
    names_its_issuer: bool = True,
) -> Bundle:
    """Make any certificate; without an issuer it signs itself."""
    key = key or p256()
    start = start or datetime.now(UTC) - timedelta(minutes=5)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    signer = issuer_key or key
    signer_id = x509.SubjectKeyIdentifier.from_public_key((issuer_id or signer).public_key())
    sans: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
    sans += [x509.DNSName(name) for name in dns]
    builder = (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(
            x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True
        )
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, authority, authority, False, False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names_its_issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer_id)
        builder = builder.add_extension(identifier, critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    chain = (issuer,) if issuer else ()
    return Bundle(certificate.public_bytes(serialization.Encoding.PEM), pem(key), chain)
