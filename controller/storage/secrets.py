"""Sealed secrets: in the database only as ciphertext, in specs only as a reference.

A reference is the text ``secret:<id>:<keyed digest>``. It stands in a text field of a spec, so a
changed secret changes the spec; the clear text takes its place only on the way to a box. The key
lives in a file of its own, mode 0600, never in the database.
"""

import hmac
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from twisted.logger import Logger

from controller.refusal import CommandError
from controller.storage import key_file
from controller.storage.database import Transaction
from controller.storage.key_file import NAME_BYTES, SecretError
from pki.keys import KeyRefusedError

_FORMAT = 1
_NONCE = 12
_REFERENCE = re.compile(r"^secret:([1-9][0-9]{0,18}):([0-9a-f]{64})$")
_Version = tuple[int, int, int]
_log = Logger()
_encoder = msgspec.msgpack.Encoder(order="deterministic")


@attrs.frozen
class SecretReference:
    """Names a secret without telling it."""

    id: int
    digest: bytes

    @property
    def text(self) -> str:
        """What stands in a spec in the secret's place."""
        return f"secret:{self.id}:{self.digest.hex()}"


class Secrets:
    """Seals and opens secrets with the keys of one file."""

    def __init__(
        self, keys: Mapping[bytes, bytes], digest_key: bytes, path: Path | None = None
    ) -> None:
        self._path = path
        self._read: _Version | None = None
        """The file that was read last."""
        self._refused: _Version | None = None
        """One that could not be used, which is told once."""
        self._digest_key = digest_key
        self._ciphers: dict[bytes, AESGCM] = {}
        self._take(keys)

    def _take(self, keys: Mapping[bytes, bytes]) -> None:
        self._ciphers |= {name: AESGCM(key) for name, key in keys.items()}
        self._newest = list(keys)[-1]

    @classmethod
    def create(cls, path: Path) -> "Secrets":
        """Make a key file, which must not exist; raises FileExistsError."""
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        key_file.write(path, key_file.new())
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> "Secrets":
        """Read a key file; raises OSError, `SecretError`, `pki.keys.KeyRefusedError`."""
        file = key_file.read(path)
        return cls(file.by_name, file.digest, path)

    def _follow_file(self) -> bool:
        """Take up the keys of a rotation that another process made; tell whether they are known.

        Keys that are known stay known, whatever stands in the file's place.
        """
        if self._path is None:
            return True
        version = _version(self._path)
        if version is not None and version == self._read:
            return True
        try:
            file = key_file.read(self._path)
            if not hmac.compare_digest(file.digest, self._digest_key):
                raise SecretError(f"{self._path} is of another cluster")
        except (OSError, SecretError, KeyRefusedError) as error:
            if version is None or version != self._refused:
                _log.warn("the keys of secrets cannot be read anew: {error}", error=error)
            self._refused = version
            return False
        self._read = version
        self._take(file.by_name)
        return True

    def seal(self, secret_id: int, clear: bytes) -> bytes:
        """Encrypt; the id is bound in, so that a row cannot be passed off as another."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._newest].encrypt(nonce, clear, _context(secret_id))
        return bytes([_FORMAT]) + self._newest + nonce + sealed

    def open(self, secret_id: int, sealed: bytes) -> bytes:
        """Decrypt; raises `SecretError`."""
        name, body = sealed[1 : 1 + NAME_BYTES], sealed[1 + NAME_BYTES :]
        if name not in self._ciphers:
            self._follow_file()
        cipher = self._ciphers.get(name)
        if sealed[:1] != bytes([_FORMAT]) or cipher is None:
            raise SecretError(f"secret {secret_id} was sealed with a key that is not here")
        try:
            return cipher.decrypt(body[:_NONCE], body[_NONCE:], _context(secret_id))
        except InvalidTag:
            raise SecretError(f"secret {secret_id} was changed since it was sealed") from None

    def digest(self, clear: bytes) -> bytes:
        """Give a digest that tells equal secrets to us and nothing to anybody without the key."""
        return hmac.digest(self._digest_key, clear, "sha256")

    async def store(
        self, tx: Transaction, clear: str, *, owner_id: int | None = None, name: str | None = None
    ) -> SecretReference:
        """Seal a new secret into the database. ``name`` is for cluster-wide ones only.

        Raises `CommandError` where the keys cannot be read now: another process may have changed
        them, and what is sealed with a former one might be lost.
        """
        (secret_id,) = await tx.row("SELECT nextval(pg_get_serial_sequence('secret', 'id'))")
        data = clear.encode()
        reference = SecretReference(secret_id, self.digest(data))
        self._follow_file()
        sealed = self.seal(secret_id, data)
        await tx.run(
            "INSERT INTO secret (id, owner_id, name, sealed, digest) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, %s, %s, %s)",
            (secret_id, owner_id, name, sealed, reference.digest),
        )
        # From here on the table's lock keeps rotations out; one may have passed before it.
        if not self._follow_file():
            raise CommandError(
                "secret.no-key",
                "a secret cannot be kept now: the file with the keys cannot be read",
                allowed=f"{self._path} as it was, for the controller's user alone to read",
                status=503,
            )
        if not self.is_newest(sealed):
            await tx.run(
                "UPDATE secret SET sealed = %s WHERE id = %s",
                (self.seal(secret_id, data), secret_id),
            )
        return reference

    async def find(self, tx: Transaction, name: str) -> SecretReference | None:
        """Give the reference of a named secret, or None."""
        return (await self.find_all(tx, [name])).get(name)

    async def find_all(self, tx: Transaction, names: Sequence[str]) -> dict[str, SecretReference]:
        """Give the references of named secrets, by name; those that are not there are left out."""
        rows = await tx.rows("SELECT name, id, digest FROM secret WHERE name = ANY(%s)", (names,))
        return {name: SecretReference(id_, digest) for name, id_, digest in rows}

    async def read(self, tx: Transaction, secret_id: int) -> str:
        """Give a secret in clear; raises LookupError, `SecretError`."""
        (sealed,) = await tx.row("SELECT sealed FROM secret WHERE id = %s", (secret_id,))
        return self.open(secret_id, sealed).decode()

    async def inline(self, tx: Transaction, spec: bytes, ids: Sequence[int]) -> bytes:
        """Give ``spec`` with the secrets ``ids`` in clear where their references stand.

        A text that merely looks like a reference (its id is not among ``ids``, or its digest is
        not the secret's) stays what it is. Raises `SecretError`.
        """
        if not ids:
            return spec
        rows = await tx.rows(
            "SELECT id, sealed, digest FROM secret WHERE id = ANY(%s)", (list(ids),)
        )
        missing = set(ids) - {row[0] for row in rows}
        if missing:
            raise SecretError(f"no secret {min(missing)}")
        clear = {
            SecretReference(secret_id, digest).text: self.open(secret_id, sealed).decode()
            for secret_id, sealed, digest in rows
        }
        return _encoder.encode(_replaced(msgspec.msgpack.decode(spec), clear))

    def is_newest(self, sealed: bytes) -> bool:
        """Tell whether the newest key sealed it."""
        return sealed.startswith(bytes([_FORMAT]) + self._newest)


def _version(path: Path) -> _Version | None:
    """Tell a file from what it was before; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _context(secret_id: int) -> bytes:
    return b"heliosphere secret %d" % secret_id


def references(spec: bytes) -> list[int]:
    """Give the ids that texts of a specification name as a reference does."""
    return sorted(set(_named(msgspec.msgpack.decode(spec))))


def _named(value: Any) -> Iterator[int]:
    if isinstance(value, str):
        found = _REFERENCE.match(value)
        if found is not None:
            yield int(found[1])
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _named(item)


def _replaced(value: Any, clear: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return clear.get(value, value) if _REFERENCE.match(value) else value
    if isinstance(value, list):
        return [_replaced(item, clear) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, clear) for key, item in value.items()}
    return value
