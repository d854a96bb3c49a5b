"""The deny-list: serials of certificates that are refused at once, before their 90 days are over.

A file of its own, one serial in hex per line, written whole by one rename. It is looked at in each
handshake, so what ``hs-ca revoke`` or another controller adds counts for the next connection.
Sessions that are already open are ended by who holds them.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pki.keys import replace_durably

DENY_LIST_FILE = "denied-serials"
SERIAL = re.compile(r"[0-9a-f]{1,40}")
HEADER = "# serials of revoked certificates, hex, one a line; written by Heliosphere\n"
LOCK_SECONDS = 10.0
"""So long a writer waits for another one, who needs some milliseconds."""
_Stamp = tuple[int, int, int]


class DenyListError(ValueError):
    """The file is damaged, so that nobody is let in on the strength of it; or cannot be written."""


def parse_serial(text: str) -> int:
    """Read a serial in hex, as this package and openssl print it (colons are allowed)."""
    digits = text.replace(":", "").lower()
    if not SERIAL.fullmatch(digits) or int(digits, 16) == 0:
        raise DenyListError(f"serial {text[:60]!a}: 1 to 40 hex digits are expected")
    return int(digits, 16)


class DenyList:
    """The revoked serials of the cluster; ``in`` sees what others wrote to the file meanwhile.

    A file that is not there yet is an empty list; one that vanishes later changes nothing. A
    damaged file raises `DenyListError`, from `load` and from ``in``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._serials: frozenset[int] = frozenset()
        self._stamp: _Stamp | None = None
        self._early: frozenset[int] = frozenset()

    @classmethod
    def load(cls, path: Path) -> "DenyList":
        """Read the list, empty when there is no file yet."""
        deny_list = cls(path)
        deny_list.refresh()
        return deny_list

    def refresh(self) -> frozenset[int]:
        """Read the file again when it has changed; give the serials that are new in it."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return frozenset()
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp == self._stamp:
            return frozenset()
        serials = _read(self.path)
        new = serials - self._serials
        self._serials, self._stamp = serials, stamp
        return new

    def deny(self, serials: Iterable[int]) -> None:
        """Deny serials from now on, in this process; nothing is written and nobody waited for."""
        self._early |= frozenset(serials)

    @property
    def unwritten(self) -> frozenset[int]:
        """The serials that `deny` was given and the file was not yet seen to hold."""
        return self._early - self._serials

    def add(self, serial: int) -> None:
        """Deny a serial; it is on the disk when this returns.

        May wait `LOCK_SECONDS` for another writer; raises `DenyListError` then.
        """
        with _locked(self.path):
            self.refresh()
            if serial in self._serials:
                return
            self._serials |= {serial}
            self.save()

    def save(self) -> None:
        """Write the whole list by one rename."""
        lines = "".join(f"{serial:x}\n" for serial in sorted(self._serials))
        replace_durably(self.path, (HEADER + lines).encode("ascii"), mode=0o644)

    def __contains__(self, serial: object) -> bool:
        self.refresh()
        return serial in self._serials or serial in self._early

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._serials))

    def __len__(self) -> int:
        return len(self._serials)


def _read(path: Path) -> frozenset[int]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DenyListError(f"{path} is damaged: it is not ASCII text") from error
    if lines[:1] != [HEADER.strip()]:
        raise DenyListError(f"{path} is damaged: its first line is not ours")
    try:
        return frozenset(parse_serial(line) for line in lines[1:])
    except DenyListError as error:
        raise DenyListError(f"{path} is damaged: {error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from writing the list between our reading and our writing."""
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + LOCK_SECONDS
        while not _taken(descriptor):
            if time.monotonic() > until:
                raise DenyListError(f"{path} is being written by another process that does not end")
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
