"""`hsctl local` where things go wrong: interrupted, killed, twice at once, in the wrong place."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from controller.local import places
from controller.local.claims import Claims
from controller.local.layout import Layout, Place
from tests.local_cluster import HSCTL, Cluster, Ran, as_nobody, ask, eventually
from tests.scratch import scratch

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def home() -> Iterator[Path]:
    folder = scratch("hs-rough-")
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(home: Path) -> Iterator[Cluster]:
    made = Cluster(home / "c", home)
    try:
        yield made
    finally:
        made.local("reset", "--yes")


def started(cluster: Cluster, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*HSCTL, "local", "up", "--dir", str(cluster.folder), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cluster.environment,
        cwd="/",
    )


def until(process: "subprocess.Popen[str]", word: str) -> None:
    """Read what it tells, up to the step that begins with ``word``."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.strip().startswith(word):
            return
    raise AssertionError(seen)


def supervisor(cluster: Cluster) -> int:
    holder = json.loads((cluster.folder / "supervisor.lock").read_text())
    return int(holder["process"]["pid"])


def answering(cluster: Cluster) -> list[str]:
    """The logical servers that a status without a supervisor says to answer."""
    found: list[str] = json.loads(cluster.local("status", "-o", "json").out)["answering"]
    return found


def leftovers(cluster: Cluster) -> list[str]:
    """Processes and loopback addresses of the cluster that are still there."""
    found = sorted(places.own_addresses(places.label(cluster.folder)))
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(cluster.folder) in line and process.info["pid"] != os.getpid():
            found.append(line)
    return found


def refused_in_one_line(ran: Ran) -> str:
    assert ran.code == 1, ran
    told = [line for line in ran.err.splitlines() if line.startswith("hsctl: ")]
    assert len(told) == 1, ran
    assert "Traceback" not in ran.err
    return told[0]


@pytest.mark.parametrize("step", ["making a new database", "starting the controller", "adding ns2"])
def test_an_interrupted_first_start_leaves_nothing_running_and_goes_on_later(
    cluster: Cluster, step: str
) -> None:
    first = started(cluster)
    until(first, step)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert leftovers(cluster) == []
    if step == "adding ns2":
        assert cluster.local("up", "--detach").code == 0
        banner = cluster.local("up", "--detach").out
        assert f"admin / {(cluster.folder / 'first-password').read_text().strip()}" in banner
        assert ask(cluster.places()["ns2"], "heliosphere.test", "SOA")


def test_an_interrupted_detached_start_leaves_nothing_running(cluster: Cluster) -> None:
    first = started(cluster, "--detach")
    until(first, "starting the controller")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
    assert first.returncode == 1
    assert leftovers(cluster) == []


def test_two_starts_at_once_end_in_one_cluster_and_two_banners(cluster: Cluster) -> None:
    both = [started(cluster, "--detach") for _ in range(2)]
    told = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0] != ""


def test_a_killed_supervisor_is_followed_by_another_or_cleared_away(cluster: Cluster) -> None:
    assert cluster.local("up", "--detach").code == 0
    os.kill(supervisor(cluster), signal.SIGKILL)
    assert eventually(lambda: cluster.local("status").code == 5)
    told = json.loads(cluster.local("status", "-o", "json").out)
    assert (told["up"], told["state"]) == (False, "unattended")
    assert set(told["still_running"]) == set(cluster.processes())
    assert eventually(lambda: len(answering(cluster)) == len(told["logical_servers"]) == 3)
    assert "hsctl local up" in cluster.local("status").out
    assert cluster.local("up", "--detach").code == 0
    assert ask(cluster.places()["ns1"], "heliosphere.test", "SOA")
    cluster.good("account", "add", "acme")
    os.kill(supervisor(cluster), signal.SIGKILL)
    assert cluster.local("down").code == 0
    assert leftovers(cluster) == []
    told = json.loads(cluster.local("status", "-o", "json").out)
    assert told["state"] == "down"
    assert "still_running" not in told


def ports(cluster: Cluster) -> set[Place]:
    plan = Layout(cluster.folder).read_plan()
    assert plan is not None
    return {*places.doors(plan), *(place for place, _ in places.places_of_boxes(plan))}


def test_a_cluster_that_is_made_while_a_controller_is_down_leaves_it_its_ports(
    cluster: Cluster, home: Path
) -> None:
    assert cluster.local("up", "--detach").code == 0
    tending = psutil.Process(supervisor(cluster))
    tending.suspend()
    os.kill(cluster.processes()["controller"], signal.SIGKILL)
    assert eventually(lambda: "controller" not in cluster.processes())
    other = Cluster(home / "other", home / "elsewhere")
    other.home.mkdir()
    try:
        try:
            up = other.local("up", "--detach")
        finally:
            tending.resume()
        assert up.code == 0, up
        assert ports(cluster) & ports(other) == set()
        assert eventually(lambda: cluster.hsctl("status").code == 0)
    finally:
        other.local("reset", "--yes")


def test_reset_ends_a_cluster_that_is_up_and_one_that_is_just_being_made(cluster: Cluster) -> None:
    first = started(cluster, "--detach")
    until(first, "starting the controller")
    assert cluster.local("reset", "--yes").code == 0
    first.communicate(timeout=120)
    assert first.returncode == 1
    assert leftovers(cluster) == []
    assert cluster.local("up", "--detach").code == 0
    assert cluster.local("reset", "--yes").code == 0
    assert leftovers(cluster) == []
    assert not cluster.folder.exists()


def test_a_directory_with_other_things_is_neither_used_nor_removed(cluster: Cluster) -> None:
    cluster.folder.mkdir()
    (cluster.folder / "precious").write_text("mine")
    assert "precious" in refused_in_one_line(cluster.local("up", "--detach"))
    assert "precious" in refused_in_one_line(cluster.local("up"))
    assert "not touched" in refused_in_one_line(cluster.local("reset", "--yes"))
    assert cluster.local("down").code == 0
    assert [entry.name for entry in cluster.folder.iterdir()] == ["precious"]


def test_a_path_that_is_too_long_for_a_socket_is_said_to_be(home: Path) -> None:
    deep = Cluster(home / ("x" * 110), home)
    assert "too long" in refused_in_one_line(deep.local("up", "--detach"))
    assert leftovers(deep) == []
    assert deep.local("reset", "--yes").code == 0
    assert not deep.folder.exists()


def test_a_directory_of_another_user_is_refused_and_its_cluster_is_left_alone(home: Path) -> None:
    theirs = home / "theirs"
    theirs.mkdir()
    theirs.chmod(0o555)
    other = Cluster(theirs, home, as_nobody())
    for verb in (("up", "--detach"), ("up",)):
        assert "another user's" in refused_in_one_line(other.local(*verb))
    assert list(theirs.iterdir()) == []
    theirs.chmod(0o755)


@pytest.mark.parametrize("path", ["/proc/none/c", "/dev/null/c"])
def test_a_place_where_nothing_can_be_made_is_refused_in_one_line(home: Path, path: str) -> None:
    nowhere = Cluster(Path(path), home)
    assert "--dir" in refused_in_one_line(nowhere.local("up", "--detach"))


def test_a_second_start_finds_what_commands_have_changed_and_says_what_does_not_serve(
    cluster: Cluster,
) -> None:
    assert cluster.local("up", "--detach").code == 0
    address, _ = cluster.places()["web1"]
    with Claims() as meanwhile:
        free = places.Chooser(meanwhile).choose(address, range(8100, 8200)).port
    cluster.good("ip", "edit", address, "--new-port", str(free))
    cluster.good("lserver", "rename", "web1.heliosphere.test", "shop.heliosphere.test")
    now = cluster.places()
    assert now["shop"] == (address, free)
    assert "web1" not in now
    running = cluster.local("up", "--detach")
    assert f"{address}:{free}/" in running.out
    assert cluster.local("down").code == 0
    (state,) = (cluster.folder / "boxes" / "ns1" / "state" / "lservers").iterdir()
    by_hand = state / "overrides" / "server" / "mine.conf"
    by_hand.write_text("no such statement;\n")
    up = cluster.local("up", "--detach")
    assert up.code == 0, up
    assert "ns1.heliosphere.test does not serve yet" in up.out
    assert "shop.heliosphere.test" not in up.out
    assert f"{address}:{free}/" in up.out
    assert cluster.places() == now
    assert ask(now["ns2"], "heliosphere.test", "SOA")
    by_hand.unlink()
    assert cluster.local("down").code == 0
    again = cluster.local("up", "--detach")
    assert "does not serve" not in again.out, again
    with Claims() as others:
        assert not others.claim(Place(address, free)), "where it is now"
