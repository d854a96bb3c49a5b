"""PostgreSQL away, crowded, full: people are told which, and the controller goes on by itself."""

import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from typing import Any

import psutil
import psycopg2
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from controller.storage.embedded import EmbeddedPostgres
from controller.web.panel.doorkeeper import COOKIE
from tests.faults.cluster_under_fault import Answer, Api
from tests.faults.simulated_cluster import DOMAIN, SimulatedCluster, simulated_cluster

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def disk(short_directory: Path) -> Iterator[Path]:
    """The directory of a server that only these tests use: a small disk of its own, for root."""
    place = Path(tempfile.mkdtemp(prefix="pg-", dir=short_directory))
    place.chmod(0o711)
    if ROOT:
        options = ["-o", "size=200m,mode=711", "hs-test", str(place)]
        subprocess.run(["mount", "-t", "tmpfs", *options], check=True)
    yield place
    if ROOT:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest_twisted.async_yield_fixture(scope="module")
async def made(disk: Path) -> AsyncIterator[SimulatedCluster]:
    settings = {"fsync": "off", "max_connections": "20", "max_wal_size": "64MB"}
    postgres = EmbeddedPostgres(disk, settings=settings)
    postgres.start()
    try:
        async with simulated_cluster(postgres) as cluster:
            yield cluster
    finally:
        postgres.stop()


@pytest_twisted.async_yield_fixture
async def cluster(made: SimulatedCluster) -> AsyncIterator[SimulatedCluster]:
    made.switch_on()
    yield made
    await made.settled()
    made.assert_nothing_lost_nor_twice()
    await made.switch_off()


def set_record(api: Api, name: str, value: str = "192.0.2.9") -> Answer:
    fields = {"name": name, "type": "TXT" if len(value) > 15 else "A", "values": [value]}
    return api.ask("PUT", f"/domains/{DOMAIN}/records", fields, key=f"plight-{name}")


def panel(cluster: SimulatedCluster) -> tuple[int, str]:
    """Ask the panel's first page, as a browser that is signed in nowhere."""
    ca = str(cluster.host.directory / "state" / "pki" / "ca.pem")
    context = create_default_context(cafile=ca)
    connection = HTTPSConnection("localhost", cluster.host.port, context=context, timeout=60)
    try:
        connection.request("GET", "/", headers={"Cookie": f"{COOKIE}=" + "a" * 43})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def waiting(cluster: SimulatedCluster, name: str) -> "Deferred[Any]":
    """Run `hsctl record set`, which asks again for a while; give how it ends."""
    return Deferred.fromCoroutine(cluster.hsctl("record", "set", DOMAIN, name, "A", "192.0.2.8"))


@pytest_twisted.ensureDeferred
async def test_a_killed_database_is_told_as_away_and_whoever_waits_ends_well(
    cluster: SimulatedCluster,
) -> None:
    api = Api(cluster.host.directory)
    assert (await deferToThread(set_record, api, "before")).status == 200
    pid = cluster.postgres.pid
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=30)
    asked = waiting(cluster, "away")
    answer = await deferToThread(set_record, api, "refused")
    assert (answer.status, answer.body["id"]) == (503, "database.away"), answer
    await deferToThread(cluster.postgres.start)
    await cluster.ended_well(await asked)
    assert len(cluster.changes("record.set", "away")) == 1
    assert cluster.changes("record.set", "refused") == []
    assert cluster.changes("record.set", "before") != []


@pytest_twisted.ensureDeferred
async def test_a_crowded_database_is_told_as_such(cluster: SimulatedCluster) -> None:
    """Others take every connection at the moment in which the controller has lost its own."""
    taken: list[Any] = []
    master = psycopg2.connect(cluster.postgres.administrator_url)
    master.autocommit = True
    api = Api(cluster.host.directory)
    try:
        with master.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'heliosphere'"
            )
            refused = 0
            while refused < 5:  # one that is just signing in has a place, and no name yet
                try:
                    taken.append(psycopg2.connect(cluster.database))
                    refused = 0
                except psycopg2.OperationalError:
                    await cluster.pause(0.1)
                    cursor.execute(
                        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                        " WHERE application_name = 'heliosphere'"
                    )
                    refused = refused + 1 if cursor.fetchone() == (0,) else 0
        asked = waiting(cluster, "crowded")
        answer, (status, page) = await gatherResults(
            [deferToThread(set_record, api, "no-room"), deferToThread(panel, cluster)]
        )
        assert (answer.status, answer.body["id"]) == (503, "database.crowded"), answer
        assert (status, "max_connections" in page) == (503, True), page
    finally:
        for connection in (*taken, master):
            connection.close()
    await cluster.ended_well(await asked)
    assert cluster.changes("record.set", "no-room") == []


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="a full disk is a small tmpfs, which root mounts")
@pytest_twisted.ensureDeferred
async def test_a_full_disk_of_the_database_is_told_as_such(
    cluster: SimulatedCluster, disk: Path
) -> None:
    api = Api(cluster.host.directory)
    ballast = disk / "ballast"
    fill(ballast)
    kept, refused = [], None
    for number in range(400):
        answer = await deferToThread(set_record, api, f"full{number}", "x" * 200)
        if answer.status != 200:
            refused = answer
            break
        kept.append(f"full{number}")
    ballast.unlink()
    assert refused is not None
    assert (refused.status, refused.body["id"]) == (503, "database.full"), refused
    assert "nothing was written" in refused.body["detail"]
    if cluster.postgres.pid is None:  # its log had no room either: then it ends, and is started
        await deferToThread(cluster.postgres.start)
    ran = await waiting(cluster, "room-again")
    assert ran.returncode == 0, ran
    written = cluster.rows(
        "SELECT count(*) FROM change WHERE command = 'record.set' AND request->>'name' ~ '^full'"
    )
    assert written == [(len(kept),)]


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            return
