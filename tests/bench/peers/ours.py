"""The product at the same two jobs, on the bench's own cluster."""

import subprocess
import sys
import time
from pathlib import Path

from tests.bench import cluster, identities
from tests.bench.changes import ACCOUNT, Product
from tests.bench.filling import Model

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
        self.words = (
            f"as `hsctl local up` makes it, with {zones:,} zones on two name servers; one record"
            " set over the API until both of them answer it; the fan-out is a change committed"
            f" for {agents} boxes until each has acknowledged it (more than a no-op: it is stored"
            " in the database). Those boxes are simulated: real TLS from other processes, but"
            " nothing on a disk"
        )

    def no_op(self) -> None:
        self._changes += 1
        spec = b"\x81\xa5small%d" % (self._changes % 10)
        revision = self._model.change(self._server, "crowd.test", spec)
        while self._model.settled(self._server, revision) < self._agents:
            time.sleep(0.002)

    def change(self, zone: str, serial: int) -> None:
        self._product.record_change("measured.test")

    def settle(self) -> None:
        """Wait until nothing is on its way."""
        self._product.settled()

    def close(self) -> None:
        for process in self._crowd:
            process.terminate()
            process.wait()
        self._model.close()
        self._product.close()
        cluster.stop(self._root)
