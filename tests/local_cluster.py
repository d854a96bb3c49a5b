"""A whole cluster of real processes, as `hsctl local up` makes it, for tests from the outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs
import dns.message
import dns.query
import dns.rdatatype

HSCTL = (sys.executable, "-m", "controller.hsctl.main")


@attrs.frozen
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


@attrs.frozen
class Cluster:
    """One cluster in ``folder``; ``prefix`` goes before each command (to run as another user)."""

    folder: Path
    home: Path
    prefix: Sequence[str] = ()

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "HSCTL_CONFIG": str(self.home / "hsctl.toml"),
        }

    def run(self, *command: str, patience: float = 170) -> Ran:
        done = subprocess.run(
            [*self.prefix, *command],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            timeout=patience,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def hsctl(self, *words: str) -> Ran:
        return self.run(*HSCTL, *words)

    def good(self, *words: str) -> str:
        """Run hsctl; it must end with 0. Gives what it printed."""
        ran = self.hsctl(*words)
        assert ran.code == 0, (words, ran)
        return ran.out

    def local(self, verb: str, *words: str) -> Ran:
        return self.hsctl("local", verb, "--dir", str(self.folder), *words)

    def places(self) -> dict[str, tuple[str, int]]:
        """Give (address, port) of each logical server by the first label of its name."""
        answer = json.loads(self.local("status", "-o", "json").out)
        return {
            server["name"].partition(".")[0]: (server["address"], server["port"])
            for server in answer["logical_servers"]
        }

    def processes(self) -> dict[str, int]:
        """Give the process ids of PostgreSQL, the controller and the agents, by name."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
            except (OSError, ValueError):
                continue
            for name, mark in {
                "controller": str(self.folder / "controller" / "controller.toml"),
                **{
                    f"agent-{box}": str(self.folder / "boxes" / box / "agent.toml")
                    for box in ("ns1", "ns2", "web1")
                },
            }.items():
                if mark in words and "run" in words:
                    found[name] = int(folder.name)
        lock = self.folder / "postgres" / "postgresql" / "data" / "postmaster.pid"
        with suppress(OSError, ValueError):  # none yet, none any more, or being written
            found["postgres"] = int(lock.read_text().split("\n", 1)[0])
        return found


def ask(place: tuple[str, int], name: str, kind: str) -> list[str]:
    """Ask a name server over UDP; give the answer's data, sorted."""
    query = dns.message.make_query(name, dns.rdatatype.from_text(kind))
    answer = dns.query.udp(query, place[0], port=place[1], timeout=5)
    return sorted(str(item) for rrset in answer.answer for item in rrset)


def serial(place: tuple[str, int], zone: str) -> int:
    """Ask a name server for the serial of a zone."""
    (soa,) = ask(place, zone, "SOA")
    return int(soa.split()[2])


def fetch(place: tuple[str, int], host: str, path: str = "/") -> tuple[int, str]:
    """Ask a web server for a page; give status and text."""
    import http.client

    connection = http.client.HTTPConnection(*place, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def eventually(true: Callable[[], bool], patience: float = 60.0) -> bool:
    """Ask again and again until it is true; the tests' one place to wait on other processes."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def as_nobody() -> Sequence[str]:
    """Words that run a command as a user without any rights."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
