"""Servers are renumbered while their real daemons are asked all the time (R357)."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.faults.cluster_under_fault import Broken, broken_cluster
from tests.integration.in_namespace import ip, needs_namespaces
from tests.local_cluster import ask, eventually, fetch, serial

pytestmark = [needs_namespaces, pytest.mark.timeout(500)]

SHOP = "shop.test"
Place = tuple[str, int]


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as broken:
        broken.cluster.good("account", "add", "acme")
        for name in (SHOP, "two.test", "three.test"):
            broken.cluster.good("domain", "add", name, "--account", "acme")
        yield broken


@contextmanager
def brought_up(last: int) -> Iterator[str]:
    """Bring an address up by hand, as an operator does before he renumbers a server."""
    number = os.getpid()
    address = f"127.91.{number >> 8 & 255}.{(number & 31) * 8 + last}"
    ip("address", "add", f"{address}/32", "dev", "lo")
    try:
        yield address
    finally:
        ip("address", "del", f"{address}/32", "dev", "lo")


class Asking(threading.Thread):
    """Asks one place again and again; notes what was not answered as it should."""

    def __init__(self, answered: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._answered = answered
        self._stopping = threading.Event()
        self.count = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self._stopping.wait(0.005):
            self.count += 1
            try:
                words = self._answered()
            except (OSError, dns.exception.DNSException) as error:
                words = repr(error)
            if words:
                self.wrong.append(words)

    def end(self) -> None:
        self._stopping.set()
        self.join()

    def __enter__(self) -> "Asking":
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.end()


def served(place: Place, zone: str) -> str:
    """Ask a name server for a zone; give what was wrong with the answer."""
    answer = dns.query.udp(dns.message.make_query(zone, "SOA"), place[0], port=place[1], timeout=3)
    good = answer.rcode() == dns.rcode.NOERROR and answer.flags & dns.flags.AA and answer.answer
    return "" if good else f"{zone}: {dns.rcode.to_text(answer.rcode())}"


def shown(place: Place, host: str) -> str:
    """Ask a web server for a page; give what was wrong with the answer."""
    status, page = fetch(place, host)
    return "" if status == 200 and host in page else f"{host}: {status}"


def move(broken: Broken, number: int) -> dict[str, object]:
    answer: dict[str, object] = json.loads(
        broken.cluster.good("ip", "progress", str(number), "-o", "json")
    )
    return answer


def reaches(broken: Broken, number: int, *phases: str) -> bool:
    return eventually(
        lambda: (
            broken.rows("SELECT phase FROM address_move WHERE id = %s", (number,))[0][0] in phases
        )
    )


def begin(broken: Broken, old: str, new: str) -> int:
    words = ("ip", "move", old, new, "--no-wait", "-o", "json")
    return int(json.loads(broken.cluster.good(*words))["result"]["move"])


def ttls_run_out(broken: Broken, number: int) -> None:
    """Let the time pass that answers with the old address may be kept."""
    broken.rows(
        "UPDATE address_move SET answers_until = now() WHERE id = %s AND phase = 'outlasting' "
        "RETURNING id",
        (number,),
    )


def closed(place: Place, question: Callable[[Place], object]) -> bool:
    """Wait until nobody answers at a place any more."""

    def silent() -> bool:
        try:
            question(place)
        except (OSError, dns.exception.Timeout):
            return True
        return False

    return eventually(silent)


@pytest.mark.parametrize("box", ["ns1", "ns2"])
def test_r357_a_name_server_is_renumbered_and_no_question_goes_unanswered(
    broken: Broken, box: str
) -> None:
    cluster = broken.cluster
    assert broken.settled()
    places = cluster.places()
    old, other = places[box], places["ns2" if box == "ns1" else "ns1"]
    with brought_up(1 if box == "ns1" else 2) as address:
        new = (address, old[1])
        with (
            Asking(lambda: served(old, SHOP)) as at_old,
            Asking(lambda: served(other, SHOP)) as aside,
        ):
            number = begin(broken, old[0], address)
            assert reaches(broken, number, "announced", "switched", "following", "outlasting")
            with Asking(lambda: served(new, SHOP)) as at_new:
                broken.kill("controller")
                for round_ in range(4):  # changes reach both servers in every phase
                    value = f"192.0.2.{round_ + 1}"
                    assert eventually(
                        lambda value=value: (  # type: ignore[misc]
                            cluster.hsctl("record", "set", SHOP, f"r-{box}", "A", value).code == 0
                        )
                    )
                    for place in (old, new, other):
                        assert ask(place, f"r-{box}.{SHOP}", "A") == [value]
                assert reaches(broken, number, "outlasting")
                for place in (old, new, other):
                    assert ask(place, f"{box}.{_domain(broken)}", "A") == [address]
                assert serial(new, SHOP) == serial(other, SHOP)
                at_old.end()
                ttls_run_out(broken, number)
                assert closed(old, lambda place: served(place, SHOP))
                assert reaches(broken, number, "ended")
                cluster.good("record", "set", SHOP, f"after-{box}", "A", "192.0.2.9")
                assert ask(other, f"after-{box}.{SHOP}", "A") == ["192.0.2.9"]
                assert ask(new, f"after-{box}.{SHOP}", "A") == ["192.0.2.9"]
        assert (at_old.wrong, at_new.wrong, aside.wrong) == ([], [], [])
        assert min(at_old.count, at_new.count) > 20
        _back(broken, address, old)


def _domain(broken: Broken) -> str:
    ((domain,),) = broken.rows("SELECT service_domain FROM cluster")
    return str(domain)


def _back(broken: Broken, address: str, old: Place) -> None:
    """Move the server back, so that its address may go; the same again, the other way."""
    number = begin(broken, address, old[0])
    assert reaches(broken, number, "outlasting")
    ttls_run_out(broken, number)
    assert reaches(broken, number, "ended")


def test_r357_a_web_server_is_renumbered_and_no_request_fails(broken: Broken) -> None:
    cluster = broken.cluster
    assert broken.settled()
    places = cluster.places()
    old = places["web1"]
    cluster.good("record", "add", "two.test", "ftp", "A", old[0])
    with brought_up(3) as address:
        new = (address, old[1])
        dry = json.loads(cluster.good("ip", "move", old[0], address, "--dry-run", "-o", "json"))
        assert "ftp" in json.dumps(dry)
        with Asking(lambda: shown(old, SHOP)) as at_old:
            number = begin(broken, old[0], address)
            assert reaches(broken, number, "switched", "following", "outlasting")
            with Asking(lambda: shown(new, SHOP)) as at_new:
                broken.kill("controller")
                assert reaches(broken, number, "outlasting")
                for zone in (SHOP, "two.test", "three.test"):
                    for name in (zone, f"www.{zone}"):
                        assert ask(places["ns1"], name, "A") == [address]
                        assert ask(places["ns2"], name, "A") == [address]
                assert ask(places["ns1"], "ftp.two.test", "A") == [old[0]]
                assert ask(places["ns1"], f"web1.{_domain(broken)}", "A") == [address]
                assert [one["name"] for one in move(broken, number)["by_hand"]] == ["ftp"]  # type: ignore[attr-defined]
                at_old.end()
                ttls_run_out(broken, number)
                assert closed(old, lambda place: fetch(place, SHOP))
                assert reaches(broken, number, "ended")
        assert (at_old.wrong, at_new.wrong) == ([], [])
        assert min(at_old.count, at_new.count) > 20
        _back(broken, address, old)


@pytest.mark.parametrize(("box", "address"), [("web1", "203.0.113.91"), ("ns1", "203.0.113.92")])
def test_r341_an_address_that_the_box_has_not_is_waited_for(
    broken: Broken, box: str, address: str
) -> None:
    cluster = broken.cluster
    assert broken.settled()
    old = cluster.places()[box]
    ask_it = (lambda: shown(old, SHOP)) if box == "web1" else (lambda: served(old, SHOP))
    with Asking(ask_it) as at_old:
        ran = cluster.hsctl("ip", "move", old[0], address)
        assert ran.code == 4, ran
        assert f"{address} is not brought up on this box" in ran.err
        ((number,),) = broken.rows("SELECT max(id) FROM address_move")
        assert move(broken, number)["phase"] == "listening"
        ip("address", "add", f"{address}/32", "dev", "lo")
        try:
            cluster.good("fault", "retry", f"{box}.{_domain(broken)}")
            assert reaches(broken, number, "outlasting")
            at_old.end()
            ttls_run_out(broken, number)
            assert reaches(broken, number, "ended")
            _back(broken, address, old)
        finally:
            ip("address", "del", f"{address}/32", "dev", "lo")
    assert at_old.wrong == []
    assert at_old.count > 20


def test_a_move_that_is_stopped_leaves_the_old_address_as_it_was(broken: Broken) -> None:
    cluster = broken.cluster
    assert broken.settled()
    old = cluster.places()["ns1"]
    with brought_up(4) as address, Asking(lambda: served(old, SHOP)) as at_old:
        with broken.away("agent-ns2"):
            number = begin(broken, old[0], address)
            assert reaches(broken, number, "announced")
            cluster.good("ip", "stop", str(number), "--no-wait")
        assert reaches(broken, number, "ended")
        assert closed((address, old[1]), lambda place: served(place, SHOP))
        cluster.good("record", "set", SHOP, "stopped", "A", "192.0.2.9")
    assert at_old.wrong == []
