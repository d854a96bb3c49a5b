"""P5: an agent that dies before, while or after a change: panel, API and exit code say which."""

import http.client
import re
import ssl
import subprocess
from urllib.parse import urlencode

import attrs
import pytest

from tests.faults.cluster_under_fault import Broken
from tests.local_cluster import HSCTL, eventually
from tests.pains.neighbours import Neighbours

pytestmark = pytest.mark.timeout(240)

ZONE = "kept1.test"


@attrs.define
class Visitor:
    """A browser without scripts, signed in to the panel of a cluster of real processes."""

    address: str
    port: int
    cookie: str = ""

    @classmethod
    def signed_in(cls, broken: Broken) -> "Visitor":
        banner = broken.cluster.local("status").out
        found = re.search(r"https://([0-9.]+):(\d+)", banner)
        assert found, banner
        visitor = cls(found[1], int(found[2]))
        password = (broken.cluster.folder / "first-password").read_text().strip()
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', visitor.ask("GET", "/sign-in"))
        assert csrf
        fields = {"csrf": csrf[1], "name": "admin", "password": password}
        visitor.ask("POST", "/sign-in", urlencode(fields))
        return visitor

    def ask(self, method: str, path: str, body: str | None = None) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            self.address, self.port, context=context, timeout=20
        )
        headers = {"Origin": f"https://{self.address}:{self.port}", "Cookie": self.cookie}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            self.cookie = (answer.headers["Set-Cookie"] or self.cookie).partition(";")[0]
        finally:
            connection.close()
        assert answer.status in (200, 303), (path, answer.status, text)
        return text


def set_record(broken: Broken, value: str, *words: str) -> tuple[int, int]:
    """Set a record; give the exit code and the number of the change."""
    ran = broken.cluster.hsctl("record", "set", ZONE, "p5", "A", value, *words)
    return ran.code, number(ran.err)


def number(told: str) -> int:
    found = re.search(r"\[change (\d+) on", told)
    assert found, told
    return int(found[1])


def told(broken: Broken, visitor: Visitor, change: int) -> tuple[str, bool]:
    """Give the change's state by the API, and whether its page says that it is live."""
    answer = broken.api.ask("GET", f"/changes/{change}")
    return answer.body["state"], "<span>2 of 2 boxes<" in visitor.ask("GET", f"/changes/{change}")


def master(broken: Broken) -> str:
    """Name the box whose agent must act for the zone to change."""
    ((name,),) = broken.rows(
        """SELECT s.name FROM zone_server n JOIN logical_server s ON s.id = n.logical_server_id
           JOIN zone z ON z.id = n.zone_id WHERE z.name = %s AND n.role = 'master'""",
        (ZONE,),
    )
    return str(name).partition(".")[0]


def answered(broken: Broken) -> list[list[str]]:
    return [broken.answers(box, f"p5.{ZONE}", "A") for box in ("ns1", "ns2")]


def test_p5_an_agent_that_died_before_the_command(neighbours: Neighbours) -> None:
    broken = neighbours.broken
    visitor = Visitor.signed_in(broken)
    set_record(broken, "192.0.2.9")
    with broken.away(f"agent-{master(broken)}"):
        code, change = set_record(broken, "192.0.2.1", "--timeout", "3")
        assert code == 3
        assert told(broken, visitor, change) == ("pending", False)
        assert answered(broken) == [["192.0.2.9"]] * 2
    assert broken.cluster.hsctl("change", "watch", str(change)).code == 0
    assert told(broken, visitor, change) == ("done", True)
    assert answered(broken) == [["192.0.2.1"]] * 2


def test_p5_an_agent_that_dies_while_somebody_waits(neighbours: Neighbours) -> None:
    broken = neighbours.broken
    visitor = Visitor.signed_in(broken)
    newest = "SELECT max(id) FROM change"
    before = broken.rows(newest)
    agent = broken.process(f"agent-{master(broken)}")
    assert agent is not None
    agent.suspend()
    words = ("record", "set", ZONE, "p5", "A", "192.0.2.2", "--timeout", "30")
    waiting = subprocess.Popen(
        [*HSCTL, *words], env=broken.cluster.environment, cwd="/", stderr=subprocess.PIPE, text=True
    )
    assert eventually(lambda: broken.rows(newest) != before)
    assert waiting.poll() is None
    agent.kill()
    _, err = waiting.communicate(timeout=60)
    change = number(err)
    # The box is back within seconds: whoever waited heard one of two things, each of them true.
    if waiting.returncode == 0:
        assert told(broken, visitor, change) == ("done", True)
        assert answered(broken) == [["192.0.2.2"]] * 2
    else:
        assert (waiting.returncode, "unknown" in err) == (3, True), err
    assert broken.cluster.hsctl("change", "watch", str(change)).code == 0
    assert answered(broken) == [["192.0.2.2"]] * 2


def test_p5_an_agent_that_dies_after_it_was_live(neighbours: Neighbours) -> None:
    broken = neighbours.broken
    visitor = Visitor.signed_in(broken)
    code, change = set_record(broken, "192.0.2.3")
    assert code == 0
    box = master(broken)
    well = broken.condition(box)
    with broken.away(f"agent-{box}"):
        assert told(broken, visitor, change) == ("done", True)
        assert answered(broken) == [["192.0.2.3"]] * 2
        assert eventually(lambda: broken.condition(box) != well)
    assert eventually(lambda: broken.condition(box) == well)
