import io
import tarfile
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from controller.storage.archive import ArchiveError, Entry, Manifest, read_archive, write_archive


def manifest(files: dict[str, bytes], **changes: object) -> Manifest:
    described = {name: Entry(len(data), sha256(data).hexdigest()) for name, data in files.items()}
    values: dict[str, object] = {
        "format": 1,
        "made_at": "2026-01-01T00:00:00+00:00",
        "program": "1",
        "schema": 1,
        "cluster": "c",
        "history": "h",
        "files": described,
        **changes,
    }
    return Manifest(**values)  # type: ignore[arg-type]


FILES = {"database.dump": b"dump", "secrets.key": b"key", "pki/ca.pem": b"ca"}


def pack(target: Path, head: Manifest, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    first = tarfile.TarInfo("manifest.json")
    text = msgspec.json.encode(head)
    with tarfile.open(target, "w") as tar:
        for member, data in [(first, text), *members]:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def members(files: dict[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(name), data) for name, data in files.items()]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


def test_what_was_written_is_read(tmp_path: Path, scratch: Path) -> None:
    sources = {}
    for number, (name, data) in enumerate(FILES.items()):
        sources[name] = tmp_path / str(number)
        sources[name].write_bytes(data)
    write_archive(tmp_path / "a", manifest(FILES), sources)
    assert read_archive(tmp_path / "a", scratch) == manifest(FILES)
    assert {name: (scratch / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_listed_name_that_is_no_plain_file_is_refused(
    tmp_path: Path, scratch: Path, kind: bytes
) -> None:
    files = {**FILES, "pki/ca.pem": b""}
    packed = members(files)
    packed[2][0].type, packed[2][0].linkname = kind, "/etc/passwd"
    pack(tmp_path / "a", manifest(files), packed)
    with pytest.raises(ArchiveError, match="not a plain file"):
        read_archive(tmp_path / "a", scratch)


@pytest.mark.parametrize("name", ["../x", "/x", "pki/../x", "pki/a/b", "pki/.x", "x", "pki/X\n"])
def test_a_name_outside_the_closed_set_is_refused_even_when_listed(
    tmp_path: Path, scratch: Path, name: str
) -> None:
    files = {**FILES, name: b"x"}
    pack(tmp_path / "a", manifest(files), members(files))
    with pytest.raises(ArchiveError, match="unexpected"):
        read_archive(tmp_path / "a", scratch)
    assert not (tmp_path / "x").exists()


def test_changed_content_is_refused(tmp_path: Path, scratch: Path) -> None:
    pack(tmp_path / "a", manifest(FILES), members({**FILES, "pki/ca.pem": b"CA"}))
    with pytest.raises(ArchiveError, match="checksum"):
        read_archive(tmp_path / "a", scratch)


def test_a_missing_file_is_refused(tmp_path: Path, scratch: Path) -> None:
    pack(tmp_path / "a", manifest(FILES), members({"database.dump": b"dump"}))
    with pytest.raises(ArchiveError, match="incomplete"):
        read_archive(tmp_path / "a", scratch)


def test_a_newer_format_is_refused(tmp_path: Path, scratch: Path) -> None:
    pack(tmp_path / "a", manifest(FILES, format=2), members(FILES))
    with pytest.raises(ArchiveError, match="format 2"):
        read_archive(tmp_path / "a", scratch)


@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 10240])
def test_junk_is_refused(tmp_path: Path, scratch: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArchiveError):
        read_archive(tmp_path / "a", scratch)
