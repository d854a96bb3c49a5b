"""`hsctl local`: what the README promises, tried from the outside on real daemons."""

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator, Sequence

import dns.exception
import psutil
import pytest

from tests.local_cluster import Cluster, as_nobody, ask, eventually, fetch, serial
from tests.scratch import scratch

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    home = scratch("hs-local-")
    home.chmod(0o755)
    made = Cluster(home / "one", home)
    try:
        up = made.local("up", "--detach")
        assert up.code == 0, up
        (home / "banner").write_text(up.out)
        yield made
    finally:
        made.local("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> str:
    """A domain with its zone and site."""
    cluster.good("account", "add", "acme")
    cluster.good("domain", "add", "shop.test", "--account", "acme")
    return "shop.test"


def test_the_banner_shows_panel_password_and_commands(cluster: Cluster) -> None:
    banner = cluster.local("up", "--detach").out
    status = json.loads(cluster.local("status", "-o", "json").out)
    password = (cluster.folder / "first-password").read_text().strip()
    assert status["panel"] in banner
    assert f"admin / {password}" in banner
    assert "ssh -L" in banner
    assert "hsctl account add acme" in banner
    assert stat.S_IMODE((cluster.folder / "first-password").stat().st_mode) == 0o600


def test_a_new_domain_is_answered_by_all_its_servers(cluster: Cluster, shop: str) -> None:
    places = cluster.places()
    assert serial(places["ns1"], shop) == serial(places["ns2"], shop)
    status, page = fetch(places["web1"], shop)
    assert (status, "shop.test" in page) == (200, True)
    assert fetch(places["web1"], f"www.{shop}")[0] == 200


def test_a_new_record_is_live_when_the_command_returns(cluster: Cluster, shop: str) -> None:
    cluster.good("record", "add", shop, "www2", "A", "192.0.2.7")
    places = cluster.places()
    assert ask(places["ns1"], f"www2.{shop}", "A") == ["192.0.2.7"]
    assert ask(places["ns2"], f"www2.{shop}", "A") == ["192.0.2.7"]


def test_the_logs_of_controller_and_agent_name_the_change(cluster: Cluster, shop: str) -> None:
    cluster.good("record", "add", shop, "logged", "A", "192.0.2.7")
    newest = json.loads(cluster.good("change", "list", "-o", "json"))[0]
    logs = cluster.folder / "logs"
    assert f"change {newest['id']}: record.add" in (logs / "controller.log").read_text()
    applied = [
        line
        for box in ("ns1", "ns2")
        for line in (logs / f"agent-{box}.log").read_text().splitlines()
        if "applied" in line and f"change={newest['id']} " in line and shop in line
    ]
    assert len(applied) == 1


def changes(cluster: Cluster) -> list[int]:
    """Give the numbers of the newest changes. How far they are may change in the meantime."""
    return [each["id"] for each in json.loads(cluster.good("change", "list", "-o", "json"))]


def test_a_bad_record_is_refused_in_one_line_and_changes_nothing(
    cluster: Cluster, shop: str
) -> None:
    places = cluster.places()
    before = serial(places["ns1"], shop), changes(cluster)
    ran = cluster.hsctl("record", "add", shop, "bad name", "A", "nonsense")
    assert ran.code == 1
    assert len([line for line in ran.err.splitlines() if line.startswith("hsctl: ")]) == 1
    assert "record.name.invalid" in ran.err
    assert (serial(places["ns1"], shop), changes(cluster)) == before


def test_a_dry_run_shows_the_plan_and_changes_nothing(cluster: Cluster, shop: str) -> None:
    before = changes(cluster)
    answer = json.loads(
        cluster.good("record", "add", shop, "dry", "A", "192.0.2.8", "--dry-run", "-o", "json")
    )
    assert "zone" in json.dumps(answer)
    assert changes(cluster) == before


def test_the_boxes_say_what_a_dry_run_would_change(cluster: Cluster, shop: str) -> None:
    before = changes(cluster)
    words = ("record", "add", shop, "dry", "A", "192.0.2.8", "--dry-run", "--diff")
    (lane,) = json.loads(cluster.good(*words, "-o", "json"))["plan"]["differences"]
    assert (lane["known"], lane["refused"]) == (True, [])
    (file,) = lane["files"]
    assert [line for line in file["lines"][2:] if line.endswith("A 192.0.2.8")] == [
        f"+dry.{shop}. 3600 IN A 192.0.2.8"
    ]
    assert lane["effects"] == [f"write {file['path']}", f"reload the zone {shop}"]
    printed = cluster.good(*words)
    assert f"diff --git a/{file['path']} b/{file['path']}" in printed
    ran = cluster.hsctl(*words[:-2], "--diff")
    assert (ran.code, ran.out) == (2, "")
    assert changes(cluster) == before


def test_an_unknown_host_never_gets_a_customers_page(cluster: Cluster, shop: str) -> None:
    status, page = fetch(cluster.places()["web1"], "elsewhere.example")
    assert status in (400, 404, 421)
    assert shop not in page


def test_the_banners_request_over_tls_gets_the_page(cluster: Cluster, shop: str) -> None:
    (words,) = (
        line for line in (cluster.home / "banner").read_text().splitlines() if "curl -k" in line
    )
    got = cluster.run(*words.split(), "--silent")
    assert (got.code, f"<h1>{shop}</h1>" in got.out) == (0, True)


def test_a_second_start_shows_the_cluster_that_is_up(cluster: Cluster) -> None:
    before = cluster.processes()
    ran = cluster.local("up", "--detach")
    assert ran.code == 0
    assert "up already" in ran.err
    assert "Heliosphere is up" in ran.out
    assert ran.out == cluster.local("up", "--detach").out
    assert cluster.processes() == before


@pytest.mark.parametrize("victim", ["postgres", "controller", "agent-ns1", "agent-ns2"])
def test_a_change_goes_live_after_a_process_was_killed(
    cluster: Cluster, shop: str, victim: str
) -> None:
    os.kill(cluster.processes()[victim], signal.SIGKILL)
    name = victim.replace("agent-", "a")
    assert eventually(
        lambda: cluster.hsctl("record", "set", shop, name, "A", "192.0.2.9").code == 0
    )
    places = cluster.places()
    assert ask(places["ns1"], f"{name}.{shop}", "A") == ["192.0.2.9"]
    assert ask(places["ns2"], f"{name}.{shop}", "A") == ["192.0.2.9"]


def test_waiting_tells_the_truth_while_an_agent_is_stopped(cluster: Cluster, shop: str) -> None:
    agent = psutil.Process(cluster.processes()["agent-ns1"])
    agent.suspend()
    try:
        ran = cluster.hsctl("record", "add", shop, "late", "A", "192.0.2.10", "--timeout", "2")
    finally:
        agent.resume()
    assert ran.code == 3, ran
    assert eventually(lambda: ask(cluster.places()["ns2"], f"late.{shop}", "A") == ["192.0.2.10"])


def test_r358_zones_change_their_master_without_a_moment_unanswered(cluster: Cluster) -> None:
    """Not even with the controller killed on the way."""
    ns1, ns2 = "ns1.heliosphere.test", "ns2.heliosphere.test"
    cluster.good("dns", "roles", "--master", ns1, "--slave1", ns2)
    cluster.good("account", "add", "movers")
    zones = [f"mover{number}.test" for number in range(4)]
    for zone in zones:
        cluster.good("domain", "add", zone, "--account", "movers")
    cluster.good("dns", "roles", "--master", ns2, "--slave1", ns1)
    with asking(cluster, zones) as unanswered:
        begun = json.loads(cluster.good("dns", "apply", "--no-wait", "-o", "json"))
        os.kill(cluster.processes()["controller"], signal.SIGKILL)
        move = str(begun["result"]["move"])
        assert eventually(lambda: cluster.hsctl("dns", "watch", move).code == 0)
    assert unanswered == []
    for zone in zones:
        shown = json.loads(cluster.good("domain", "show", zone, "-o", "json"))
        assert {one["name"]: one["role"] for one in shown["name_servers"]} == {
            ns1: "secondary",
            ns2: "master",
        }
    cluster.good("record", "add", zones[0], "after", "A", "192.0.2.9")
    for place in (cluster.places()["ns1"], cluster.places()["ns2"]):
        assert ask(place, f"after.{zones[0]}", "A") == ["192.0.2.9"]


@contextlib.contextmanager
def asking(cluster: Cluster, zones: Sequence[str]) -> Iterator[list[str]]:
    """Ask for zones all the time; give those that a moment came for when nobody answered them.

    The old master is asked first. Where it answers no more, the new one was there before that: it
    must answer, however late this thread gets to ask it.
    """
    places = cluster.places()
    unanswered: list[str] = []
    rounds = threading.Semaphore(0)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            for zone in zones:
                if not (answers(places["ns1"], zone) or answers(places["ns2"], zone)):
                    unanswered.append(zone)
            rounds.release()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert rounds.acquire(timeout=60)
        yield unanswered
        assert rounds.acquire(timeout=60)
    finally:
        ended.set()
        thread.join()


def answers(place: tuple[str, int], zone: str) -> bool:
    """Tell whether a server answers for a zone. One that says nothing at all is asked again."""
    while True:
        with contextlib.suppress(dns.exception.Timeout):
            return len(ask(place, zone, "SOA")) == 1


def test_what_was_made_is_there_after_a_stop_and_a_start(cluster: Cluster, shop: str) -> None:
    before = cluster.places()
    cluster.good("record", "set", shop, "kept", "A", "192.0.2.7")
    assert cluster.local("down").code == 0
    assert cluster.local("status").code == 5
    assert cluster.processes() == {}
    up = cluster.local("up", "--detach")
    assert up.code == 0, up
    assert cluster.places() == before
    assert ask(before["ns2"], f"kept.{shop}", "A") == ["192.0.2.7"]
    assert fetch(before["web1"], shop)[0] == 200


@contextlib.contextmanager
def taken(port: int) -> Iterator[None]:
    """Have somebody listen on a port of loopback meanwhile."""
    with socket.socket() as held:
        try:
            held.bind(("127.0.0.1", port))
            held.listen()
        except OSError:  # somebody does
            pass
        yield


def test_an_ordinary_user_gets_a_cluster_beside_it_and_leaves_nothing_behind(
    cluster: Cluster,
) -> None:
    home = scratch("hs-user-")
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
    mine = Cluster(home / "mine", home, as_nobody())
    try:
        assert mine.hsctl("--version").code == 0
    except (AssertionError, PermissionError):
        shutil.rmtree(home)
        pytest.skip("the checkout or its Python lies where an ordinary user cannot enter")
    try:
        with taken(8443):
            up = mine.local("up", "--detach")
        assert up.code == 0, up
        assert "the panel uses port" in up.out
        mine.good("account", "add", "acme")
        mine.good("domain", "add", "shop.test", "--account", "acme")
        places = mine.places()
        assert serial(places["ns1"], "shop.test") == serial(places["ns2"], "shop.test")
        assert fetch(places["web1"], "shop.test")[0] == 200
        (secured,) = (line for line in up.out.splitlines() if "curl -k" in line)
        assert "<h1>shop.test</h1>" in mine.run(*secured.split(), "--silent").out
    finally:
        reset = mine.local("reset", "--yes")
    assert reset.code == 0, reset
    assert not mine.folder.exists()
    assert not [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(mine.folder) in " ".join(process.info["cmdline"] or ())
    ]
    shutil.rmtree(home)
