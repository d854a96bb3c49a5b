"""P3: a link that breaks at any step of a sync leaves every zone on its last good version."""

import re
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.local_cluster import ask, eventually
from tests.pains.cutting import CutLink
from tests.pains.neighbours import NAMES, Neighbours

pytestmark = pytest.mark.timeout(300)

ZONES = ("sync1.test", "sync2.test", "sync3.test")
BOX = "ns1"
MOST = 60


@pytest.fixture
def link(neighbours: Neighbours) -> Iterator[CutLink]:
    """Put a link that can be cut between the controller and the agent of a name server."""
    broken = neighbours.broken
    config = broken.agent_config(BOX)
    before = config.read_text()
    found = re.search(r'^controller = \["([^"]+):(\d+)"\]$', before, re.MULTILINE)
    assert found, before
    made = CutLink((found[1], int(found[2])))
    try:
        config.write_text(before.replace(f"{found[1]}:{found[2]}", made.address))
        broken.restart_agent(BOX)
        assert made.dialled > 0
        assert broken.settled()
        yield made
    finally:
        config.write_text(before)
        broken.restart_agent(BOX)
        made.close()
        assert broken.settled()


class Watch(threading.Thread):
    """Asks for zones again and again; notes each answer that is none of the good ones."""

    def __init__(self, neighbours: Neighbours) -> None:
        super().__init__(daemon=True)
        self._neighbours = neighbours
        self.stopping = threading.Event()
        self.asked = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.stopping.wait(0.01):
            for zone in (*NAMES, *ZONES[:2]):
                for server in ("ns1", "ns2"):
                    try:
                        answers = ask(self._neighbours.places[server], zone, "SOA")
                    except Exception as error:
                        answers = []
                        self.wrong.append(f"{server} {zone}: {error}")
                    self.asked += 1
                    if not answers:
                        self.wrong.append(f"{server} has no {zone}")


def test_p3_a_link_cut_at_any_step_of_a_sync_loses_no_zone(
    neighbours: Neighbours, link: CutLink
) -> None:
    broken = neighbours.broken
    for zone in ZONES[:2]:
        broken.cluster.good("domain", "add", zone, "--account", "acme")
    watch = Watch(neighbours)
    watch.start()
    steps = 0
    while steps < MOST:
        steps += 1
        cuts = link.cuts
        link.cut_after(steps)
        told = []
        for method, path, body in (
            ("PUT", f"/domains/{ZONES[0]}/records", _record(steps)),
            ("PUT", f"/domains/{ZONES[1]}/records", _record(steps)),
            ("POST", "/domains", {"name": ZONES[2], "account": "acme"}),
            ("DELETE", f"/domains/{ZONES[2]}", {}),
        ):
            told.append(broken.api.insist(method, path, body, key=str(uuid4())).status)
        assert all(status < 300 for status in told), told
        assert neighbours.settled(), steps
        link.cut_after(None)
        assert eventually(lambda step=steps: _newest(neighbours, step)), steps
        if link.cuts == cuts:
            break
    watch.stopping.set()
    watch.join(20)
    print(f"cut at {link.cuts} steps, asked {watch.asked} times meanwhile")
    assert link.cuts == steps - 1 >= 5, "the last try must be one that passed uncut"
    assert watch.wrong == []


def _newest(neighbours: Neighbours, step: int) -> bool:
    """Whether every name server answers what was set in this step."""
    return all(
        neighbours.broken.answers(server, f"sync.{zone}", "A") == [f"192.0.2.{step}"]
        for server in ("ns1", "ns2")
        for zone in ZONES[:2]
    )


def _record(step: int) -> dict[str, object]:
    return {"name": "sync", "type": "A", "values": [f"192.0.2.{step}"], "ttl": 1}
