"""Files that only their owner may read: written whole or not at all, refused when too open."""

import os
from pathlib import Path


class TooOpenError(Exception):
    """A file that must be private can be read by others; the text says how to mend it."""


def write_private(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` with mode 0600, durably, never half-written."""
    candidate = path.with_name(f".{path.name}.candidate")
    candidate.unlink(missing_ok=True)
    descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    candidate.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_private(path: Path) -> bytes:
    """Read a private file; raises `TooOpenError` where group or others may touch it, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise TooOpenError(f"{path} can be read by others: run chmod 600 {path}")
        return file.read()
