"""S16: whoever may write below the lane's directory cannot lead the agent out of it by being quick.

Cases: Froxlor CVE-2026-100716 and CVE-2026-113678 (root's ``chown -R`` follows a link),
CVE-2026-100715 (``rm -rf`` follows a link); CyberPanel CVE-2021-47949.

A thread swaps the folders and files that the agent works on for links out of the lane and back,
without a pause, while the agent does every effect on them. What stands still is in
``tests/contract/test_boxes.py``.
"""

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node_agent.box.interface import Absent, AnyImage, FileImage, LinkImage
from node_agent.effects.failures import EffectFailedError
from node_agent.effects.files import Ids, PosixFiles
from templates.effects import MakeDirectory, RemovePath, Symlink, WriteFile, candidate_path

ROUNDS = 150
SECRET = b"not the lane's"
NAMES = ("f", "d", "l")
SWAPPED = ("site", "site/in", *(f"site/in/{name}" for name in NAMES), "site/in/log")
"""What is swapped: each folder of the way, and what stands at its end, candidates too."""


class Outside:
    """A folder of somebody else's with the names that the agent works on, and how it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "in" / "deep").mkdir(parents=True)
        for place in (folder, folder / "in"):
            for name in (*NAMES, "log", *(candidate_path(each) for each in NAMES)):
                (place / name).write_bytes(SECRET)
                (place / name).chmod(0o600)
        self.before = self.seen()

    def seen(self) -> dict[str, tuple[object, ...]]:
        """Every name below with its kind, mode, owner and content."""
        found: dict[str, tuple[object, ...]] = {}
        for root, folders, names in os.walk(self.folder):
            for name in (*names, *folders):
                path = Path(root, name)
                status = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found


class Adversary(threading.Thread):
    """Swaps what the agent works on for links to ``outside`` and back, by a seed."""

    def __init__(self, lane: Path, outside: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self._lane, self._outside = lane, outside
        self._draw = random.Random(seed)
        self._over = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        """Swap until told to end."""
        while not self._over.is_set():
            name = self._draw.choice(SWAPPED)
            place = self._lane / name
            depth = name.removeprefix("site").lstrip("/")
            target = self._outside / depth if self._draw.random() < 0.8 else Path("/etc")
            aside = self._lane / f".aside-{self._draw.randrange(4)}"
            with suppress(OSError):
                self._clear(aside)
                os.rename(place, aside)
            with suppress(OSError):
                os.symlink(target, place)
                self.swaps += 1
            if self._draw.random() < 0.3:
                candidate = place.with_name(f".{place.name}.candidate")
                with suppress(OSError):
                    os.unlink(candidate)
                with suppress(OSError):
                    os.symlink(self._outside / "in" / candidate.name, candidate)
            with suppress(OSError):
                os.unlink(place)
            with suppress(OSError):
                os.rename(aside, place)
            if name in ("site", "site/in"):
                with suppress(OSError):
                    os.makedirs(self._lane / "site" / "in")
            if self._draw.random() < 0.3:
                with suppress(OSError):
                    self._write_log()

    def _write_log(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        handle = os.open(self._lane / "site" / "in" / "log", flags)
        os.write(handle, b"ours")
        os.close(handle)

    def _clear(self, path: Path) -> None:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)

    def end(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()


def effects(files: PosixFiles, owner: str) -> dict[str, Callable[[], object]]:
    """Every call of the lane's files, on the paths that are swapped."""
    write = WriteFile("site/in/f", b"ours", mode=0o666, owner=owner)  # type: ignore[arg-type]
    kept = WriteFile("site/in/f", b"ours", only_if_absent=True)
    make = MakeDirectory("site/in/d", mode=0o777, owner=owner)  # type: ignore[arg-type]
    put_back: tuple[AnyImage, ...] = (
        FileImage(b"as it was", 0o666, 65534, 65534),
        LinkImage("../../x"),
        Absent(),
    )
    return {
        "stage": lambda: files.stage((write,)),
        "commit": lambda: files.commit((write,)),
        "commit what is kept": lambda: (files.stage((kept,)), files.commit((kept,))),
        "stage many": lambda: files.stage(
            tuple(WriteFile(f"site/in/m{n}", b"m") for n in range(9))
        ),
        "scratch": lambda: files.scratch((write,)),
        "make": lambda: files.commit((make,)),
        "link": lambda: files.commit((Symlink("site/in/l", "../../site"),)),
        "remove": lambda: files.commit((RemovePath("site/in/f"),)),
        "remove a link": lambda: files.commit((RemovePath("site/in/l", target="../../site"),)),
        "take away": lambda: files.remove("site/in/f"),
        "discard": lambda: files.discard(("site/in/f", "site/in/l")),
        **{
            f"restore {type(image).__name__}": lambda image=image: files.restore(  # type: ignore[misc]
                "site/in/f", image
            )
            for image in put_back
        },
        "restore a folder's absence": lambda: files.restore("site/in/d", Absent()),
        "sync": lambda: files.sync(("site/in/f", "site/in/d/x")),
        "image": lambda: files.image("site/in/f"),
        "tail": lambda: files.tail("site/in/log", 1000),
    }


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[tuple[PosixFiles, Path]]:
    daemon = Ids(65534, 65534) if os.geteuid() == 0 else None
    root = tmp_path / "lane"
    files = PosixFiles(root, daemon)
    (root / "site" / "in").mkdir(parents=True)
    (root / "site" / "in" / "log").write_bytes(b"ours")
    yield files, root
    files.close()


def test_nothing_outside_of_the_lane_changes_or_is_read(
    lane: tuple[PosixFiles, Path], tmp_path: Path
) -> None:
    files, root = lane
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    outside = Outside(tmp_path / "outside")
    adversary = Adversary(root, outside.folder, seed)
    adversary.start()
    done, refused = set(), set()
    try:
        for number in range(ROUNDS):
            for name, run in effects(files, "daemon" if number % 2 else "agent").items():
                try:
                    found = run()
                except EffectFailedError:
                    refused.add(name)
                    continue
                done.add(name)
                seen = found if isinstance(found, bytes) else getattr(found, "content", b"")
                assert SECRET not in seen, name
                assert b"root:" not in seen, name
            if number % 20 == 0:
                assert outside.seen() == outside.before, number
    finally:
        adversary.end()
    assert outside.seen() == outside.before
    # The race was one: every effect was done at times, and most met a link at times.
    assert done == effects(files, "agent").keys()
    assert len(refused) > len(done) / 2
    assert adversary.swaps > ROUNDS


def test_the_adversary_is_quick_enough_for_those_who_look_first(
    lane: tuple[PosixFiles, Path], tmp_path: Path
) -> None:
    """A program that goes by names is caught, also where it looks for links before it writes."""
    _, root = lane
    outside = Outside(tmp_path / "outside")
    adversary = Adversary(root, outside.folder, 1)
    adversary.start()
    try:
        for _ in range(200_000):
            with suppress(OSError):
                path = root / "site" / "in" / "f"
                if not (root / "site").is_symlink() and not path.parent.is_symlink():
                    path.write_bytes(b"caught")
            if adversary.swaps % 16 == 0 and outside.seen() != outside.before:
                break
        assert outside.seen() != outside.before
    finally:
        adversary.end()
