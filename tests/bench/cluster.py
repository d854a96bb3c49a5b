"""The bench's own cluster: brought up by `hsctl local`, found from outside, taken down again."""

import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
import psutil

from controller.local.layout import Layout


@attrs.frozen
class Server:
    """A logical server of the cluster: where it answers, and its lane's directory."""

    address: str
    port: int
    root: Path


@attrs.frozen
class NameServer(Server):
    """A name server, with what its control channel takes."""

    control_port: int
    control_secret: str


class ApiClient:
    """One kept HTTPS connection to the API."""

    def __init__(self, url: str, ca: str, token: str) -> None:
        place = urlsplit(url)
        context = ssl.create_default_context(cadata=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        assert place.hostname is not None
        self._connection = http.client.HTTPSConnection(
            place.hostname, place.port, context=context, timeout=120
        )
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask and give the answer; a refusal is an error here."""
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, f"/api/v1{path}", content, self._headers)
            response = self._connection.getresponse()
        except (OSError, http.client.HTTPException):
            if method != "GET":
                raise
            self._connection.close()  # it was idle too long: the next request opens it anew
            self._connection.request(method, f"/api/v1{path}", content, self._headers)
            response = self._connection.getresponse()
        data = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {data.decode()}")
        return cast(dict[str, Any], json.loads(data))

    def close(self) -> None:
        self._connection.close()


@attrs.frozen
class Bench:
    """A running cluster of the bench."""

    layout: Layout
    master: NameServer
    secondary: NameServer
    web: Server
    transfer_key: str
    database_url: str
    agents: str
    url: str
    ca: str
    token: str = attrs.field(repr=False)

    def client(self) -> ApiClient:
        return ApiClient(self.url, self.ca, self.token)

    def process(self, name: str) -> psutil.Process:
        """Give the process of the controller, or of the agent of a box."""
        own = self.layout.controller_config
        config = str(own if name == "controller" else self.layout.agent_config(name))
        for record in json.loads(self.layout.processes.read_bytes()):
            process = psutil.Process(record["pid"])
            if config in process.cmdline():
                return process
        raise LookupError(name)


def start(root: Path) -> Bench:
    """Bring a cluster up below ``root`` and look where everything is."""
    _hsctl(root, "up", "--detach")
    layout = Layout(root)
    plan = layout.read_plan()
    assert plan is not None
    boxes = {box.name: box for box in plan.boxes}
    profiles = tomllib.loads((root.parent / "hsctl.toml").read_text())
    profile = profiles["profiles"][profiles["default"]]
    controller = tomllib.loads(layout.controller_config.read_text())

    def name_server(name: str) -> NameServer:
        lane = _lane(layout, name)
        text = (lane / "named.conf").read_text()
        secret = re.search(r'key "heliosphere-control" \{[^}]*secret "([^"]+)"', text)
        control_port = boxes[name].control_port
        assert secret is not None
        assert control_port is not None
        place = boxes[name].endpoint
        return NameServer(place.address, place.port, lane, control_port, secret[1])

    master = name_server("ns1")
    key = re.search(
        r'key "((?!heliosphere-control)[^"]+)" \{', (master.root / "named.conf").read_text()
    )
    assert key is not None
    place = boxes["web1"].endpoint
    return Bench(
        layout=layout,
        master=master,
        secondary=name_server("ns2"),
        web=Server(place.address, place.port, _lane(layout, "web1")),
        transfer_key=key[1],
        database_url=controller["database"],
        agents=controller["agents"],
        url=profile["url"],
        ca=profile["ca"],
        token=profile["token"],
    )


def stop(root: Path) -> None:
    """Take the cluster down and remove it."""
    _hsctl(root, "reset", "--yes")


def _lane(layout: Layout, box: str) -> Path:
    (lane,) = (layout.boxes / box / "state" / "lservers").iterdir()
    return lane


def _hsctl(root: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "controller.hsctl.main", "local", *arguments, "--dir", str(root)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "HSCTL_CONFIG": str(root.parent / "hsctl.toml")},
    )
