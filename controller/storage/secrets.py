"""Sealed secrets: in the database only as ciphertext, in specs only as a reference.

A reference is the text ``secret:<id>:<keyed digest>``. It stands in a text field of a spec, so a
changed secret changes the spec; the clear text takes its place only on the way to a box. The key
lives in a file of its own, mode 0600, never in the database.
"""

import hmac
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from controller.storage.database import Transaction
from pki.keys import KeyRefusedError, read_private, write_private

_FORMAT = 1
_NONCE = 12
_KEY_ID = 4
_REFERENCE = re.compile(r"^secret:([1-9][0-9]{0,18}):([0-9a-f]{64})$")
_encoder = msgspec.msgpack.Encoder(order="deterministic")


class SecretError(Exception):
    """A secret cannot be opened: its key is gone, or its bytes were changed."""


@attrs.frozen
class SecretReference:
    """Names a secret without telling it."""

    id: int
    digest: bytes

    @property
    def text(self) -> str:
        """What stands in a spec in the secret's place."""
        return f"secret:{self.id}:{self.digest.hex()}"


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key file: the newest key comes last and seals; every key still opens."""

    digest: bytes
    keys: dict[str, bytes]


class Secrets:
    """Seals and opens secrets with the keys of one file."""

    def __init__(
        self, keys: Mapping[bytes, bytes], digest_key: bytes, path: Path | None = None
    ) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._digest_key = digest_key
        self._take(keys)

    def _take(self, keys: Mapping[bytes, bytes]) -> None:
        self._ciphers = {name: AESGCM(key) for name, key in keys.items()}
        self._newest = list(keys)[-1]

    @classmethod
    def create(cls, path: Path) -> "Secrets":
        """Make a key file, which must not exist; raises FileExistsError."""
        if path.exists():
            raise FileExistsError(f"{path} exists already")
        name = os.urandom(_KEY_ID).hex()
        _write(path, _KeyFile(os.urandom(32), {name: os.urandom(32)}))
        return cls.load(path)

    @classmethod
    def load(cls, path: Path) -> "Secrets":
        """Read a key file; raises OSError, `SecretError`, `pki.keys.KeyRefusedError`."""
        file = _read(path)
        return cls(_keys(file), file.digest, path)

    @staticmethod
    def add_key(path: Path) -> None:
        """Begin a rotation: a new key seals from now on. `reseal` moves what is stored to it."""
        file = _read(path)
        keys = {**file.keys, os.urandom(_KEY_ID).hex(): os.urandom(32)}
        _write(path, _KeyFile(file.digest, keys))

    @staticmethod
    def forget_former_keys(path: Path) -> int:
        """Keep the newest key alone; give how many went. What they sealed opens no more."""
        file = _read(path)
        newest = list(file.keys)[-1]
        _write(path, _KeyFile(file.digest, {newest: file.keys[newest]}))
        return len(file.keys) - 1

    def _follow_file(self) -> None:
        """Take up the keys of a rotation that another process made. A file that cannot be read now
        changes nothing: what is known works on.
        """
        if self._path is None:
            return
        version = _version(self._path)
        if version != self._version:
            with suppress(OSError, SecretError, KeyRefusedError):
                self._take(_keys(_read(self._path)))
                self._version = version

    def seal(self, secret_id: int, clear: bytes) -> bytes:
        """Encrypt; the id is bound in, so that a row cannot be passed off as another."""
        self._follow_file()
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._newest].encrypt(nonce, clear, _context(secret_id))
        return bytes([_FORMAT]) + self._newest + nonce + sealed

    def open(self, secret_id: int, sealed: bytes) -> bytes:
        """Decrypt; raises `SecretError`."""
        name, body = sealed[1 : 1 + _KEY_ID], sealed[1 + _KEY_ID :]
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
        """Seal a new secret into the database. ``name`` is for cluster-wide ones only."""
        (secret_id,) = await tx.row("SELECT nextval(pg_get_serial_sequence('secret', 'id'))")
        data = clear.encode()
        reference = SecretReference(secret_id, self.digest(data))
        await tx.run(
            "INSERT INTO secret (id, owner_id, name, sealed, digest) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, %s, %s, %s)",
            (secret_id, owner_id, name, self.seal(secret_id, data), reference.digest),
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

    async def reseal(self, tx: Transaction, *, limit: int = 500) -> int:
        """Seal up to ``limit`` secrets anew that an older key sealed; give how many there were."""
        rows = await tx.rows(
            "SELECT id, sealed FROM secret WHERE substr(sealed, 1, %s) <> %s"
            " ORDER BY id LIMIT %s FOR UPDATE",
            (*self._newest_mark, limit),
        )
        for secret_id, sealed in rows:
            await tx.run(
                "UPDATE secret SET sealed = %s WHERE id = %s",
                (self.seal(secret_id, self.open(secret_id, sealed)), secret_id),
            )
        return len(rows)

    async def former(self, tx: Transaction) -> int:
        """Tell how many secrets an older key sealed."""
        (count,) = await tx.row(
            "SELECT count(*) FROM secret WHERE substr(sealed, 1, %s) <> %s", self._newest_mark
        )
        return int(count)

    @property
    def _newest_mark(self) -> tuple[int, bytes]:
        mark = bytes([_FORMAT]) + self._newest
        return len(mark), mark


def _version(path: Path) -> tuple[int, int] | None:
    """Tell a file that was put in its place from the one before it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _keys(file: _KeyFile) -> dict[bytes, bytes]:
    return {bytes.fromhex(name): key for name, key in file.keys.items()}


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


def _read(path: Path) -> _KeyFile:
    try:
        return msgspec.json.decode(read_private(path), type=_KeyFile)
    except msgspec.DecodeError as error:
        raise SecretError(f"{path} is not a key file: {error}") from error


def _write(path: Path, file: _KeyFile) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")
