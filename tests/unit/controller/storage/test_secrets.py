from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.storage.key_file import SecretError
from controller.storage.secrets import Secrets
from pki.keys import KeyRefusedError

KEYS = Secrets({b"\0\0\0\1": bytes(32)}, bytes(32))


@given(st.binary(), st.integers(min_value=1, max_value=2**63 - 1))
def test_what_is_sealed_opens_again(clear: bytes, secret_id: int) -> None:
    assert KEYS.open(secret_id, KEYS.seal(secret_id, clear)) == clear


@given(st.binary(min_size=1), st.data())
def test_one_changed_bit_is_noticed(clear: bytes, data: st.DataObject) -> None:
    sealed = bytearray(KEYS.seal(1, clear))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SecretError):
        KEYS.open(1, bytes(sealed))


def test_equal_secrets_are_sealed_differently() -> None:
    assert KEYS.seal(1, b"x") != KEYS.seal(1, b"x")


def test_the_digest_needs_the_key() -> None:
    other = Secrets({b"\0\0\0\1": bytes(32)}, b"\1" * 32)
    assert KEYS.digest(b"x") == KEYS.digest(b"x") != other.digest(b"x")


def test_a_key_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        Secrets.create(path)


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    path.chmod(0o640)
    with pytest.raises(KeyRefusedError):
        Secrets.load(path)


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    path.write_text("{")
    with pytest.raises(SecretError):
        Secrets.load(path)
