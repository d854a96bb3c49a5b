"""Kill -9 of agent, controller and PostgreSQL while records are written all the time.

What was committed is live afterwards on both name servers, the last write of each name wins, and
`--wait` said 0 only of what was live.
"""

import os
import random
import threading
from collections.abc import Iterator

import pytest

from tests.faults.cluster_under_fault import Api, Broken, broken_cluster
from tests.local_cluster import ask, eventually

pytestmark = pytest.mark.timeout(0 if "HS_KILLS" in os.environ else 300)

ZONE = "kills.test"
KILLS = int(os.environ.get("HS_KILLS", "12"))
NAMES = 6
VICTIMS = ("agent-ns1", "agent-ns2", "controller", "postgres")


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as made:
        made.cluster.good("account", "add", "acme")
        made.cluster.good("domain", "add", ZONE, "--account", "acme")
        yield made


class Writer(threading.Thread):
    """Sets one record after another, each under an idempotency key, until told to stop."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(daemon=True)
        self._api = Api(broken.cluster.home)
        self.stopping = threading.Event()
        self.last: dict[str, str] = {}
        self.changes: list[int] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        number = 0
        try:
            while not self.stopping.is_set():
                number += 1
                name = f"n{number % NAMES}"
                value = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                answer = self._api.insist(
                    "PUT",
                    f"/domains/{ZONE}/records",
                    {"name": name, "type": "A", "values": [value]},
                    key=f"load-{number}",
                    patience=600.0,  # a start that is killed again and again answers nothing
                )
                assert answer.status == 200, answer
                self.changes.append(answer.body["change"])
                self.last[name] = value
                self.stopping.wait(0.02)
        except BaseException as failure:
            self.failure = failure


class Waiter(threading.Thread):
    """Runs `hsctl record set --wait` again and again; asks the name servers whenever it said 0."""

    def __init__(self, broken: Broken) -> None:
        super().__init__(daemon=True)
        self._broken = broken
        self.stopping = threading.Event()
        self.codes: list[int] = []
        self.lies: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        cluster = self._broken.cluster
        number = 0
        try:
            places = cluster.places()
            while not self.stopping.is_set():
                number += 1
                value = f"172.16.{number >> 8}.{number & 255}"
                ran = cluster.hsctl(
                    "record", "set", ZONE, f"w{number}", "A", value, "--timeout", "10"
                )
                self.codes.append(ran.code)
                if ran.code != 0:
                    continue
                for box in ("ns1", "ns2"):
                    seen = ask(places[box], f"w{number}.{ZONE}", "A")
                    if seen != [value]:
                        self.lies.append(f"w{number} on {box}: {seen}, not {value}")
        except BaseException as failure:
            self.failure = failure


def test_no_change_is_lost_or_misordered_by_kills_at_random_moments(broken: Broken) -> None:
    seed = int(os.environ.get("HS_KILL_SEED", "0")) or random.randrange(1, 2**32)
    print(f"HS_KILL_SEED={seed}")
    draw = random.Random(seed)
    writer, waiter = Writer(broken), Waiter(broken)
    (before,) = broken.rows("SELECT coalesce(max(id), 0) FROM change")[0]
    for thread in (writer, waiter):
        thread.start()
    victims = [*VICTIMS * (KILLS // len(VICTIMS))]
    draw.shuffle(victims)
    for victim in victims:
        threading.Event().wait(draw.uniform(0.2, 2.0))
        broken.kill(victim)
    for thread in (waiter, writer):
        thread.stopping.set()
        thread.join(90)
        assert not thread.is_alive(), broken.last_words()
        assert thread.failure is None, thread.failure

    assert waiter.lies == []
    assert set(waiter.codes) <= {0, 3, 5}, waiter.codes
    assert broken.settled(), broken.status()
    places = broken.cluster.places()
    for name, value in writer.last.items():
        for box in ("ns1", "ns2"):
            assert eventually(
                lambda b=box, n=name, v=value: ask(places[b], f"{n}.{ZONE}", "A") == [v], 20
            ), (seed, box, name, value)
    # None twice: one change for each key, none for the asking again.
    assert len(writer.changes) == len(set(writer.changes))
    committed = broken.rows(
        "SELECT count(*) FROM change WHERE command = 'record.set' AND id > %s"
        " AND request->>'name' LIKE 'n%%'",
        (before,),
    )
    assert committed == [(len(writer.changes),)]
    assert writer.changes == sorted(writer.changes)
    assert broken.quarantined() == []


def test_the_audit_has_every_change_once_and_in_order(broken: Broken) -> None:
    def sealed() -> bool:
        return broken.rows("SELECT count(*) FROM change WHERE seq IS NULL") == [(0,)]

    assert eventually(sealed)
    (row,) = broken.rows("SELECT count(*), max(seq), count(DISTINCT seq) FROM change")
    assert row[0] == row[1] == row[2]
    assert broken.rows(
        "SELECT count(*) FROM (SELECT seq, lag(id) OVER (ORDER BY seq) AS former, id FROM change)"
        " c WHERE former > id"
    ) == [(0,)]


def test_both_name_servers_serve_the_same_zone(broken: Broken) -> None:
    places = broken.cluster.places()
    assert eventually(
        lambda: ask(places["ns1"], ZONE, "SOA") == ask(places["ns2"], ZONE, "SOA"), 20
    )
