"""Part j: limit, skeleton and product in turns.

The skeleton is the chain of processes that the product is built of, and no logic in it
(docs/adr/0010-limit.md): what it takes beyond the limit is the architecture's, what the product
takes beyond the skeleton is our own. Its two programs are in `skeleton_processes`; this module
starts them and is their client.
"""

import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import psutil
import psycopg2

from pki.authority import Authority
from pki.keys import new_key, signing_request
from pki.names import Name
from tests.bench.answers import NameServerClient
from tests.bench.changes import REST, Product
from tests.bench.cluster import ApiClient, Bench
from tests.bench.durable import ROW
from tests.bench.figures import Times, median, ms, p99, table
from tests.bench.footprint import cpu_seconds
from tests.bench.limit import Limit

ZONE = "skeleton.test"
_STAGES = (
    "HTTPS request",
    "who asks",
    "row locked",
    "commit",
    "frame sent",
    "frame with the agent",
    "its thread",
    "journal commit",
    "zone file",
    "reload",
    "both answer",
)
_PROGRAMS = ("controller", "agent")


@attrs.frozen
class Skeleton:
    """The running skeleton from outside: its API, then the name servers' answers."""

    api: ApiClient
    clients: Sequence[NameServerClient]
    processes: Sequence[psutil.Process]
    """Of the controller and of the agent."""

    def record_change(self) -> tuple[float, float]:
        """Set a record over the API and wait for both name servers; give begin and end."""
        begin = time.perf_counter()
        answer = self.api.ask(
            "PUT",
            f"/domains/{ZONE}/records",
            {"name": "changed", "type": "A", "values": ["192.0.2.1"]},
        )
        for client in self.clients:
            client.until(ZONE, answer["result"]["serial"])
        return begin, time.perf_counter()

    def stages(self, changes: Sequence[tuple[float, float]]) -> list[list[float]]:
        """Give the seconds of each stage of all changes, whose begin and end are given.

        The agent's word on the last one may still be on its way: whoever asks has rested since.
        """
        stamps = self.api.ask("GET", "/stages")["stamps"]
        moments = [
            [begin, *of_it, end] for (begin, end), of_it in zip(changes, stamps, strict=True)
        ]
        return [[b - a for a, b in itertools.pairwise(each)] for each in moments]

    def cpu(self) -> list[float]:
        return [cpu_seconds(process) for process in self.processes]


def measure(bench: Bench, limit: Limit, product: Product, count: int) -> str:
    """Change a record by each of the three in turns; give a table."""
    with _running(bench, limit) as skeleton:
        _, first = _in_turns(limit, skeleton, product, 1)  # opens connections, prepares statements
        limit.stages.seconds.clear()
        before = skeleton.cpu()
        times, changes = _in_turns(limit, skeleton, product, count)
        used = [(b - a) / count for a, b in zip(before, skeleton.cpu(), strict=True)]
        stages = skeleton.stages([*first, *changes])[1:]
    taken = [end - begin for begin, end in changes]
    rows = []
    for word, of in (("median", median), ("p99", p99)):
        three = [of(times.limit), of(taken), of(times.product)]
        ratios = [f"{each / three[0]:.2f}" for each in three[1:]]
        rows.append((word, *map(ms, three), *ratios))
    head = ("", "limit", "skeleton", "product", "skeleton/limit", "product/limit")
    where = zip(_STAGES, map(median, zip(*stages, strict=True)), strict=True)
    return (
        f"\nj. record change, and the architecture without its logic ({count} turns)\n"
        f"{table(head, rows)}\n"
        f"  of the limit's median: {limit.stages.medians()}\n"
        f"  of the skeleton's median: {', '.join(f'{word} {ms(each)}' for word, each in where)}\n"
        "  processor time of the skeleton's programs for each: "
        + ", ".join(f"{name} {ms(each)}" for name, each in zip(_PROGRAMS, used, strict=True))
    )


def _in_turns(
    limit: Limit, skeleton: Skeleton, product: Product, count: int
) -> tuple[Times, list[tuple[float, float]]]:
    times, changes = Times(), []
    for _ in range(count):
        times.limit.append(limit.record_change("limit0.test"))
        time.sleep(REST)
        changes.append(skeleton.record_change())
        time.sleep(REST)
        times.product.append(product.record_change("domain0.test"))
        product.settled()
    return times, changes


@contextmanager
def _running(bench: Bench, limit: Limit) -> Iterator[Skeleton]:
    """Start the two programs. Each ends with its standard input, which ends with us."""
    limit.new_domain(ZONE)
    token = uuid.uuid4().hex
    _make_rows(bench.database_url, token, limit.serial)
    folder = bench.layout.root.parent / "skeleton"
    folder.mkdir()
    authority = Authority.load(bench.layout.controller / "pki")
    name = Name(authority.cluster, "controller")
    settings = {"database": bench.database_url, **_certificate(authority, name, "127.0.0.1")}
    with _program("controller", folder, settings) as controller:
        port, agents = map(int, _said(controller).split())
        settings = {
            **_certificate(authority, Name(authority.cluster, "box", str(uuid.uuid4()))),
            "controller": agents,
            "journal": str(folder / "agent.sqlite"),
            "files": {ZONE: str(limit.path(ZONE))},
            "control_port": bench.master.control_port,
            "control_secret": bench.master.control_secret,
        }
        with _program("agent", folder, settings) as agent:
            _said(controller)  # that the agent has a session
            clients = [NameServerClient(s.address, s.port) for s in (bench.master, bench.secondary)]
            api = ApiClient(f"https://127.0.0.1:{port}", settings["ca"], token)
            with closing(api), closing(clients[0]), closing(clients[1]):
                yield Skeleton(api, clients, [psutil.Process(p.pid) for p in (controller, agent)])


def _make_rows(database_url: str, token: str, serial: int) -> None:
    connection = psycopg2.connect(database_url)
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bench_skeleton_token (token text PRIMARY KEY, operator text);"
            "CREATE TABLE bench_skeleton (zone text PRIMARY KEY, serial bigint, body text)"
        )
        cursor.execute("INSERT INTO bench_skeleton_token VALUES (%s, 'bench')", (token,))
        cursor.execute("INSERT INTO bench_skeleton VALUES (%s, %s, %s)", (ZONE, serial, ROW))


def _certificate(authority: Authority, name: Name, *hosts: str) -> dict[str, Any]:
    key = new_key()
    issued = authority.issue(signing_request(key), name, hosts=hosts)
    return {
        "certificate": issued.certificate_pem.decode(),
        "key": key.decode(),
        "ca": authority.certificate_pem.decode(),
    }


def _program(name: str, folder: Path, settings: dict[str, Any]) -> "subprocess.Popen[str]":
    file = folder / f"{name}.json"
    with open(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as handle:
        json.dump(settings, handle)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.skeleton_processes", name, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a program of the skeleton ended: {process.args}")
    return line
