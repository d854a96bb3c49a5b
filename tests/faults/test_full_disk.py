"""A full disk quarantines nothing. This cluster is not used again: its disk is another after."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.effects.failures import DiskFullError
from node_agent.effects.files import PosixFiles
from templates.effects import WriteFile
from tests.faults.cluster_under_fault import Broken, broken_cluster, end, goes_live, set_late
from tests.local_cluster import eventually

pytestmark = pytest.mark.timeout(300)

ZONE = "daemons.test"


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as made:
        made.cluster.good("account", "add", "acme")
        made.cluster.good("domain", "add", ZONE, "--account", "acme")
        yield made


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk is a small tmpfs, which root mounts")
def test_a_full_disk_quarantines_nothing(broken: Broken) -> None:
    """The directory of ns2's lanes is on a disk of its own, which gets full, and then has room."""
    lanes = broken.lane_root("ns2").parent
    kept = broken.cluster.home / "kept"
    agent = broken.process("agent-ns2")
    assert agent is not None
    agent.suspend()
    end(broken.daemon("ns2"))
    copy_into(lanes, kept)
    mount(lanes)
    try:
        copy_into(kept, lanes)
        agent.kill()
        assert eventually(lambda: broken.answers("ns2", ZONE, "SOA") != [], 40)
        assert broken.settled(), broken.lane("ns2")
        ballast = lanes / "ballast"
        fill(ballast)
        for number in range(3):
            broken.cluster.hsctl(
                "domain", "add", f"full{number}.test", "--account", "acme", "--no-wait"
            )
        assert broken.lane_is("ns2", "disk-full"), broken.lane("ns2")
        assert "disk full" in broken.condition("ns2")
        # A secondary answers what it could not write down; a master cannot be given it.
        code = set_late(broken, ZONE, "full", timeout=20)
        served = broken.answers("ns2", f"full.{ZONE}", "A") == ["192.0.2.9"]
        assert code == 3 or (code == 0 and served)
        assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]
        assert broken.answers("ns2", ZONE, "SOA") != []
        ballast.unlink()
        assert goes_live(broken, ZONE, "full")
        for number in range(3):
            assert eventually(
                lambda n=number: broken.answers("ns2", f"full{n}.test", "SOA") != [], 60
            )
        assert broken.settled(), broken.lane("ns2")
        assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]
        says_so_where_there_is_no_inode(broken, lanes)
    finally:
        subprocess.run(["umount", "--lazy", str(lanes)], check=True)


def says_so_where_there_is_no_inode(broken: Broken, lanes: Path) -> None:
    """There is room for bytes, and none for one more file."""
    files = os.statvfs(lanes).f_files

    def full() -> bool:
        """named comes and goes with files of its own meanwhile."""
        disk = os.statvfs(lanes)
        with contextlib.suppress(subprocess.CalledProcessError):
            remount(lanes, f"nr_inodes={disk.f_files - disk.f_ffree}")
        return os.statvfs(lanes).f_ffree == 0

    assert eventually(full)
    broken.cluster.hsctl("domain", "add", "inode.test", "--account", "acme", "--no-wait")
    assert broken.lane_is("ns2", "disk-full"), broken.lane("ns2")
    assert broken.quarantined() == [], broken.faults()
    assert broken.answers("ns2", ZONE, "SOA") != []
    remount(lanes, f"nr_inodes={files}")
    assert eventually(lambda: broken.answers("ns2", "inode.test", "SOA") != [], 60)
    assert broken.settled(), broken.lane("ns2")
    assert broken.quarantined() == [], broken.faults()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is read only is a tmpfs, see above")
def test_a_disk_that_became_read_only_is_no_fault_of_any_object(tmp_path: Path) -> None:
    """A file system that met errors is read only from then on: for all that is written there."""
    mount(tmp_path)
    files = PosixFiles(tmp_path)
    try:
        files.stage((WriteFile("zones/a.zone", b"1"),))
        files.commit((WriteFile("zones/a.zone", b"1"),))
        remount(tmp_path, "ro")
        for write in (
            lambda: files.stage((WriteFile("zones/b.zone", b"2"),)),
            lambda: files.remove("zones/a.zone"),
            files.room,
        ):
            with pytest.raises(DiskFullError):
                write()
    finally:
        files.close()
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)


def mount(place: Path) -> None:
    status = place.stat()
    options = f"size=6m,mode={status.st_mode & 0o7777:o},uid={status.st_uid},gid={status.st_gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "hs-test", str(place)], check=True)


def copy_into(source: Path, target: Path) -> None:
    """Copy a directory's content with owners and modes, which named needs."""
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return
