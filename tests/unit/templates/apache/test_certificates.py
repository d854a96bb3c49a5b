"""Which certificates a server could start with."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from templates.apache.certificates import load_pair
from templates.apache.objects import Certificate
from templates.service_type import PlanRefusedError
from tests.certificates import certificate

GOOD = certificate("shop.test")
OTHER = certificate("other.test")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "RSA 2048", "Ed25519"],
)
def test_usual_keys_are_taken(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    assert len(load_pair(certificate("shop.test", key)).fingerprint) == 64


def test_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(PlanRefusedError, match="key values mismatch"):
        load_pair(Certificate(chain=GOOD.chain, key=OTHER.key))


def test_key_that_apache_would_find_too_small_is_refused() -> None:
    weak = certificate("shop.test", rsa.generate_private_key(65537, 1024))
    with pytest.raises(PlanRefusedError, match="key too small"):
        load_pair(weak)


def test_key_with_a_passphrase_is_refused() -> None:
    key = load_pem_private_key(GOOD.key.encode(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    ).decode()
    with pytest.raises(PlanRefusedError, match="passphrase"):
        load_pair(Certificate(chain=GOOD.chain, key=locked))


def test_chain_out_of_order_is_refused() -> None:
    with pytest.raises(PlanRefusedError, match="order"):
        load_pair(Certificate(chain=GOOD.chain + OTHER.chain, key=GOOD.key))


def test_what_is_no_certificate_is_refused() -> None:
    for chain in ("", "text", GOOD.chain[:200], GOOD.key, GOOD.chain * 11, "x" * 70000):
        with pytest.raises(PlanRefusedError):
            load_pair(Certificate(chain=chain, key=GOOD.key))
    for key in ("", "text", GOOD.key[:100], GOOD.chain, "x" * 70000):
        with pytest.raises(PlanRefusedError):
            load_pair(Certificate(chain=GOOD.chain, key=key))


def test_nothing_but_certificates_and_key_is_written() -> None:
    noisy = Certificate(chain=f"# note\n{GOOD.chain}\nInclude x\n", key=f"note\n{GOOD.key}")
    assert load_pair(noisy).pem == load_pair(GOOD).pem
    assert GOOD.key.splitlines()[1] not in repr(load_pair(GOOD))
