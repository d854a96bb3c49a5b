"""Boxes that are away, held, poisoned or on their own: each harms itself only, and says so."""

import json
from collections.abc import Iterator

import psutil
import pytest

from tests.faults.cluster_under_fault import Broken, broken_cluster
from tests.local_cluster import ask, eventually, serial

pytestmark = pytest.mark.timeout(300)

ZONE = "alone.test"
OTHERS = tuple(f"other{number}.test" for number in range(4))


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as made:
        made.cluster.good("account", "add", "acme")
        for name in (ZONE, *OTHERS):
            made.cluster.good("domain", "add", name, "--account", "acme")
        yield made


@pytest.fixture(autouse=True)
def well(broken: Broken) -> None:
    """Each test begins with a cluster that is well."""
    assert broken.settled(), broken.status()["lanes"]


def master_of(broken: Broken, zone: str) -> str:
    """Name the box of a zone's master."""
    rows = broken.rows(
        """SELECT b.name FROM zone z JOIN zone_server n ON n.zone_id = z.id AND n.role = 'master'
           JOIN lane l ON l.logical_server_id = n.logical_server_id
           JOIN box b ON b.id = l.box_id WHERE z.name = %s""",
        (zone,),
    )
    return str(rows[0][0])


def applied(log: str) -> list[str]:
    """Give the objects that an agent's log says were applied, in order."""
    return [
        word.partition("=")[2]
        for line in log.splitlines()
        if " INFO applied " in line
        for word in line.split()
        if word.startswith("object=")
    ]


def test_an_agent_that_was_away_gets_only_what_changed(broken: Broken) -> None:
    box = master_of(broken, ZONE)
    with broken.away(f"agent-{box}"):
        before = broken.log(f"agent-{box}")
        for number in range(5):
            ran = broken.cluster.hsctl(
                "record", "set", ZONE, f"away{number}", "A", "192.0.2.5", "--no-wait"
            )
            assert ran.code == 0, ran
    assert broken.settled(), broken.status()["lanes"]
    since = broken.log(f"agent-{box}").removeprefix(before)
    # Five changes of one zone are one object; of all others nothing is sent again.
    assert set(applied(since)) == {f"zone/{ZONE}"}, since
    assert sum(" INFO stored " in line for line in since.splitlines()) <= 2, since
    for name in ("ns1", "ns2"):
        assert eventually(lambda n=name: broken.answers(n, f"away4.{ZONE}", "A") == ["192.0.2.5"])


def test_waiting_for_a_stopped_agent_says_3_and_others_are_not_held_back(broken: Broken) -> None:
    box = master_of(broken, ZONE)
    (free,) = {"ns1", "ns2"} - {box}
    with broken.away(f"agent-{box}"):
        ran = broken.cluster.hsctl(
            "record", "set", ZONE, "wait", "A", "192.0.2.6", "--timeout", "3"
        )
        assert ran.code == 3, ran
        assert broken.answers(free, ZONE, "SOA") != []
        assert broken.answers(box, ZONE, "SOA") != []
    assert broken.settled(), broken.status()["lanes"]


def test_one_poisoned_object_is_quarantined_alone(broken: Broken) -> None:
    """A spec that the box refuses, written past every check of the controller."""
    box, zone = master_of(broken, ZONE), ZONE
    good, change = broken.rows(
        """SELECT encode(o.spec, 'hex'), o.change_id FROM desired_object o
           JOIN zone_server n ON n.logical_server_id = o.logical_server_id AND n.role = 'master'
           JOIN zone z ON z.id = n.zone_id AND z.name = o.key
           WHERE o.kind = 'zone' AND o.key = %s""",
        (zone,),
    )[0]
    poison = bytes.fromhex(good).replace(b"192.0.2.", b"999.999.")
    if poison == bytes.fromhex(good):
        broken.cluster.good("record", "set", zone, "seed", "A", "192.0.2.1")
        return test_one_poisoned_object_is_quarantined_alone(broken)
    broken.rows(
        """WITH server AS (
               UPDATE logical_server s SET revision = s.revision + 1
               FROM zone_server n JOIN zone z ON z.id = n.zone_id AND z.name = %s
               WHERE n.logical_server_id = s.id AND n.role = 'master'
               RETURNING s.id, s.revision
           ), made AS (
               INSERT INTO change (actor, command, request)
               VALUES ('system:test', 'test.poison', '{}') RETURNING id
           ), written AS (
               UPDATE desired_object o SET spec = %s, revision = server.revision,
                      change_id = made.id
               FROM server, made
               WHERE o.logical_server_id = server.id AND o.kind = 'zone' AND o.key = %s
               RETURNING o.logical_server_id, o.revision, o.change_id
           )
           INSERT INTO change_object (change_id, logical_server_id, kind, key, revision, after)
           SELECT change_id, logical_server_id, 'zone', %s, revision, %s FROM written""",
        (zone, poison, zone, zone, poison),
    )
    (poisoned,) = broken.rows("SELECT max(id) FROM change")[0]
    assert poisoned > change
    broken.rows("SELECT pg_notify('hs_change', %s)", (str(poisoned),))
    for name in OTHERS:
        broken.cluster.good("record", "set", name, "beside", "A", "192.0.2.7")
        for server in ("ns1", "ns2"):
            assert broken.answers(server, f"beside.{name}", "A") == ["192.0.2.7"]
    assert eventually(lambda: broken.quarantined() == [zone]), broken.faults()
    (fault,) = [f for f in broken.faults() if f["state"] == "quarantined"]
    assert (fault["box"], fault["kind"]) == (box, "zone")
    assert fault["message"]
    watched = broken.cluster.hsctl("change", "watch", str(poisoned))
    assert watched.code == 4, watched
    assert zone in watched.err
    on_box = json.loads(broken.agent(box, "faults", "-o", "json").out)
    assert [(f["key"], f["outcome"]) for f in on_box] == [(zone, "quarantined")]
    # What was served before is served still.
    for server in ("ns1", "ns2"):
        assert broken.answers(server, zone, "SOA") != []
    retried = broken.cluster.hsctl("fault", "retry", fault["logical_server"], "zone", zone)
    assert retried.code == 0, retried
    assert eventually(lambda: broken.quarantined() == [zone])
    broken.cluster.good("record", "set", zone, "cured", "A", "192.0.2.8")
    assert broken.quarantined() == []
    for server in ("ns1", "ns2"):
        assert broken.answers(server, f"cured.{zone}", "A") == ["192.0.2.8"]


@pytest.mark.parametrize("controller", ["there", "absent"])
def test_a_held_lane_touches_nothing_until_it_is_released(broken: Broken, controller: str) -> None:
    box = master_of(broken, ZONE)
    name = f"held-{controller}"
    place = broken.cluster.places()[box]
    if controller == "absent":
        with broken.away("controller"):
            assert "held" in broken.agent(box, "hold").out
            (lane,) = json.loads(broken.agent(box, "status", "-o", "json").out)["lanes"]
            assert (lane["held"], lane["condition"]) == (True, "held")
    else:
        assert "held" in broken.agent(box, "hold").out
    try:
        assert broken.lane_is(box, "held"), broken.lane(box)
        before = serial(place, ZONE)
        ran = broken.cluster.hsctl("record", "set", ZONE, name, "A", "192.0.2.8")
        assert ran.code == 3, ran
        assert "held" in ran.err
        assert "held" in broken.condition(box)
        assert serial(place, ZONE) == before
        broken.restart_agent(box)
        assert broken.lane_is(box, "held"), "a hold survives a restart"
        assert serial(place, ZONE) == before
    finally:
        assert "released" in broken.agent(box, "release").out
    for server in ("ns1", "ns2"):
        assert eventually(
            lambda s=server: broken.answers(s, f"{name}.{ZONE}", "A") == ["192.0.2.8"]
        ), server
    assert json.loads(broken.agent(box, "faults", "-o", "json").out) == []


def test_daemons_started_without_agent_and_controller_serve_everything(broken: Broken) -> None:
    cluster = broken.cluster
    places = cluster.places()
    daemons = {box: broken.daemon(box) for box in ("ns1", "ns2", "web1")}
    agents = [broken.process(f"agent-{box}") for box in daemons]
    controller = broken.process("controller")
    away = [process for process in (*agents, controller) if process is not None]
    assert len(away) == 4
    for process in away:
        process.suspend()
    try:
        for box, daemon in daemons.items():
            assert daemon is not None
            words = daemon.cmdline()
            family = [daemon, *daemon.children(recursive=True)]
            for process in family:
                process.kill()
            assert eventually(lambda f=family: not any(_lives(p) for p in f))
            # Where nothing reaps orphans the number of the dead is taken still; after a boot, as
            # in its systemd unit, no number is.
            for left in broken.lane_root(box).rglob("*.pid"):
                left.unlink()
            ran = cluster.run(*words)
            assert ran.code == 0, ran
        for name in (ZONE, *OTHERS):
            for box in ("ns1", "ns2"):
                assert eventually(lambda b=box, n=name: broken.answers(b, n, "SOA") != [])
            assert ask(places["ns1"], name, "SOA") == ask(places["ns2"], name, "SOA")
            assert eventually(lambda n=name: broken.page(n) == 200), name
    finally:
        for process in away:
            process.resume()
    assert broken.settled(), broken.status()["lanes"]


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
