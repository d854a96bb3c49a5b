"""The additive hash over a lane's live objects, kept alike on both sides."""

import re
from hashlib import sha256

MODULUS = 1 << 128
_TEXT = re.compile(r"[0-9a-f]{1,32}", re.ASCII)


def element(kind: str, key: str, revision: int, spec: bytes) -> int:
    """Give the share of one live object: add it when the object comes, subtract it when it goes."""
    digest = sha256()
    for part in (kind.encode(), key.encode(), str(revision).encode(), sha256(spec).digest()):
        digest.update(len(part).to_bytes(4, "big"))
        digest.update(part)
    return int.from_bytes(digest.digest()[:16], "big")


def combine(total: int, *, added: int = 0, removed: int = 0) -> int:
    """Give the hash after one object came, went, or was replaced."""
    return (total + added - removed) % MODULUS


def as_text(total: int) -> str:
    """Write the hash as 32 hexadecimal digits."""
    return f"{total:032x}"


def from_text(text: str) -> int:
    """Read what `as_text` wrote; raises ValueError for anything that is no hash."""
    if not _TEXT.fullmatch(text):
        raise ValueError("not a hash: at most 32 hexadecimal digits")
    return int(text, 16)
