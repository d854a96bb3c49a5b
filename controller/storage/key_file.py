"""The file with the keys of secrets: mode 0600, beside the database and never in it."""

import os
import re
from pathlib import Path

import msgspec

from pki.keys import read_private, write_private

NAME_BYTES = 4
_KEY_BYTES = 32
_NAME = re.compile(r"[0-9a-f]{8}")


class SecretError(Exception):
    """A secret cannot be opened: its key is gone, or its bytes were changed."""


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds: the newest key comes last and seals; every key still opens."""

    digest: bytes
    keys: dict[str, bytes]

    @property
    def by_name(self) -> dict[bytes, bytes]:
        """The keys by the names that stand in what they sealed, the newest last."""
        return {bytes.fromhex(name): key for name, key in self.keys.items()}

    def with_another(self) -> "KeyFile":
        """Give it with a new key, which seals from then on."""
        name = os.urandom(NAME_BYTES).hex()
        while name in self.keys:
            name = os.urandom(NAME_BYTES).hex()
        return KeyFile(self.digest, {**self.keys, name: os.urandom(_KEY_BYTES)})

    def with_newest_alone(self) -> "KeyFile":
        """Give it without the former keys: what they sealed opens no more."""
        newest = list(self.keys)[-1]
        return KeyFile(self.digest, {newest: self.keys[newest]})


def new() -> KeyFile:
    """Make the first key."""
    return KeyFile(os.urandom(_KEY_BYTES), {}).with_another()


def read(path: Path) -> KeyFile:
    """Read a key file; raises OSError, `SecretError`, `pki.keys.KeyRefusedError`."""
    try:
        file = msgspec.json.decode(read_private(path), type=KeyFile)
    except msgspec.DecodeError as error:
        raise SecretError(f"{path} is not a key file: {error}") from error
    keys = (file.digest, *file.keys.values())
    if not file.keys or any(len(key) != _KEY_BYTES for key in keys):
        raise SecretError(f"{path} is not a key file: it holds no key, or one of another length")
    if not all(map(_NAME.fullmatch, file.keys)):
        raise SecretError(f"{path} is not a key file: a key has no name of ours")
    return file


def write(path: Path, file: KeyFile) -> None:
    """Put a key file in place of ``path``, whole or not at all, and durably."""
    write_private(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")
