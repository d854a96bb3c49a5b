"""The head of the audit's chain, noted outside of the database.

One line of JSON for each note, only ever appended, durable before anything goes on: the number and
hash of the newest sealed change, and when. Whoever owns the database can cut off the chain's end or
write all of it anew; the notes tell. A copy of the file on another machine tells even if this one
is lost: every note is a line of the controller's log as well.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import attrs
import msgspec

FILE = "audit-anchors"
"""The file's name, in the controller's state directory."""
_ROTATE_BYTES = 1024 * 1024
"""About 8,000 notes. Two files are kept: a note vouches for all before it, so older ones only say
more exactly since when a chain is not what it was."""


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the newest sealed change was at a moment; ``hash`` in hexadecimal.

    ``restored``: a backup was put back, and the chain goes on from here: what notes before said of
    later changes is of a history that ended.
    """

    at: str
    seq: int
    hash: str
    restored: bool = False


@attrs.frozen
class Notes:
    """What the file says: notes in their order, and how many of its lines cannot be read."""

    anchors: tuple[Anchor, ...]
    unreadable: int

    @property
    def standing(self) -> tuple[Anchor, ...]:
        """The notes that no restore set aside."""
        kept: list[Anchor] = []
        for anchor in self.anchors:
            if anchor.restored:
                kept = [one for one in kept if one.seq <= anchor.seq]
            kept.append(anchor)
        return tuple(kept)


def parse_notes(lines: Sequence[str]) -> Notes:
    """Read notes, a line each. A line that a kill or a full disk cut off is counted, no more."""
    found: list[Anchor] = []
    unreadable = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=Anchor))
        except msgspec.DecodeError:
            unreadable += 1
    return Notes(tuple(found), unreadable)


@attrs.frozen
class AnchorFile:
    """The notes in ``path``, and in ``path``.1 what was rotated away."""

    path: Path

    @property
    def rotated(self) -> Path:
        """The older notes."""
        return self.path.with_name(f"{self.path.name}.1")

    def read(self) -> Notes:
        """Read both files, the older first; raises OSError."""
        lines: list[str] = []
        for path in (self.rotated, self.path):
            try:
                lines += path.read_text(errors="replace").splitlines()
            except FileNotFoundError:
                continue
        return parse_notes(lines)

    def append(self, anchor: Anchor) -> None:
        """Write a note (0600) and make it durable. Blocks; raises OSError."""
        self.path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        is_new = not self.path.exists()
        if not is_new and self.path.stat().st_size >= _ROTATE_BYTES:
            self.path.replace(self.rotated)
            is_new = True
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" * torn + msgspec.json.encode(anchor) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
