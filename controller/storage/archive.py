"""The backup's file: a tar of plain files with a manifest of their checksums, read with suspicion.

Of an archive nothing is believed: member names come from a closed set, only plain files are taken,
sizes and checksums must be the manifest's (S18).
"""

import io
import os
import re
import tarfile
from collections.abc import Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO

import msgspec

FORMAT = 1
DUMP = "database.dump"
SECRETS_KEY = "secrets.key"
PKI = "pki/"
_MANIFEST = "manifest.json"
_MANIFEST_BYTES = 1024 * 1024
_SMALL_BYTES = 64 * 1024 * 1024
"""The most that any file but the dump may have: the deny-list of a very large cluster."""
_MEMBER = re.compile(r"^(database\.dump|secrets\.key|pki/[a-z0-9][a-z0-9._-]{0,100})$")


class ArchiveError(Exception):
    """The file is no backup of ours, or it was damaged or changed."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a backup says about itself."""

    format: int
    made_at: str
    program: str
    schema: int
    cluster: str
    history: str
    files: dict[str, Entry]


def is_member(name: str) -> bool:
    """Tell whether a file may be part of a backup."""
    return bool(_MEMBER.match(name))


def describe(path: Path) -> Entry:
    """Give size and checksum of a file."""
    with path.open("rb") as file:
        return Entry(path.stat().st_size, file_digest(file, "sha256").hexdigest())


def write_archive(target: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Write the archive with mode 0600, whole or not at all; raises FileExistsError, OSError."""
    if target.exists():
        raise FileExistsError(f"{target} exists already: a backup never replaces another")
    candidate = target.with_name(f".{target.name}.candidate")
    candidate.unlink(missing_ok=True)
    descriptor = os.open(candidate, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                text = msgspec.json.format(msgspec.json.encode(manifest))
                _add(tar, _MANIFEST, len(text), io.BytesIO(text))
                for name, path in files.items():
                    with path.open("rb") as content:
                        _add(tar, name, manifest.files[name].size, content)
            file.flush()
            os.fsync(file.fileno())
        os.link(candidate, target)  # unlike a rename, this refuses to replace
    finally:
        candidate.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    tar.addfile(member, content)


def read_archive(source: Path, directory: Path) -> Manifest:
    """Take the archive's files out into ``directory`` (private, empty) and check them all.

    Raises `ArchiveError`, OSError.
    """
    try:
        with tarfile.open(source, mode="r:") as tar:
            manifest = _manifest(tar)
            (directory / "pki").mkdir(mode=0o700)
            seen = set()
            while (member := tar.next()) is not None:
                entry = manifest.files.get(member.name)
                if entry is None or member.name in seen or not is_member(member.name):
                    raise ArchiveError(f"{source}: unexpected {member.name[:120]!r}")
                _extract(tar, member, entry, directory / member.name)
                seen.add(member.name)
    except tarfile.TarError as error:
        raise ArchiveError(f"{source} is not a backup: {error}") from error
    missing = sorted(set(manifest.files) - seen)
    if missing or DUMP not in seen or SECRETS_KEY not in seen:
        raise ArchiveError(f"{source} is incomplete: {', '.join(missing) or 'files are missing'}")
    return manifest


def _manifest(tar: tarfile.TarFile) -> Manifest:
    member = tar.next()
    if member is None or member.name != _MANIFEST or not member.isreg():
        raise ArchiveError("this is not a backup: it does not begin with a manifest")
    if member.size > _MANIFEST_BYTES:
        raise ArchiveError("this is not a backup: its manifest is too large")
    content = tar.extractfile(member)
    try:
        manifest = msgspec.json.decode(content.read() if content else b"", type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ArchiveError(f"the manifest cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise ArchiveError(f"backup format {manifest.format} is not known here (this is {FORMAT})")
    return manifest


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry, target: Path) -> None:
    content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if content is None:
        raise ArchiveError(f"{member.name} is not a plain file")
    if member.size != entry.size or (member.name != DUMP and member.size > _SMALL_BYTES):
        raise ArchiveError(f"{member.name} does not have the size that the manifest says")
    digest = sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := content.read(1024 * 1024):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise ArchiveError(f"{member.name} was changed or damaged: its checksum differs")
