"""What the files of a lane would look like, and how that differs from what stands there.

Files are read and never written. The content of a file is shown only where the agent wrote it and
others may read it: a preview is no way to read what else is on a box (S3, S14).
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Literal

import attrs

from node_agent import looks
from node_agent.box.interface import LaneFiles
from node_agent.differing import MOST_BYTES, compared
from node_agent.drift import finding_of
from node_agent.records import WrittenFile
from node_agent.wire.questions import PreviewedFile
from templates.effects import FileEffect, MakeDirectory, RemovePath, Symlink, WriteFile

MOST_COMPARED = 4 * 1024 * 1024
"""Bytes of all files that one preview compares: a change waits for no more than that."""
_FOLDER_MODE = 0o755
"""Of folders that are made because something is put into them."""
PRIVATE = "a private file: its content is not shown"
FOREIGN = "what stands there was not written by Heliosphere: its content is not shown"
BY_HAND = "it was changed by hand since it was written, and that would be lost"

Kind = Literal["absent", "file", "link", "directory", "other"]


@attrs.frozen
class _Standing:
    """What stands, or would stand, at a path; ``content`` None: too large, or not to be shown."""

    kind: Kind
    content: bytes | None = attrs.field(default=None, repr=False)
    mode: int = 0
    owner: str = ""
    target: str = ""
    foreign: bool = False


_ABSENT = _Standing("absent")
_KINDS: dict[str, Kind] = {
    "absent": "absent",
    "file": "file",
    "link": "link",
    "directory": "directory",
}


class FilePreview:
    """The paths that effects touch, as they stand and as they would. Blocks on the disk.

    ``find`` gives how the agent left a file, None for one that it did not write.
    """

    def __init__(self, files: LaneFiles, find: Callable[[str], WrittenFile | None]) -> None:
        self._files = files
        self._find = find
        self._before: dict[str, _Standing] = {}
        self._after: dict[str, _Standing] = {}
        self._left = MOST_COMPARED

    def apply(self, effect: FileEffect) -> bool:
        """Think of an effect as done; tell whether it does anything."""
        path = effect.path
        above = [] if isinstance(effect, RemovePath) else _above(path)
        for folder in above:
            self._now(folder)
        would = self._would(effect, self._now(path))
        if would is None:
            return False
        for folder in above:
            if self._now(folder).kind == "absent":
                owner = self._files.owned_by("agent")
                self._after[folder] = _Standing("directory", mode=_FOLDER_MODE, owner=owner)
        self._after[path] = would
        return True

    def _now(self, path: str) -> _Standing:
        if path not in self._before:
            self._before[path] = self._after[path] = self._read(path)
        return self._after[path]

    def _would(self, effect: FileEffect, now: _Standing) -> _Standing | None:
        match effect:
            case WriteFile():
                if effect.only_if_absent and now.kind != "absent":
                    return None
                owner = self._files.owned_by(effect.owner)
                return _Standing("file", effect.content, effect.mode, owner)
            case Symlink():
                return _Standing("link", target=effect.target)
            case MakeDirectory():
                if now.kind != "absent":
                    return None
                owner = self._files.owned_by(effect.owner)
                return _Standing("directory", mode=effect.mode, owner=owner)
            case RemovePath():
                there = now.kind != "absent"
                named = effect.target is None or (now.kind, now.target) == ("link", effect.target)
                return _ABSENT if there and named else None

    def _read(self, path: str) -> _Standing:
        look = self._files.look(path, -1)
        name, _, target = look.looks.partition(" ")
        kind = _KINDS.get(name, "other")
        if kind == "absent":
            return _ABSENT
        foreign = self._find(path) is None
        content = None
        if kind == "file" and not foreign:
            content = self._files.tail(path, MOST_BYTES + 1)
        return _Standing(kind, content, look.mode, look.owner, target, foreign)

    def files(self) -> Iterator[PreviewedFile]:
        """Give what would look otherwise, in the order in which it is touched."""
        for path, before in self._before.items():
            after = self._after[path]
            if not self._alike(path, before, after):
                yield self._shown(path, before, after)

    def _alike(self, path: str, before: _Standing, after: _Standing) -> bool:
        if before is after or (before.kind, after.kind) == ("absent", "absent"):
            return True
        if before.kind != after.kind or before.target != after.target:
            return False
        if after.kind == "link":
            return True
        if (before.mode, before.owner) != (after.mode, after.owner) or after.content is None:
            return False
        look = self._files.look(path, len(after.content))
        return look.looks == looks.file_of(sha256(after.content).hexdigest())

    def _shown(self, path: str, before: _Standing, after: _Standing) -> PreviewedFile:
        action: Literal["create", "change", "remove"] = "change"
        if before.kind == "absent":
            action = "create"
        elif after.kind == "absent":
            action = "remove"
        lines: tuple[str, ...] = ()
        cut = False
        words = list(_words(before, after))
        if before.foreign:
            words.append(FOREIGN)
        elif self._by_hand(path):
            words.append(BY_HAND)
        if "file" in (before.kind, after.kind):
            if any(each.kind == "file" and each.mode & 0o077 == 0 for each in (before, after)):
                words.append(PRIVATE)
            elif not before.foreign:
                lines, why, cut = self._compared(path, before, after)
                words += [why] if why else []
        shown = after if action != "remove" else before
        return PreviewedFile(
            path=path,
            action=action,
            kind=shown.kind if shown.kind in ("link", "directory") else "file",
            mode=after.mode,
            owner=after.owner,
            target=after.target,
            words="; ".join(words),
            lines=lines,
            cut=cut,
        )

    def _compared(
        self, path: str, before: _Standing, after: _Standing
    ) -> tuple[tuple[str, ...], str, bool]:
        there, wanted = before.content or b"", after.content or b""
        self._left -= len(there) + len(wanted)
        if self._left < 0:
            return (), "not compared: there is too much to compare", True
        names = (
            f"a/{path}" if before.kind == "file" else "/dev/null",
            f"b/{path}" if after.kind == "file" else "/dev/null",
        )
        found = compared(there, wanted, names)
        return found.lines, found.why, found.cut

    def _by_hand(self, path: str) -> bool:
        written = self._find(path)
        if written is None:
            return False
        look = self._files.look(path, written.size)
        return finding_of(written, look, self._files.owned_by(written.owner)) is not None


def _above(path: str) -> list[str]:
    """Name the folders that lead to a path, the outermost first: missing ones are made."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _words(before: _Standing, after: _Standing) -> Iterator[str]:
    if after.kind == "link":
        yield f"a link to {after.target}"
    elif before.kind == "absent":
        yield f"mode {after.mode:04o}, owner {after.owner}"
    elif after.kind != "absent":
        if before.kind != after.kind:
            yield f"a {before.kind} stands there now" if before.kind != "other" else "in the way"
        if before.mode != after.mode:
            yield f"mode {before.mode:04o} becomes {after.mode:04o}"
        if before.owner != after.owner:
            yield f"owner {before.owner} becomes {after.owner}"
