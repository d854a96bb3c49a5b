"""A local cluster of real processes that tests break: its API, its database, its boxes."""

import contextlib
import http.client
import json
import os
import shutil
import ssl
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import dns.exception
import psutil
import psycopg2

from tests.local_cluster import Cluster, Ran, ask, eventually, fetch
from tests.scratch import scratch

BOXES = ("ns1", "ns2", "web1")


@attrs.frozen
class Answer:
    """An answer of the API."""

    status: int
    kind: str
    body: Any


class Api:
    """Speaks plain HTTPS with a controller: what it answers is seen as it is."""

    def __init__(self, home: Path) -> None:
        document = tomllib.loads((home / "hsctl.toml").read_text())
        profile = document["profiles"][document["default"]]
        self._token = profile["token"]
        self._context = ssl.create_default_context(cadata=profile["ca"])
        self._at = urlsplit(profile["url"])
        self._connection: http.client.HTTPSConnection | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        key: str = "",
        timeout: float = 20.0,
    ) -> Answer:
        """Ask once. Raises OSError or HTTPException where no answer came."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                str(self._at.hostname), self._at.port, context=self._context, timeout=timeout
            )
        try:
            self._connection.request(method, f"/api/v1{path}", data, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            self._connection.close()
            self._connection = None
            raise
        kind = answer.headers.get_content_type()
        return Answer(answer.status, kind, json.loads(content) if content else None)

    def insist(
        self, method: str, path: str, body: Mapping[str, Any], *, key: str, patience: float = 60.0
    ) -> Answer:
        """Ask under one idempotency key until there is an answer that says what was done."""
        answers: list[Answer] = []

        def answered() -> bool:
            try:
                answers.append(self.ask(method, path, body, key=key))
            except (OSError, http.client.HTTPException):
                return False
            return answers[-1].status < 500

        assert eventually(answered, patience), answers
        return answers[-1]


@attrs.frozen
class Broken:
    """The cluster, and what tests do to it."""

    cluster: Cluster
    api: Api

    # --- what it says of itself ---

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Ask the database as its owner, who sees every row."""
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def dump(self) -> str:
        """Give every row of the tables that people's commands write, as text."""
        tables = self.rows(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'"
            "::regnamespace AND relname !~ '^(_yoyo|yoyo|box_sample)' ORDER BY relname"
        )
        # Times of heartbeats, facts and verifying move by themselves, and boxes tell their load.
        moving = "- 'last_seen_at' - 'facts' - 'facts_at' - 'files' - 'verified_at'"
        return "\n".join(
            f"{table} {row}"
            for (table,) in tables
            for (row,) in self.rows(
                f"SELECT (to_jsonb(t) {moving})::text AS row FROM {table} t ORDER BY row"
            )
        )

    def _connect(self) -> "psycopg2.extensions.connection":
        config = tomllib.loads((self.cluster.folder / "controller" / "controller.toml").read_text())
        connection = psycopg2.connect(config["database"], options="-c hs.principal=provider")
        connection.autocommit = True
        return connection

    def status(self) -> dict[str, Any]:
        """Give what `hsctl status` shows, once a controller that was killed is back."""
        answers: list[Ran] = []

        def answered() -> bool:
            answers.append(self.cluster.hsctl("status", "-o", "json"))
            return answers[-1].code == 0

        assert eventually(answered), answers[-1]
        answer: dict[str, Any] = json.loads(answers[-1].out)
        return answer

    def lane(self, box: str) -> dict[str, Any]:
        """Give the one lane of a box as `hsctl status` shows it."""
        (lane,) = [lane for lane in self.status()["lanes"] if lane["box"] == box]
        return dict(lane)

    def condition(self, box: str) -> list[str]:
        """Give the words for a box as `hsctl status` shows them."""
        (shown,) = [each for each in self.status()["boxes"] if each["name"] == box]
        return list(shown["conditions"])

    def lane_is(self, box: str, condition: str, patience: float = 30.0) -> bool:
        """Wait until a box's lane is in a condition."""
        return eventually(lambda: self.lane(box)["condition"] == condition, patience)

    def settled(self, patience: float = 40.0) -> bool:
        """Wait until every box is connected and has applied all that it must serve."""

        def done() -> bool:
            return all(
                lane["connected"]
                and lane["condition"] == "ok"
                and lane["settled_revision"] >= lane["revision"]
                for lane in self.status()["lanes"]
            )

        return eventually(done, patience)

    def faults(self) -> list[dict[str, Any]]:
        """Give what `hsctl fault list` shows."""
        return list(json.loads(self.cluster.good("fault", "list", "-o", "json")))

    def quarantined(self) -> list[str]:
        """Give the keys of quarantined objects."""
        return [fault["key"] for fault in self.faults() if fault["state"] == "quarantined"]

    # --- boxes ---

    def agent(self, box: str, *words: str) -> Ran:
        """Run hs-agent on a box."""
        config = str(self.agent_config(box))
        verb, *rest = words
        return self.cluster.run(
            sys.executable, "-m", "node_agent.main", verb, "--config", config, *rest
        )

    def agent_config(self, box: str) -> Path:
        """The agent's configuration file."""
        return self.cluster.folder / "boxes" / box / "agent.toml"

    def grants(self, box: str) -> Path:
        return self.agent_config(box).with_name("grants.toml")

    def lane_root(self, box: str) -> Path:
        """The directory of the one lane of a box."""
        lanes = self.cluster.folder / "boxes" / box / "state" / "lservers"
        (root,) = (each for each in lanes.iterdir() if each.is_dir())
        return root

    def log(self, name: str) -> str:
        """What a process has logged so far."""
        return (self.cluster.folder / "logs" / f"{name}.log").read_text()

    def last_words(self, most: int = 3000) -> str:
        """What all processes logged last, for whoever finds them silent."""
        logs = (*self.cluster.folder.glob("*.log"), *self.cluster.folder.glob("logs/*.*"))
        return "\n".join(f"== {log.name}\n{log.read_text()[-most:]}" for log in logs)

    def daemon(self, box: str) -> psutil.Process | None:
        """The box's daemon: the parent of those that name its lane on their command line."""
        root = str(self.lane_root(box)) + os.sep
        found = []
        for process in psutil.process_iter(["cmdline", "name", "ppid"]):
            words = process.info["cmdline"] or ()
            if process.info["name"] in ("named", "apache2") and any(root in w for w in words):
                found.append(process)
        pids = {process.pid for process in found}
        parents = [process for process in found if process.info["ppid"] not in pids]
        return parents[0] if parents else None

    def answers(self, box: str, name: str, kind: str) -> list[str]:
        """Ask a box's name server; nothing where it does not answer."""
        try:
            return ask(self.cluster.places()[box], name, kind)
        except (OSError, dns.exception.Timeout):
            return []

    def page(self, host: str) -> int:
        """Ask the web server for a page; give its status, 0 where nobody answers."""
        try:
            return fetch(self.cluster.places()["web1"], host)[0]
        except (OSError, http.client.HTTPException):
            return 0

    # --- breaking ---

    def process(self, name: str) -> psutil.Process | None:
        """Give a living process: ``controller``, ``postgres`` or ``agent-BOX``.

        PostgreSQL's number comes from a file that outlives it, and may be another's by now.
        """
        try:
            process = psutil.Process(self.cluster.processes()[name])
            lives = process.status() != psutil.STATUS_ZOMBIE
            ours = any(str(self.cluster.folder) in word for word in process.cmdline())
        except (KeyError, psutil.NoSuchProcess):
            return None
        return process if lives and ours else None

    def kill(self, name: str) -> None:
        """End a process with SIGKILL, once it is there, and wait until it has ended.

        One that waits for the disk lives on for a while.
        """
        assert eventually(lambda: self.process(name) is not None), name
        process = self.process(name)
        if process is not None:
            process.kill()
            assert eventually(lambda: self.process(name) != process), name

    def restart_agent(self, box: str) -> None:
        """Kill a box's agent and wait until its successor has a session."""
        sessions = self._welcomes(box)
        self.kill(f"agent-{box}")
        assert eventually(lambda: self._welcomes(box) > sessions), box

    def _welcomes(self, box: str) -> int:
        return self.log(f"agent-{box}").count(" welcomed ")

    @contextlib.contextmanager
    def away(self, name: str) -> Iterator[None]:
        """Keep a process from running: killed, and its successor stopped as soon as it is there.

        The supervisor starts what died; a stopped process is one that it does not miss.
        """
        self.kill(name)
        found: list[psutil.Process] = []

        def caught() -> bool:
            process = self.process(name)
            if process is not None:
                process.suspend()
                found.append(process)
            return process is not None

        assert eventually(caught)
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                found[-1].resume()


@contextlib.contextmanager
def broken_cluster() -> Iterator[Broken]:
    """Bring a cluster up in a directory of its own, and remove it however the tests end."""
    home = scratch("hs-fault-")
    home.chmod(0o755)
    cluster = Cluster(home / "c", home)
    try:
        up = cluster.local("up", "--detach")
        assert up.code == 0, up
        yield Broken(cluster, Api(home))
    finally:
        cluster.local("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)


def set_late(broken: Broken, zone: str, name: str, *, timeout: float = 40) -> int:
    ran = broken.cluster.hsctl(
        "record", "set", zone, name, "A", "192.0.2.9", "--timeout", str(timeout)
    )
    return ran.code


def goes_live(broken: Broken, zone: str, name: str) -> bool:
    return eventually(
        lambda: all(
            broken.answers(box, f"{name}.{zone}", "A") == ["192.0.2.9"] for box in ("ns1", "ns2")
        ),
        40,
    )


def end(daemon: psutil.Process | None) -> psutil.Process:
    """Kill a daemon with all its children, as a machine that is out of memory may."""
    assert daemon is not None
    family = [daemon, *daemon.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, left = psutil.wait_procs(family, 10)
    assert not left
    return daemon
