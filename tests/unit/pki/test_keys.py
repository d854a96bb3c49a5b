import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pki.keys import (
    KeyRefusedError,
    is_p256,
    load_key,
    new_key,
    public_key_of,
    read_private,
    replace_durably,
    signing_request,
    write_private,
)
from tests.unit.pki.forge import p256, pem


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_the_key_of_a_request_is_read() -> None:
    key = new_key()
    assert public_key_of(signing_request(key)) == load_key(key).public_key()


def test_a_request_says_nothing_but_its_key() -> None:
    request = x509.load_pem_x509_csr(signing_request(new_key()))
    assert not list(request.subject)
    assert not list(request.extensions)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ],
    ids=["rsa1024", "rsa2048", "p384", "secp256k1"],
)
def test_a_request_for_another_kind_of_key_is_refused(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(KeyRefusedError, match="P-256"):
        public_key_of(request_of(key))
    with pytest.raises(KeyRefusedError, match="P-256"):
        load_key(pem(key))
    assert not is_p256(key.public_key())


def test_a_request_without_proof_of_possession_is_refused() -> None:
    der = bytearray(
        x509.load_pem_x509_csr(signing_request(new_key())).public_bytes(serialization.Encoding.DER)
    )
    other = x509.load_pem_x509_csr(signing_request(new_key())).public_key()
    point = other.public_bytes(  # type: ignore[union-attr]
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    at = der.index(b"\x03\x42\x00\x04") + 3
    der[at : at + 65] = point
    stolen = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(KeyRefusedError, match="not signed by the key"):
        public_key_of(stolen)


def test_a_request_that_is_too_large_is_refused() -> None:
    with pytest.raises(KeyRefusedError, match="8192"):
        public_key_of(signing_request(new_key()) + b"\n" * 8192)


@pytest.mark.parametrize("text", [b"", b"\0", b"-----BEGIN CERTIFICATE REQUEST-----", b"\xff" * 99])
def test_what_is_not_a_request_is_refused(text: bytes) -> None:
    with pytest.raises(KeyRefusedError):
        public_key_of(text)


def test_a_key_of_another_algorithm_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(KeyRefusedError, match="P-256"):
        load_key(key)


def test_an_encrypted_key_is_refused() -> None:
    key = p256().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    with pytest.raises(KeyRefusedError, match="unencrypted"):
        load_key(key)


def test_a_private_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "key", b"secret")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert read_private(tmp_path / "key") == b"secret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o602])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_private(path, b"secret")
    path.chmod(mode)
    with pytest.raises(KeyRefusedError, match="chmod 600"):
        read_private(path)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "key").symlink_to(victim)
    write_private(tmp_path / "key", b"secret")
    assert victim.read_bytes() == b"untouched"
    assert not (tmp_path / "key").is_symlink()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_durably(path, b"new", mode=0o644)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
