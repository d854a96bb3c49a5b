"""Private keys and signing requests. A key is made where it is used and never leaves there."""

import os
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CURVE = ec.SECP256R1
LARGEST_REQUEST = 8192
READABLE_BY_OTHERS = 0o077


class KeyRefusedError(ValueError):
    """A key, or a file that holds one, that must not be used."""


def new_key() -> bytes:
    """Make a P-256 private key: unencrypted PKCS #8 PEM."""
    return ec.generate_private_key(CURVE()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 private key; anything else raises `KeyRefusedError`."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyRefusedError("not an unencrypted private key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVE):
        raise KeyRefusedError("the private key is not on P-256")
    return key


def is_p256(key: object) -> bool:
    """Tell whether a public key is on P-256, the only curve in the cluster."""
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVE)


def signing_request(key_pem: bytes) -> bytes:
    """Make a CSR (PEM) that proves possession of the key and says nothing else.

    The subject stays empty: the controller knows who asks, and the CA copies nothing.
    """
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(load_key(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def public_key_of(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """Take the public key out of a CSR, the only thing in it that is believed.

    Raises `KeyRefusedError` when the request is too large, unreadable, not signed by its own key,
    or not for a P-256 key.
    """
    if len(csr_pem) > LARGEST_REQUEST:
        raise KeyRefusedError(
            f"signing request of {len(csr_pem)} bytes: {LARGEST_REQUEST} are allowed"
        )
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
    except Exception as error:
        # The parser names its failures by many types (ValueError, UnsupportedAlgorithm, its own);
        # whatever a hostile request provokes, the answer is the same refusal.
        raise KeyRefusedError("not a certificate signing request in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, CURVE):
        raise KeyRefusedError("the signing request is not for a key on P-256")
    if not request.is_signature_valid:
        raise KeyRefusedError("the signing request is not signed by the key that it names")
    return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read (0600), whole or not at all, and durably.

    The content is never in a file of wider rights, not even for an instant. An existing file is
    replaced; a symbolic link in its place is replaced, not followed.
    """
    replace_durably(path, content, mode=0o600)


def replace_durably(path: Path, content: bytes, *, mode: int) -> None:
    """Put ``content`` in place of ``path`` by one rename, after it is on the disk."""
    candidate = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        candidate.replace(path)
    except BaseException:
        candidate.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_private(path: Path) -> bytes:
    """Read a private file; one that group or world may touch raises `KeyRefusedError` (S14)."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & READABLE_BY_OTHERS:
            raise KeyRefusedError(
                f"{path} has mode {mode:04o}: a private key must be its owner's alone"
                f" (chmod 600 {path})"
            )
        return file.read()
