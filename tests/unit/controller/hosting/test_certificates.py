"""Certificates of sites: what a server could not load is refused, whatever it is."""

import base64
import textwrap
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from controller.hosting.certificates import checked_pair, checked_shared_pair
from controller.refusal import CommandError
from tests.certificates import certificate

NOW = datetime.now(UTC)


def refusal(chain: str, key: str, *, domain: str = "shop.test", now: datetime = NOW) -> str:
    with pytest.raises(CommandError) as caught:
        checked_pair(chain, key, domain, now)
    assert "PRIVATE KEY" not in str(attrs_of(caught.value))
    return caught.value.id


def attrs_of(error: CommandError) -> tuple[str, ...]:
    return error.message, error.value, error.allowed


def test_a_good_pair_comes_back_as_it_was_parsed() -> None:
    made = certificate("shop.test")
    pair = checked_pair(f"note\n{made.chain}note", made.key, "shop.test", NOW)
    assert (pair.chain, pair.key) == (made.chain, made.key)
    assert pair.names == ("shop.test",)
    assert made.key not in repr(pair)


def test_what_is_shared_below_a_domain_is_for_every_name_there() -> None:
    made = certificate("*.shared.test")
    assert checked_shared_pair(made.chain, made.key, "shared.test", NOW).names == ("*.shared.test",)
    for domain in ("test", "a.shared.test", "other.test"):
        with pytest.raises(CommandError) as caught:
            checked_shared_pair(made.chain, made.key, domain, NOW)
        assert caught.value.id == "certificate.name"
    one = certificate("shop.shared.test")
    with pytest.raises(CommandError):
        checked_shared_pair(one.chain, one.key, "shared.test", NOW)


def test_a_key_that_servers_call_too_small_is_refused() -> None:
    small = rsa.generate_private_key(65537, 1024)
    made = certificate("shop.test", small)
    assert refusal(made.chain, made.key) == "certificate.invalid"


def test_a_chain_out_of_order_is_refused() -> None:
    made, other = certificate("shop.test"), certificate("other.test")
    assert refusal(made.chain + other.chain, made.key) == "certificate.invalid"


def test_a_certificate_without_its_key_is_refused() -> None:
    assert refusal(certificate("shop.test").chain, "") == "certificate.key.invalid"


def test_a_certificate_counts_only_while_it_is_valid() -> None:
    made = certificate("shop.test")
    early, late = NOW - timedelta(days=2), NOW + timedelta(days=31)
    assert refusal(made.chain, made.key, now=early) == "certificate.not-yet-valid"
    assert refusal(made.chain, made.key, now=late) == "certificate.expired"


def test_any_damage_is_refused_or_harmless_and_never_an_error_of_ours() -> None:
    made = certificate("shop.test")
    der = x509.load_pem_x509_certificate(made.chain.encode()).public_bytes(Encoding.DER)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the library says of odd serial numbers
        for place in range(len(der)):
            for bit in (0x01, 0x10, 0x80):
                damaged = bytearray(der)
                damaged[place] ^= bit
                try:
                    checked_pair(_pem(bytes(damaged)), made.key, "shop.test", NOW)
                except CommandError:
                    refused += 1
    assert refused > len(der)


def _pem(der: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])
