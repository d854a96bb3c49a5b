"""A dead daemon quarantines nothing: the lane says so, and goes on by itself."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator

import psutil
import pytest

from tests.faults.cluster_under_fault import (
    BOXES,
    Broken,
    broken_cluster,
    end,
    goes_live,
    set_late,
)
from tests.local_cluster import eventually

pytestmark = pytest.mark.timeout(300)

ZONE = "daemons.test"


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as made:
        made.cluster.good("account", "add", "acme")
        made.cluster.good("domain", "add", ZONE, "--account", "acme")
        yield made


@pytest.fixture(autouse=True)
def well(broken: Broken) -> None:
    """Each test begins with a cluster that is well."""
    assert broken.settled(), broken.status()["lanes"]


@contextlib.contextmanager
def another_program(broken: Broken, box: str, name: str, path: str) -> Iterator[None]:
    """Have the box's grants name another program, with which the agent starts anew, for a while."""
    config = broken.grants(box)
    former = config.read_text()
    config.write_text(re.sub(f'^{name} = "/.*"$', f'{name} = "{path}"', former, flags=re.M))
    broken.restart_agent(box)
    try:
        yield
    finally:
        config.write_text(former)
        broken.restart_agent(box)


@pytest.mark.parametrize("box", BOXES)
def test_a_killed_daemon_is_started_again(broken: Broken, box: str) -> None:
    former = end(broken.daemon(box))
    if box == "web1":
        assert eventually(lambda: broken.page(ZONE) == 200, 30)
    else:
        assert eventually(lambda: broken.answers(box, ZONE, "SOA") != [], 30)
    daemon = broken.daemon(box)
    assert daemon is not None
    assert daemon.pid != former.pid


def test_apache_is_started_again_though_its_orphans_hold_the_port(broken: Broken) -> None:
    """Only the parent is killed: its children go on serving an old configuration."""
    daemon = broken.daemon("web1")
    assert daemon is not None
    orphans = daemon.children()
    daemon.kill()
    broken.cluster.good("domain", "add", "orphans.test", "--account", "acme")
    assert eventually(lambda: broken.page("orphans.test") == 200)  # by Apache or by its orphans
    _, left = psutil.wait_procs(orphans, 30)
    assert not left
    assert broken.settled(), broken.lane("web1")


def test_a_daemon_that_does_not_start_quarantines_nothing(broken: Broken) -> None:
    """ns1's program fails: its lane says daemon-down; waiting says 3 early; then all goes live."""
    failing = broken.cluster.home / "failing-named"
    failing.write_text("#!/bin/sh\necho 'the disk of named is on fire' >&2\nexit 1\n")
    failing.chmod(0o755)
    with another_program(broken, "ns1", "named", str(failing)):
        end(broken.daemon("ns1"))
        assert broken.lane_is("ns1", "daemon-down"), broken.lane("ns1")
        assert "daemon down" in broken.condition("ns1")
        assert set_late(broken, ZONE, "down") == 3
        assert broken.lane("ns1")["message"]
        assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]
        faults = [f for f in broken.faults() if f["box"] == "ns1"]
        assert [f["state"] for f in faults if not f["kind"]] == ["daemon-down"]
        (lane,) = json.loads(broken.agent("ns1", "status", "-o", "json").out)["lanes"]
        assert lane["condition"] == "daemon-down"
        # The other name server is not held back, if it is the master.
        last = broken.rows("SELECT max(id) FROM change")[0][0]
        state = broken.api.ask("GET", f"/changes/{last}")
        assert state.body["state"] == "pending"
        assert {lane["state"] for lane in state.body["lanes"]} <= {"live", "held", "waiting"}
    assert goes_live(broken, ZONE, "down")
    assert broken.settled(), broken.status()["lanes"]
    assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]


def test_a_daemon_whose_port_was_taken_comes_back(broken: Broken) -> None:
    """Another program binds web1's port the moment Apache is gone."""
    address, port = broken.cluster.places()["web1"]
    agent = broken.process("agent-web1")
    assert agent is not None
    agent.suspend()
    end(broken.daemon("web1"))
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def bound() -> bool:
            try:
                taker.bind((address, port))
            except OSError:
                return False
            return True

        assert eventually(bound, 15)
        taker.listen()
        agent.resume()
        assert broken.lane_is("web1", "daemon-down"), broken.lane("web1")
        ran = broken.cluster.hsctl("domain", "add", "taken.test", "--account", "acme")
        assert ran.code == 3, ran
        assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]
    assert eventually(lambda: broken.lane("web1")["condition"] == "ok", 90), (
        broken.lane("web1"),
        broken.log("agent-web1")[-3000:],
    )
    assert eventually(lambda: broken.page("taken.test") == 200), (
        broken.lane("web1"),
        broken.log("agent-web1")[-3000:],
    )
    assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]


@pytest.mark.parametrize("box", ["ns1", "web1"])
def test_a_daemon_that_hangs_quarantines_nothing(broken: Broken, box: str) -> None:
    """Stopped, it holds its ports and answers nobody; waiting says 3, and then all goes live."""
    daemon = broken.daemon(box)
    assert daemon is not None
    family = [daemon, *daemon.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    name = f"hangs-{box}.test"
    try:
        ran = broken.cluster.hsctl("domain", "add", name, "--account", "acme", "--timeout", "5")
        assert ran.code == 3, ran
        assert broken.lane_is(box, "daemon-down", 60), broken.lane(box)
        assert broken.lane(box)["message"]
        assert broken.quarantined() == [], [fault["message"] for fault in broken.faults()]
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    if box == "web1":
        assert eventually(lambda: broken.page(name) == 200, 60), broken.lane(box)
    else:
        assert eventually(lambda: broken.answers(box, name, "SOA") != [], 60), broken.lane(box)
    assert broken.settled(90), broken.status()["lanes"]
    assert broken.quarantined() == []
