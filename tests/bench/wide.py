"""The commands on a wide model: 1,000 boxes, 5,000 servers, 100,000 addresses, 200,000 zones.

``python -m tests.bench.wide`` fills a database by SQL, asks the commands in this process, and sets
each beside a query of the same rows over a plain connection. No box is there: measured is the
controller's side of a command. ``--scale 0.01`` is a smoke run.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import attrs
import psycopg2
from psycopg2 import extensions
from twisted.internet import defer, task

from controller.cluster.initialisation import initialise
from controller.principal import Principal
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandRunner
from controller.storage.database import Database
from controller.storage.embedded import EmbeddedPostgres
from controller.storage.migrations import migrate
from controller.storage.roles import OWNER_ROLE
from controller.storage.secrets import Secrets
from tests.bench.figures import median, ms, table
from tests.integration.model import NotedFleet

OPERATOR = Principal("provider", "operator:bench", origin="bench")
BOXES, SERVERS, ADDRESSES, ZONES = 1_000, 5_000, 100_000, 200_000
LISTED = 101
"""Rows that a list of 100 reads: one more tells whether another page follows."""

# Every fiftieth server is a name server, the others are web and mail by turns, five to a box.
_FILL = """
INSERT INTO box (name, address, groups, first_seen_at)
SELECT 'b' || n, ('10.' || n / 250 || '.' || n %% 250 || '.1/24')::inet, '{web,dns,mail}', now()
FROM generate_series(1, %(boxes)s) n;
INSERT INTO logical_server (name, group_name, service_type, signup)
SELECT 's' || n || '.example.net',
       CASE WHEN n %% 50 = 0 THEN 'dns' WHEN n %% 2 = 0 THEN 'web' ELSE 'mail' END,
       CASE WHEN n %% 50 = 0 THEN 'bind' WHEN n %% 2 = 0 THEN 'apache' ELSE 'qmail' END, true
FROM generate_series(1, %(servers)s) n;
INSERT INTO lane (box_id, logical_server_id)
SELECT b.id, s.id
FROM (SELECT id, row_number() OVER (ORDER BY name) AS place FROM logical_server) s
JOIN (SELECT id, row_number() OVER (ORDER BY name) AS place FROM box) b
  ON b.place = s.place %% %(boxes)s + 1;
INSERT INTO ip_address (logical_server_id, address, prefix, port, type, tag)
SELECT id, '100.64.0.0'::inet + row_number() OVER (ORDER BY name), 16,
       CASE group_name WHEN 'web' THEN 80 WHEN 'dns' THEN 53 ELSE 25 END,
       CASE group_name WHEN 'web' THEN 'shared' ELSE 'service' END,
       CASE group_name WHEN 'web' THEN 2 END
FROM logical_server;
INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
SELECT s.id, '172.16.0.0'::inet + s.place * %(each)s + k, 24, 80, 'dedicated'
FROM (SELECT id, row_number() OVER (ORDER BY name) AS place
      FROM logical_server WHERE group_name = 'web') s, generate_series(0, %(each)s - 1) k;
INSERT INTO account (name) VALUES ('acme');
INSERT INTO domain (owner_id, name, reversed)
SELECT a.id, 'z' || n || '.test', 'test.z' || n FROM account a, generate_series(1, %(zones)s) n;
INSERT INTO zone (owner_id, domain_id, name, serial, contact)
SELECT owner_id, id, name, 1, 'hostmaster.example.net' FROM domain;
INSERT INTO zone_server (zone_id, logical_server_id, owner_id, role)
SELECT z.id, n.id, z.owner_id, CASE WHEN n.place = z.id %% n.many THEN 'master'
                                    ELSE 'secondary' END
FROM zone z JOIN (SELECT id, row_number() OVER (ORDER BY name) - 1 AS place,
                         count(*) OVER () AS many
                  FROM logical_server WHERE group_name = 'dns') n
  ON n.place IN (z.id %% n.many, (z.id + 1) %% n.many);
"""


@attrs.frozen
class Question:
    """A command, and the query of the rows that it answers; none where there is no such query."""

    words: str
    command: str
    fields: dict[str, Any] = attrs.field(factory=dict)
    dry_run: bool = False
    rows: str = ""


QUESTIONS = (
    Question(
        "pserver list", "pserver.list", {}, rows=f"SELECT * FROM box ORDER BY name LIMIT {LISTED}"
    ),
    Question(
        "lserver list",
        "lserver.list",
        {},
        rows=f"SELECT * FROM logical_server ORDER BY name LIMIT {LISTED}",
    ),
    Question("ip list", "ip.list", {}, rows=f"SELECT * FROM ip_address ORDER BY id LIMIT {LISTED}"),
    Question(
        "domain list", "domain.list", {}, rows=f"SELECT * FROM domain ORDER BY name LIMIT {LISTED}"
    ),
    Question("status", "status.show"),
    Question("health, nothing changed", "health.list"),
    Question(
        "pserver add",
        "pserver.add",
        {"name": "new", "ip": "192.0.2.1", "mask": "24", "groups": ("web",)},
        dry_run=True,
    ),
    Question(
        "lserver add",
        "lserver.add",
        {"name": "new.example.net", "group": "web", "type": "apache", "pserver": "b7"},
        dry_run=True,
    ),
    Question("lserver signup", "lserver.signup", {"name": "s2.example.net", "signup": False}, True),
    Question(
        "ip add",
        "ip.add",
        {"lserver": "s2.example.net", "first": "192.0.2.9", "mask": "24", "type": "dedicated"},
        dry_run=True,
    ),
)


def p95(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]


async def measure(
    runner: CommandRunner, registry: Any, plain: extensions.connection, times: int
) -> None:
    """Ask every question ``times`` times, in turns with its query, and print what it took."""

    async def ask(question: Question) -> None:
        request = registry[question.command].request(**question.fields)
        await runner.run(OPERATOR, question.command, request, dry_run=question.dry_run)

    def query(question: Question) -> None:
        with plain, plain.cursor() as cursor:
            cursor.execute(question.rows)
            cursor.fetchall()

    begin = time.perf_counter()
    await ask(Question("health", "health.list"))
    sys.stdout.write(f"health over the whole model: {time.perf_counter() - begin:.2f} s\n\n")
    shown = []
    for question in QUESTIONS:
        product: list[float] = []
        limit: list[float] = []
        for _ in range(times):
            product.append(await _timed(lambda asked=question: ask(asked)))  # type: ignore[misc]
            if question.rows:
                begin = time.perf_counter()
                query(question)
                limit.append(time.perf_counter() - begin)
        ratio = f"{median(product) / median(limit):.1f}" if limit else "-"
        beside = ms(median(limit)) if limit else "-"
        shown.append((question.words, ms(median(product)), ms(p95(product)), beside, ratio))
    sys.stdout.write(table(("", "median", "p95", "query", "ratio"), shown) + "\n")


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


async def run(url: str, folder: Path, scale: float, times: int) -> None:
    """Fill the database, and measure."""
    initialise(url, "example.net")
    plain = psycopg2.connect(url)
    servers = max(100, int(SERVERS * scale))
    webs = servers // 2 - servers // 50
    with plain, plain.cursor() as cursor:
        cursor.execute("SET SESSION hs.principal = 'provider'")
        cursor.execute(
            _FILL,
            {
                "boxes": max(20, int(BOXES * scale)),
                "servers": servers,
                "each": max(1, int((ADDRESSES - SERVERS) * scale) // webs),
                "zones": max(1000, int(ZONES * scale)),
            },
        )
    plain.autocommit = True
    with plain.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    database = await Database.connect(url)
    registry = build_registry(
        EnrolmentInfo("198.51.100.99", 8445, "ab" * 32),
        time.time,
        fleet=NotedFleet(),
        secrets=Secrets.create(folder / "secrets.key"),
        draw=Random(7),
    )
    try:
        await measure(CommandRunner(database, registry), registry, plain, times)
    finally:
        await database.close()
        plain.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--times", type=int, default=40)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hs-wide-", dir="/tmp"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder, settings={"fsync": "off"})
    server.start()
    try:
        administrator = psycopg2.connect(server.administrator_url)
        administrator.autocommit = True
        with administrator.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE wide OWNER {OWNER_ROLE}")
        administrator.close()
        url = server.url_of(OWNER_ROLE, "wide")
        migrate(url)
        task.react(
            lambda reactor: defer.ensureDeferred(
                run(url, folder, arguments.scale, arguments.times)
            ),
            (),
        )
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
