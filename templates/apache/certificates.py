"""Certificates as Apache will load them: checked in memory, written in one normal form.

``apache2 -t`` does not open them: a key that does not fit passes its check and stops the server at
the next reload. So they are loaded here, by the same library and at the security level that
distributions compile in, before any file is written.
"""

import hashlib
from itertools import pairwise

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL, crypto

from templates.apache.objects import Certificate
from templates.service_type import PlanRefusedError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
CHAIN_LENGTH = 10
PEM_LENGTH = 64 * 1024
_WORDS = 300
"""Characters of the library's own words, which may hold all that it was given."""
CIPHERS = b"DEFAULT@SECLEVEL=2"
"""OpenSSL's level of Debian and its kin: RSA keys from 2048 bits, no SHA-1 signatures. Said here,
because the library of our Python may have been built with a lower one."""


@attrs.frozen
class KeyPair:
    """A chain and its key that a server can load."""

    pem: bytes = attrs.field(repr=False)
    """Chain, leaf first, then the key: one file, so that no rename can leave two that differ."""
    fingerprint: str
    """SHA-256 of the leaf (DER), hexadecimal: what a client is shown."""


def file_digest(certificate: Certificate) -> str:
    """Name the file of a certificate: a new chain or key is a new file, never a changed one."""
    text = f"{certificate.chain}\0{certificate.key}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def load_pair(certificate: Certificate) -> KeyPair:
    """Read and check a chain with its key.

    Raises `PlanRefusedError` where a server could not start with it.
    """
    chain = _chain(certificate.chain)
    key = _key(certificate.key)
    try:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(CIPHERS)
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)
    except (SSL.Error, crypto.Error, ValueError, TypeError) as error:
        raise PlanRefusedError(f"certificate and key cannot be used: {_words(error)}") from None
    pem = b"".join(issuer.public_bytes(Encoding.PEM) for issuer in chain) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    leaf = hashlib.sha256(chain[0].public_bytes(Encoding.DER)).hexdigest()
    return KeyPair(pem=pem, fingerprint=leaf)


def _chain(text: str) -> list[x509.Certificate]:
    if len(text) > PEM_LENGTH:
        raise PlanRefusedError(f"certificate chain is longer than {PEM_LENGTH} characters")
    try:
        chain = x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise PlanRefusedError(f"certificate chain cannot be read: {_words(error)}") from None
    if len(chain) > CHAIN_LENGTH:
        raise PlanRefusedError(f"certificate chain has more than {CHAIN_LENGTH} certificates")
    for below, issuer in pairwise(chain):
        if below.issuer != issuer.subject:
            raise PlanRefusedError("certificate chain is not in order: leaf first, then its issuer")
    return chain


def _key(text: str) -> PrivateKey:
    if len(text) > PEM_LENGTH:
        raise PlanRefusedError(f"private key is longer than {PEM_LENGTH} characters")
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words may quote what was in the key.
        raise PlanRefusedError("private key cannot be read, or has a passphrase") from None
    if not isinstance(
        key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    ):
        raise PlanRefusedError("private key is neither RSA, nor EC, nor Ed25519")
    return key


def _words(error: Exception) -> str:
    if isinstance(error, SSL.Error | crypto.Error) and error.args and error.args[0]:
        return "; ".join(str(part[-1]) for part in error.args[0])
    return str(error).splitlines()[0][:_WORDS] if str(error) else type(error).__name__
