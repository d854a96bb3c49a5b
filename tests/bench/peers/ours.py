"""The product at the same jobs, on the bench's own cluster."""

import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.bench import cluster, identities
from tests.bench.answers import NameServerClient
from tests.bench.changes import ACCOUNT, Product
from tests.bench.filling import Model
from tests.bench.peers.peer import Client

_NUMBER = 2
"""Processes that the simulated agents share."""


class Ours:
    """Controller, agents and name servers as `hsctl local up` makes them, and N boxes more."""

    def __init__(self, folder: Path, agents: int, zones: int) -> None:
        self._root = folder / "cluster"
        self._agents = agents
        self._bench = cluster.start(self._root)
        self._product = Product(self._bench)
        self._product.new_domain("measured.test")
        self._model = Model.open(self._bench.database_url)
        self._model.fill_zones(0, zones - 1, ACCOUNT)
        for _ in self._model.until_served():
            pass
        self._server, boxes = self._model.add_boxes(agents)
        crowd = folder / "crowd"
        crowd.mkdir()
        files = identities.issue(self._bench.layout.controller / "pki", crowd, boxes, _NUMBER)
        words = (sys.executable, "-m", "tests.bench.crowd", self._bench.agents)
        self._crowd = [subprocess.Popen([*words, str(file)]) for file in files]
        while self._model.connected() < agents:
            time.sleep(0.1)
        self._changes = 0
        self._clients: list[cluster.ApiClient] = []
        places = (self._bench.master, self._bench.secondary)
        self._name_servers = [NameServerClient(place.address, place.port) for place in places]
        self.zones = [f"z{number}.fill.test" for number in range(zones - 1)]
        self.words = (
            f"as `hsctl local up` makes it, with {zones:,} zones on two name servers; one record"
            " set over the API until both of them answer it; the fan-out is a change committed"
            f" for {agents} boxes until each has acknowledged it (more than a no-op: it is stored"
            " in the database). Those boxes are simulated: real TLS from other processes, but"
            " nothing on a disk. Among all is the same change: the model has them all. Side by"
            " side, a kept connection each, answered when the change is committed"
        )

    def no_op(self) -> None:
        self._changes += 1
        spec = b"\x81\xa5small%d" % (self._changes % 10)
        revision = self._model.change(self._server, "crowd.test", spec)
        while self._model.settled(self._server, revision) < self._agents:
            time.sleep(0.002)

    def change(self) -> None:
        self._product.record_change("measured.test")

    def clients(self, count: int) -> Sequence[Client]:
        """Give clients of the API that change zones side by side."""
        self._clients += [self._bench.client() for _ in range(count)]
        return [partial(_set, client) for client in self._clients[-count:]]

    def until(self, zone: str, serial: int) -> None:
        """Wait until both name servers answer a zone with this serial or a later one."""
        for client in self._name_servers:
            client.until(zone, serial)

    def settle(self) -> None:
        """Wait until nothing is on its way."""
        self._product.settled()

    def close(self) -> None:
        for process in self._crowd:
            process.terminate()
            process.wait()
        self._model.close()
        self._product.close()
        for client in (*self._clients, *self._name_servers):
            client.close()
        cluster.stop(self._root)


def _set(client: cluster.ApiClient, zone: str, turn: int) -> int:
    record = {"name": "changed", "type": "A", "values": [f"192.0.2.{turn % 250 + 1}"]}
    answer = client.ask("PUT", f"/domains/{zone}/records", record)
    serial: int = answer["result"]["serial"]
    return serial
