"""One suite for every box: what a lane's files do on a real file system and in memory."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent import looks
from node_agent.box.interface import (
    Absent,
    DirectoryImage,
    FileImage,
    LaneFiles,
    LinkImage,
    Look,
)
from node_agent.box.memory import MemoryFiles, World
from node_agent.effects.failures import DiskFullError, EffectFailedError
from node_agent.effects.files import PosixFiles
from templates.effects import MakeDirectory, RemovePath, Symlink, WriteFile, candidate_path


@pytest.fixture(params=["posix", "memory"])
def files(request: Any, tmp_path: Path) -> Iterator[LaneFiles]:
    if request.param == "memory":
        yield MemoryFiles(World())
        return
    real = PosixFiles(tmp_path / "lane")
    yield real
    real.close()


def content(files: LaneFiles, path: str) -> bytes | None:
    found = files.image(path)
    return found.content if isinstance(found, FileImage) else None


def put(files: LaneFiles, path: str, text: bytes, **more: Any) -> None:
    effect = WriteFile(path, text, **more)
    files.stage((effect,))
    files.commit((effect,))


def test_a_staged_file_is_not_in_place_until_it_is_committed(files: LaneFiles) -> None:
    effect = WriteFile("a/b/c.conf", b"new")
    files.stage((effect,))
    assert files.image("a/b/c.conf") == Absent()
    assert content(files, candidate_path("a/b/c.conf")) == b"new"
    files.commit((effect,))
    assert content(files, "a/b/c.conf") == b"new"
    assert files.image(candidate_path("a/b/c.conf")) == Absent()


@pytest.mark.parametrize("length", [244, 245, 255])
def test_the_longest_names_of_files_have_candidates_too(files: LaneFiles, length: int) -> None:
    name = "n" * length
    put(files, name, b"new")
    files.commit((Symlink(f"vhosts/{name}", "../sites"),))
    assert content(files, name) == b"new"
    assert files.image(f"vhosts/{name}") == LinkImage("../sites")
    assert len(candidate_path(name)) <= 255


def test_many_files_are_staged_at_once(files: LaneFiles) -> None:
    effects = tuple(WriteFile(f"zones/{n % 7}/z{n}", str(n).encode()) for n in range(50))
    files.stage(effects)
    files.commit(effects)
    assert all(content(files, each.path) == each.content for each in effects)


def test_staging_again_replaces_the_candidate(files: LaneFiles) -> None:
    files.stage((WriteFile("a", b"one"),))
    put(files, "a", b"two")
    assert content(files, "a") == b"two"


def test_a_discarded_candidate_is_gone(files: LaneFiles) -> None:
    files.stage((WriteFile("a", b"one"),))
    files.discard(("a",))
    assert files.image(candidate_path("a")) == Absent()
    files.discard(("a",))


def look(files: LaneFiles, path: str, size: int = 4) -> Look:
    return files.look(path, size)


def test_a_look_tells_content_mode_and_owner_of_a_file(files: LaneFiles) -> None:
    put(files, "a/b.conf", b"text", mode=0o640)
    seen = look(files, "a/b.conf")
    assert seen.looks == looks.wanted(WriteFile("a/b.conf", b"text"))
    assert seen.mode == 0o640
    assert seen.owner == files.owned_by("agent")


def test_a_look_reads_no_file_of_another_size(files: LaneFiles) -> None:
    put(files, "a", b"much more than four bytes")
    assert look(files, "a").looks == "file"


def test_a_look_follows_no_link(files: LaneFiles) -> None:
    put(files, "real/x", b"text")
    files.commit((Symlink("a", "real/x"), Symlink("folder", "real")))
    assert look(files, "a").looks == "link real/x"
    assert look(files, "folder/x").looks == "other"


def test_a_look_at_nothing_at_a_directory_and_below_a_file(files: LaneFiles) -> None:
    files.commit((MakeDirectory("d"),))
    put(files, "f", b"text")
    assert look(files, "none").looks == look(files, "no/ne").looks == "absent"
    assert look(files, "d").looks == "directory"
    assert look(files, "f/below").looks == "other"


def test_a_look_at_a_pipe_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    files = PosixFiles(tmp_path / "lane")
    os.mkfifo(tmp_path / "lane" / "pipe")
    assert files.look("pipe", 0).looks == "other"
    files.close()


def test_the_end_of_a_file_is_read(files: LaneFiles) -> None:
    put(files, "logs/error.log", b"one\ntwo\n")
    assert files.tail("logs/error.log", 4) == b"two\n"
    assert files.tail("logs/error.log", 1000) == b"one\ntwo\n"
    with pytest.raises(EffectFailedError):
        files.tail("logs/none.log", 4)


def test_a_commit_without_a_candidate_is_refused(files: LaneFiles) -> None:
    with pytest.raises(EffectFailedError):
        files.commit((WriteFile("a", b"one"),))


@pytest.mark.parametrize("former", [None, b"old"])
def test_restoring_brings_back_what_was(files: LaneFiles, former: bytes | None) -> None:
    if former is not None:
        put(files, "a/f", former, mode=0o640)
    before = files.image("a/f")
    put(files, "a/f", b"new")
    for _ in range(2):
        files.restore("a/f", before)
        assert files.image("a/f") == before


def test_a_removed_file_is_restored_with_its_mode(files: LaneFiles) -> None:
    put(files, "f", b"secret", mode=0o600)
    before = files.image("f")
    files.commit((RemovePath("f"),))
    assert files.image("f") == Absent()
    files.restore("f", before)
    assert files.image("f") == before
    assert isinstance(before, FileImage)
    assert before.mode == 0o600


def test_a_link_is_replaced_and_restored(files: LaneFiles) -> None:
    files.commit((Symlink("vhosts/a.test", "../sites/1/htdocs"),))
    before = files.image("vhosts/a.test")
    assert before == LinkImage("../sites/1/htdocs")
    files.commit((Symlink("vhosts/a.test", "../sites/2/htdocs"),))
    assert files.image("vhosts/a.test") == LinkImage("../sites/2/htdocs")
    files.restore("vhosts/a.test", before)
    assert files.image("vhosts/a.test") == before


def test_a_link_is_removed_only_where_it_points_as_said(files: LaneFiles) -> None:
    files.commit((Symlink("a", "mine"),))
    files.commit((RemovePath("a", target="other"),))
    assert files.image("a") == LinkImage("mine")
    files.commit((RemovePath("a", target="mine"),))
    assert files.image("a") == Absent()


def test_removing_what_is_not_there_is_no_error(files: LaneFiles) -> None:
    files.commit((RemovePath("no/such/file"),))
    files.remove("no/such/file")
    files.sync(("no/such/file",))


def test_what_belongs_to_others_is_kept(files: LaneFiles) -> None:
    put(files, "site/index.html", b"ours", only_if_absent=True)
    assert content(files, "site/index.html") == b"ours"
    put(files, "site/index.html", b"the customer's")
    put(files, "site/index.html", b"ours again", only_if_absent=True)
    assert content(files, "site/index.html") == b"the customer's"
    assert files.image(candidate_path("site/index.html")) == Absent()


def test_a_directory_that_was_made_is_taken_back_only_while_it_is_empty(files: LaneFiles) -> None:
    before = files.image("d")
    files.commit((MakeDirectory("d"),))
    assert files.image("d") == DirectoryImage()
    files.commit((MakeDirectory("d"),))
    files.restore("d", before)
    assert files.image("d") == Absent()
    put(files, "d/kept", b"x")
    files.restore("d", before)
    assert content(files, "d/kept") == b"x"


def test_scratch_files_come_and_go(files: LaneFiles) -> None:
    files.scratch((WriteFile("check/base.conf", b"x"),))
    assert content(files, "check/base.conf") == b"x"
    files.remove("check/base.conf")
    assert files.image("check/base.conf") == Absent()


# --- the real file system alone ---


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[tuple[PosixFiles, Path]]:
    real = PosixFiles(tmp_path / "lane")
    yield real, tmp_path / "lane"
    real.close()


def test_s16_no_folder_is_entered_through_a_link(lane: tuple[PosixFiles, Path]) -> None:
    files, root = lane
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text("theirs")
    (root / "site").symlink_to(outside)
    for attempt in (
        lambda: put(files, "site/f", b"ours"),
        lambda: files.commit((RemovePath("site/f"),)),
        lambda: files.image("site/f"),
        lambda: files.restore("site/f", Absent()),
        lambda: files.commit((Symlink("site/l", "f"),)),
        lambda: files.scratch((WriteFile("site/s", b""),)),
        lambda: files.commit((MakeDirectory("site/d"),)),
    ):
        with pytest.raises(EffectFailedError):
            attempt()
    assert os.listdir(outside) == ["f"]
    assert (outside / "f").read_text() == "theirs"


def test_s16_a_link_at_the_files_own_place_is_replaced_not_followed(
    lane: tuple[PosixFiles, Path],
) -> None:
    files, root = lane
    victim = root.parent / "victim"
    victim.write_text("theirs")
    (root / "f").symlink_to(victim)
    (root / ".f.candidate").symlink_to(victim)
    put(files, "f", b"ours")
    assert victim.read_text() == "theirs"
    assert not (root / "f").is_symlink()


@pytest.mark.parametrize("target", ["/etc", "../../etc", "../../../x"])
def test_s16_a_link_out_of_the_lane_is_refused(lane: tuple[PosixFiles, Path], target: str) -> None:
    files, _ = lane
    with pytest.raises(EffectFailedError, match="leads out"):
        files.commit((Symlink("vhosts/a", target),))


def test_what_replaces_a_file_is_newer_also_after_the_clock_was_set_back(
    lane: tuple[PosixFiles, Path],
) -> None:
    files, root = lane
    put(files, "zones/a.zone", b"old")
    tomorrow = (root / "zones/a.zone").stat().st_mtime_ns + 86_400 * 10**9
    os.utime(root / "zones/a.zone", ns=(tomorrow, tomorrow))
    image = files.image("zones/a.zone")
    put(files, "zones/a.zone", b"new")
    replaced = (root / "zones/a.zone").stat().st_mtime_ns
    assert replaced > tomorrow
    files.restore("zones/a.zone", image)
    assert (root / "zones/a.zone").stat().st_mtime_ns > replaced


def test_s16_a_log_that_is_a_link_a_fifo_or_a_folder_is_not_read(
    lane: tuple[PosixFiles, Path], tmp_path: Path
) -> None:
    files, root = lane
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    (root / "logs").mkdir()
    (root / "logs/link.log").symlink_to(secret)
    os.mkfifo(root / "logs/fifo.log")
    (root / "logs/folder.log").mkdir()
    (root / "elsewhere").symlink_to(tmp_path)
    for path in ("logs/link.log", "logs/fifo.log", "logs/folder.log", "elsewhere/shadow"):
        with pytest.raises(EffectFailedError):
            files.tail(path, 100)
    with pytest.raises(EffectFailedError, match="not a file"):
        files.tail("logs/fifo.log", 100)


def test_a_fifo_in_the_way_does_not_hang_the_agent(lane: tuple[PosixFiles, Path]) -> None:
    files, root = lane
    os.mkfifo(root / "f")
    with pytest.raises(EffectFailedError):
        files.image("f")


def test_a_new_file_never_has_wider_rights_than_it_ends_with(
    lane: tuple[PosixFiles, Path],
) -> None:
    files, root = lane
    files.stage((WriteFile("key", b"secret", mode=0o600),))
    assert stat.S_IMODE((root / ".key.candidate").stat().st_mode) == 0o600


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told_apart_from_a_refusal(
    lane: tuple[PosixFiles, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files, root = lane
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(full, data))
    with pytest.raises(DiskFullError):
        files.stage((WriteFile("f", b"x" * 100),))
    monkeypatch.undo()
    os.close(full)
    assert os.listdir(root) == []
