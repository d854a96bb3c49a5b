"""The interpreter of file effects: everything relative to a directory handle, no link followed.

Parents are opened one by one with ``O_NOFOLLOW``, so whoever may write somewhere below the lane's
directory (a customer in a site's content) cannot lead a privileged agent out of it (S16). New
content is written beside its place, synced, and renamed in.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import attrs

from node_agent import looks
from node_agent.box.interface import (
    Absent,
    AnyImage,
    DirectoryImage,
    FileImage,
    LinkImage,
    Look,
)
from node_agent.effects.failures import DiskFullError, EffectFailedError
from templates.effects import (
    FileEffect,
    MakeDirectory,
    Owner,
    RemovePath,
    Symlink,
    WriteFile,
    candidate_path,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PART = 1024 * 1024
"""Bytes of a file that are in memory at one time while it is looked at."""
ROOM = 64 * 1024
"""Bytes that a daemon needs to take up anything new: below this its refusals blame nobody."""
MANY = 8
"""From this many files on, they are synced side by side: the disk then joins the flushes."""


@attrs.frozen
class Ids:
    """A user and its group, as numbers; None where the agent cannot give files away."""

    uid: int
    gid: int


class PosixFiles:
    """The files below ``root``; ``daemon`` owns what effects give to the daemon."""

    def __init__(self, root: Path, daemon: Ids | None = None) -> None:
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._root = os.open(root, _DIRECTORY)
        self._daemon = daemon

    def close(self) -> None:
        """Close the handle of the lane's directory."""
        os.close(self._root)

    def image(self, path: str) -> AnyImage:
        """Read what stands at ``path``."""
        with _words(path):
            try:
                with self._parent(path) as (parent, name):
                    return _image(parent, name)
            except FileNotFoundError:
                return Absent()

    def look(self, path: str, size: int) -> Look:
        """Tell how it looks; a file is read only where it has ``size`` bytes."""
        try:
            with self._parent(path) as (parent, name):
                return _looked(parent, name, size)
        except FileNotFoundError:
            return Look("absent")
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                return Look("other")
            raise EffectFailedError(f"{path}: {error.strerror}") from error

    def owned_by(self, owner: Owner) -> str:
        """Give user and group of what an effect gives to ``owner``."""
        if owner == "daemon" and self._daemon is not None:
            return f"{self._daemon.uid}:{self._daemon.gid}"
        return f"{os.geteuid()}:{os.getegid()}"

    def tail(self, path: str, most: int) -> bytes:
        """Read the end of a regular file; a link put there by the daemon's user is not followed."""
        with _words(path), self._parent(path) as (parent, name):
            handle = os.open(name, _READ, dir_fd=parent)
            with os.fdopen(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise EffectFailedError(f"{path}: not a file")
                file.seek(max(status.st_size - most, 0))
                return file.read(most)

    def stage(self, effects: tuple[WriteFile, ...]) -> None:
        """Write candidates and sync their content; a leftover candidate is replaced."""
        if len(effects) < MANY:
            for effect in effects:
                self._stage(effect)
            return
        with ThreadPoolExecutor(MANY) as pool:
            for _ in pool.map(self._stage, effects):
                pass

    def discard(self, paths: tuple[str, ...]) -> None:
        """Remove candidates."""
        for path in paths:
            self.remove(candidate_path(path))

    def scratch(self, effects: tuple[WriteFile, ...]) -> None:
        """Write files that nothing but a checker reads."""
        for effect in effects:
            with _words(effect.path), self._parent(effect.path, make=True) as (parent, name):
                self._write(parent, name, effect, sync=False)

    def commit(self, effects: tuple[FileEffect, ...]) -> None:
        """Do each effect by one atomic step, in order."""
        for effect in effects:
            with _words(effect.path):
                self._commit(effect)

    def restore(self, path: str, image: AnyImage) -> None:
        """Put back what stood at ``path``, durably."""
        with _words(path):
            match image:
                case Absent():
                    self._remove_made(path)
                case FileImage(content, mode, uid, gid):
                    with self._parent(path, make=True) as (parent, name):
                        candidate = candidate_path(name)
                        effect = WriteFile(name, content, mode)
                        self._write(parent, candidate, effect, sync=True, ids=Ids(uid, gid))
                        _put_in_place(parent, candidate, name)
                        os.fsync(parent)
                case LinkImage(target):
                    with self._parent(path, make=True) as (parent, name):
                        _link(parent, name, target)
                        os.fsync(parent)
                case DirectoryImage():
                    pass

    def remove(self, path: str) -> None:
        """Remove a file or link; one that is not there is no error."""
        with _words(path):
            try:
                with self._parent(path) as (parent, name):
                    os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                return

    def room(self) -> None:
        """See that the lane's daemon can still write, which may use less of a disk than root."""
        disk = os.fstatvfs(self._root)
        full = disk.f_bavail * disk.f_frsize < ROOM or (disk.f_files and not disk.f_favail)
        if full or disk.f_flag & os.ST_RDONLY:
            raise DiskFullError("the disk with the lane's directory has no room left")

    def sync(self, paths: tuple[str, ...]) -> None:
        """Sync the directories that hold these paths and those above them, each once."""
        for folder in dict.fromkeys(folder for path in paths for folder in _above(path)):
            with _words(folder):
                try:
                    with self._folder(_parts(folder) if folder else ()) as handle:
                        os.fsync(handle)
                except FileNotFoundError:
                    continue

    # --- one effect ---

    def _stage(self, effect: WriteFile) -> None:
        with _words(effect.path), self._parent(effect.path, make=True) as (parent, name):
            self._write(parent, candidate_path(name), effect, sync=True)

    def _commit(self, effect: FileEffect) -> None:
        match effect:
            case WriteFile():
                with self._parent(effect.path) as (parent, name):
                    if effect.only_if_absent and not isinstance(_look(parent, name), Absent):
                        os.unlink(candidate_path(name), dir_fd=parent)
                        return
                    _put_in_place(parent, candidate_path(name), name)
            case Symlink():
                _refuse_outside(effect)
                with self._parent(effect.path, make=True) as (parent, name):
                    _link(parent, name, effect.target)
            case MakeDirectory():
                self._make_directory(effect)
            case RemovePath():
                with suppress(FileNotFoundError), self._parent(effect.path) as (parent, name):
                    if effect.target is not None:
                        found = _look(parent, name)
                        if not isinstance(found, LinkImage) or found.target != effect.target:
                            return
                    os.unlink(name, dir_fd=parent)

    def _make_directory(self, effect: MakeDirectory) -> None:
        with self._parent(effect.path, make=True) as (parent, name):
            try:
                os.mkdir(name, 0o700, dir_fd=parent)
            except FileExistsError:
                os.close(os.open(name, _DIRECTORY, dir_fd=parent))
                return
            handle = os.open(name, _DIRECTORY, dir_fd=parent)
            try:
                self._give(handle, effect.owner)
                os.fchmod(handle, effect.mode)
            finally:
                os.close(handle)

    def _remove_made(self, path: str) -> None:
        try:
            with self._parent(path) as (parent, name):
                if isinstance(_look(parent, name), DirectoryImage):
                    with suppress(OSError):
                        os.rmdir(name, dir_fd=parent)
                else:
                    os.unlink(name, dir_fd=parent)
                os.fsync(parent)
        except FileNotFoundError:
            return

    def _write(
        self, parent: int, name: str, effect: WriteFile, *, sync: bool, ids: Ids | None = None
    ) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        handle = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            view = memoryview(effect.content)
            while view:
                view = view[os.write(handle, view) :]
            if ids is None:
                self._give(handle, effect.owner)
            elif os.geteuid() == 0:
                os.fchown(handle, ids.uid, ids.gid)
            os.fchmod(handle, effect.mode)
            if sync:
                os.fsync(handle)
        except OSError:
            with suppress(OSError):
                os.unlink(name, dir_fd=parent)
            raise
        finally:
            os.close(handle)

    def _give(self, handle: int, owner: Owner) -> None:
        if owner == "daemon" and self._daemon is not None:
            os.fchown(handle, self._daemon.uid, self._daemon.gid)

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """Open the directory that holds ``path``; ``make`` makes missing ones."""
        *folders, name = _parts(path)
        with self._folder(folders, make=make) as handle:
            yield handle, name

    @contextmanager
    def _folder(self, folders: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """Open a directory below the lane's, or that itself, one after the other."""
        handle = os.dup(self._root)
        try:
            for folder in folders:
                try:
                    inner = os.open(folder, _DIRECTORY, dir_fd=handle)
                except FileNotFoundError:
                    if not make:
                        raise
                    with suppress(FileExistsError):
                        os.mkdir(folder, 0o755, dir_fd=handle)
                    inner = os.open(folder, _DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)


def _parts(path: str) -> list[str]:
    """Give the names that lead to a path below the lane's directory, and to nothing else (S3).

    Effects are refused when they are built; the paths of a journal, or of a log, come here alone.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise EffectFailedError(f"{path!a} is not a path below the lane's directory")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise EffectFailedError(f"{path!a} cannot be the path of a file") from None
    return parts


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _look(parent: int, name: str) -> AnyImage:
    """Tell what stands there, without a file's content."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return Absent()
    if stat.S_ISLNK(status.st_mode):
        return LinkImage(os.readlink(name, dir_fd=parent))
    if stat.S_ISDIR(status.st_mode):
        return DirectoryImage()
    if not stat.S_ISREG(status.st_mode):
        raise EffectFailedError(f"{name}: neither a file, a link nor a directory stands there")
    return FileImage(b"", stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _image(parent: int, name: str) -> AnyImage:
    found = _look(parent, name)
    if not isinstance(found, FileImage):
        return found
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    with os.fdopen(handle, "rb") as file:
        return FileImage(file.read(), found.mode, found.uid, found.gid)


def _looked(parent: int, name: str, size: int) -> Look:
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    owner = f"{status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return Look(looks.link_to(os.readlink(name, dir_fd=parent)), 0, owner)
    if stat.S_ISDIR(status.st_mode):
        return Look("directory", stat.S_IMODE(status.st_mode), owner)
    if not stat.S_ISREG(status.st_mode):
        return Look("other", stat.S_IMODE(status.st_mode), owner)
    handle = os.open(name, _READ, dir_fd=parent)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        mode, owner = stat.S_IMODE(status.st_mode), f"{status.st_uid}:{status.st_gid}"
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return Look("file", mode, owner)
        digest, left = sha256(), size
        while left and (part := file.read(min(left, _PART))):
            digest.update(part)
            left -= len(part)
        return Look(looks.file_of(digest.hexdigest()), mode, owner)


def _put_in_place(parent: int, candidate: str, name: str) -> None:
    """Rename a candidate over ``name``, newer than what stood there.

    A daemon that goes by the time of a file (named's ``reload`` of a zone) would else take it for
    what it knows: the clock may have been set back, or the candidate may have waited.
    """
    with suppress(FileNotFoundError):
        former = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime_ns
        own = os.stat(candidate, dir_fd=parent, follow_symlinks=False).st_mtime_ns
        if own <= former:
            newer = former + 1_000_000
            os.utime(candidate, ns=(newer, newer), dir_fd=parent, follow_symlinks=False)
    os.rename(candidate, name, src_dir_fd=parent, dst_dir_fd=parent)


def _link(parent: int, name: str, target: str) -> None:
    candidate = candidate_path(name)
    with suppress(FileNotFoundError):
        os.unlink(candidate, dir_fd=parent)
    os.symlink(target, candidate, dir_fd=parent)
    os.rename(candidate, name, src_dir_fd=parent, dst_dir_fd=parent)


def _refuse_outside(effect: Symlink) -> None:
    inside = os.path.normpath(os.path.join(os.path.dirname(effect.path), effect.target))
    if effect.target.startswith("/") or inside.split("/")[0] == "..":
        raise EffectFailedError(f"{effect.path}: a link to {effect.target!r} leads out of the lane")


@contextmanager
def _words(path: str) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(f"{path}: {error.strerror}") from error
        why = "a link stands in the way" if error.errno == errno.ELOOP else str(error.strerror)
        raise EffectFailedError(f"{path}: {why}") from error
