"""Searching files and texts for secrets, however they are spelled and wherever lines break.

A secret is looked for as it is, in hex and in base64 of any alignment, in pieces that overlap: a
line's end, a page's end or a cut-off text hides none. What parts lines (also written as ``\\n``, as
JSON and dumps have it) is taken out of both sides before they are compared.
"""

import os
import subprocess
import tempfile
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

import attrs
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_PIECE, _STEP = 16, 4
"""Any 19 signs of a spelling that stand together hold a piece of it."""
_LINE = 64
"""Signs of base64 in a line of PEM."""


@attrs.frozen
class Secret:
    """What must not be read by others: ``words`` are its texts and bytes, none of them public."""

    name: str
    words: tuple[bytes, ...] = attrs.field(repr=False)

    @classmethod
    def text(cls, name: str, text: str) -> "Secret":
        """A password, a token."""
        return cls(name, (text.encode(),))

    @classmethod
    def shared(cls, name: str, text: str) -> "Secret":
        """A symmetric key that is written in base64."""
        return cls(name, (text.encode(), b64decode(text)))

    @classmethod
    def private_key(cls, name: str, pem: str) -> "Secret":
        """A private key on a curve: its number alone, for the rest of the file is public.

        Where PEM itself is written in hex or base64, the lines of it are what is spelled.
        """
        key = load_pem_private_key(pem.encode(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        number = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)
        printed = "".join(line for line in pem.splitlines() if "-----" not in line)
        within = b64decode(printed).index(number)
        first, end = _inner(within, len(number))
        lines = {start // _LINE: start for start in range(first, end)}
        words = (
            printed[max(first, line * _LINE) : min(end, (line + 1) * _LINE)].encode()
            for line in lines
        )
        return cls(name, (number, *words))


def _inner(before: int, length: int) -> tuple[int, int]:
    """Give from where to where base64 speaks of ``length`` bytes alone that stand after others."""
    return -(-before * 8 // 6), (before + length) * 8 // 6


def spellings(word: bytes) -> Iterator[bytes]:
    """Give a word as it is, in hex, and what base64 makes of it at any place of a text."""
    yield word
    yield word.hex().encode()
    yield word.hex().upper().encode()
    for before in range(3):
        start, end = _inner(before, len(word))
        spelled = b64encode(bytes(before) + word)[start:end]
        yield spelled
        yield spelled.translate(bytes.maketrans(b"+/", b"-_"))


def _joined(text: bytes) -> bytes:
    r"""Take out what parts lines, also where it is written as ``\n``."""
    text = text.translate(None, b" \t\r\n").replace(b"\\n", b"").replace(b"\\r", b"")
    return text.translate(None, b"\\")


def _pieces(word: bytes) -> Iterator[bytes]:
    for spelled in map(_joined, spellings(word)):
        last = max(0, len(spelled) - _PIECE)
        for start in {*range(0, last, _STEP), last}:
            yield spelled[start : start + _PIECE]


def search(secrets: Sequence[Secret], texts: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Give the names of texts that hold a secret, by the secret's name; none where none does."""
    owners: dict[bytes, str] = {}
    for secret in secrets:
        for word in secret.words:
            for piece in _pieces(word):
                # A piece that two secrets share would tell nothing of either.
                assert owners.setdefault(piece, secret.name) == secret.name, secret.name
    names, starts, length = list(texts), [], 0
    with tempfile.NamedTemporaryFile() as pieces, tempfile.TemporaryFile() as whole:
        pieces.write(b"\n".join(owners))
        pieces.flush()
        for name in names:
            starts.append(length)
            length += whole.write(_joined(texts[name]) + b"\n")
        whole.seek(0)
        ended = subprocess.run(
            ["grep", "--text", "--only-matching", "--byte-offset", "-F", "-f", pieces.name],
            stdin=whole,
            capture_output=True,
            check=False,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )
    assert ended.returncode in (0, 1), ended.stderr
    found: dict[str, set[str]] = {secret.name: set() for secret in secrets}
    for line in ended.stdout.split(b"\n"):
        if line:
            place, _, piece = line.partition(b":")
            found[owners[piece]].add(names[bisect_right(starts, int(place)) - 1])
    return found
