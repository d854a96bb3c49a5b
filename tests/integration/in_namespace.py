"""A network namespace for a test, and a process inside it that does what the test asks.

Run as a program it reads a JSON list ``[verb, ...]`` a line and answers a line each: the words of
the refusal, or nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from node_agent.effects.addresses import HostAddresses
from node_agent.effects.failures import EffectFailedError

IP = "/usr/sbin/ip"

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(IP).exists(),
    reason="network namespaces are made by root with iproute2",
)


def ip(*arguments: str) -> str:
    """Run ``ip``; the test fails with its words where it does."""
    done = subprocess.run([IP, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@attrs.frozen
class Namespace:
    """A network namespace: a machine of its own, as its neighbours see it."""

    name: str

    def ip(self, *arguments: str) -> str:
        return ip("-n", self.name, *arguments)

    def settle(self) -> None:
        """Wait until the link-local address may be used: the kernel asks the neighbours first."""
        end = time.monotonic() + 60
        while "tentative" in self.ip("address", "show", "dev", "eth0", "scope", "link"):
            assert time.monotonic() < end, "the link-local address stays tentative"
            time.sleep(0.05)

    def addresses(self, link: str = "eth0") -> dict[str, dict[str, Any]]:
        """Give what is on an interface, link-local addresses left out."""
        ((found),) = json.loads(self.ip("-json", "address", "show", "dev", link))
        return {each["local"]: each for each in found["addr_info"] if each.get("scope") != "link"}


@contextmanager
def two_machines() -> Iterator[tuple[Namespace, Namespace]]:
    """Give a box (192.0.2.1) and its neighbour (192.0.2.2), joined by a cable."""
    prefix = f"hs{os.getpid()}"
    box, neighbour = Namespace(f"{prefix}a"), Namespace(f"{prefix}b")
    try:
        for each in (box, neighbour):
            ip("netns", "add", each.name)
        ip("link", "add", "eth0", "netns", box.name, "type", "veth", "peer", "name", "eth0",
           "netns", neighbour.name)  # fmt: skip
        for number, each in enumerate((box, neighbour), start=1):
            each.ip("link", "set", "lo", "up")
            each.ip("link", "set", "eth0", "up")
            each.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            each.ip("address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
        for each in (box, neighbour):
            each.settle()
        yield box, neighbour
    finally:
        for each in (box, neighbour):
            subprocess.run([IP, "netns", "del", each.name], capture_output=True, check=False)


class Inside:
    """The agent's addresses, worked inside a namespace by a process of its own."""

    def __init__(self, namespace: Namespace, ledger: Path) -> None:
        self._process = subprocess.Popen(
            [IP, "netns", "exec", namespace.name, sys.executable, "-m", __name__, str(ledger)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Inside":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def ask(self, *words: str) -> str:
        """Do it; give the words of the refusal, empty where it was done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the process inside the namespace has ended"
        return str(json.loads(line))


async def _main(reactor: Any, ledger: str) -> None:
    boot = ["first"]
    table = {"ip": PurePosixPath(IP)}
    addresses = HostAddresses(reactor, table, Path(ledger), lambda: boot[0])
    while line := await deferToThread(sys.stdin.readline):
        verb, *words = json.loads(line)
        told = ""
        try:
            match verb:
                case "up":
                    await addresses.up(words[0], words[1], int(words[2]))
                case "down":
                    await addresses.down(words[0], words[1])
                case "check":
                    await addresses.check(words[0])
                case "bring_back":
                    told = "\n".join(await addresses.bring_back(words.__contains__))
                case "reboot":
                    boot[0] = words[0]
        except EffectFailedError as failed:
            told = str(failed)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, sys.argv[1])))
