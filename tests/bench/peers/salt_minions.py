"""Salt: a master and N minions on loopback, asked over its own Python client, which is kept."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.peers import peer
from tests.bench.peers.name_server import TEMPLATE, NameServer, waiting, zone_file
from tests.free_ports import free_port

_STATE = """zone:
  file.managed:
    - name: {{{{ pillar['file'] }}}}
    - source: salt://zone.j2
    - template: jinja
    - context:
        zone: {{{{ pillar['zone'] }}}}
        serial: {{{{ pillar['serial'] }}}}
  cmd.run:
    - name: {reload} {{{{ pillar['zone'] }}}}
    - onchanges:
      - file: zone
"""
_STATE_OF_ALL = """{{% for zone, serial in pillar['serials'].items() %}}
{{{{ zone }}}}:
  file.managed:
    - name: {folder}/{{{{ zone }}}}.zone
    - source: salt://zone.j2
    - template: jinja
    - context:
        zone: {{{{ zone }}}}
        serial: {{{{ serial }}}}
  cmd.run:
    - name: {reload} {{{{ zone }}}}
    - onchanges:
      - file: {{{{ zone }}}}
{{% endfor %}}
"""


class Salt:
    """salt-master and salt-minions as this user, with all their state in ``folder``."""

    def __init__(self, folder: Path, agents: int, server: NameServer) -> None:
        self._server = server
        self._agents = agents
        self._programs, relaxed = _install(folder)
        self._processes: list[subprocess.Popen[bytes]] = []
        states = folder / "states"
        states.mkdir()
        (states / "zone.j2").write_text(TEMPLATE)
        reload, zones = server.reload_command, zone_file(server.folder, "").parent
        (states / "zone.sls").write_text(_STATE.format(reload=reload))
        (states / "zones.sls").write_text(_STATE_OF_ALL.format(reload=reload, folder=zones))
        publish, ret = free_port(), free_port()
        self._configured = [
            ("salt-master", _master(folder, states, publish, ret)),
            *(
                ("salt-minion", _minion(folder, number, publish, ret))
                for number in range(1, agents + 1)
            ),
        ]
        self._key = folder / "master" / "var" / "cache" / "salt" / "master" / ".root_key"
        self._client = [
            str(self._programs / "python"),
            str(Path(__file__).with_name("salt_driver.py")),
            str(folder / "master" / "master"),
        ]
        self._drivers: list[_Driver] = []
        self.words = (
            f"salt {peer.version(self._programs, 'salt')} from PyPI{relaxed};"
            f" a master and {agents} minions on loopback, ZeroMQ, as this user; asked over"
            " `salt.client.LocalClient`, kept, so that no program is started; `test.ping`, and"
            " `state.apply zone` with the zone in a pillar: `file.managed` (jinja) and"
            " `cmd.run: rndc reload ZONE` on changes, for that zone alone; among all, one state of"
            " such pairs; side by side, a client each and `concurrent=True`"
        )

    def start(self) -> None:
        for program, config in self._configured:
            self._start(program, config)
        # The client reads the master's key once, when it begins.
        waiting(self._key.exists, 300, "the master does not start")
        driver = self._driver()
        waiting(lambda: driver.ask("*", "test.ping") == self._agents, 300, "minions do not answer")

    def no_op(self) -> None:
        if self._drivers[0].ask("*", "test.ping") != self._agents:
            raise RuntimeError("not all minions answered")

    def change(self, zone: str, serial: int) -> None:
        self._change(self._drivers[0], zone, serial)

    def change_among_all(self, serials: Mapping[str, int]) -> None:
        self._apply(self._drivers[0], "zones", pillar={"serials": dict(serials)})

    def clients(self, count: int) -> Sequence[peer.Client]:
        drivers = [self._driver() for _ in range(count)]
        for driver in drivers:  # until each has its client
            driver.ask("minion1", "test.ping")
        return [partial(self._change, driver, concurrent=True) for driver in drivers]

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()

    def _driver(self) -> "_Driver":
        driver = _Driver(self._client)
        self._drivers.append(driver)
        return driver

    def _change(self, driver: "_Driver", zone: str, serial: int, **more: Any) -> int:
        file = str(zone_file(self._server.folder, zone))
        pillar = {"zone": zone, "serial": serial, "file": file}
        self._apply(driver, "zone", pillar=pillar, **more)
        return serial

    def _apply(self, driver: "_Driver", state: str, **named: Any) -> None:
        if driver.ask("minion1", "state.apply", [state], named) != 1:
            raise RuntimeError("the state was not applied")

    def _start(self, program: str, config: Path) -> None:
        words = [str(self._programs / program), "-c", str(config), "-l", "quiet"]
        self._processes.append(
            subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )


class _Driver:
    """A process of Salt's own environment that keeps one client."""

    def __init__(self, words: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, target: str, function: str, *arguments: Any) -> int:
        """Run a function on minions; give how many answered with success."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([target, function, *arguments]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _install(folder: Path) -> tuple[Path, str]:
    """Install Salt; give its programs, and how where that was not plainly done."""
    try:
        return peer.install(folder, "environment", ["salt"]), ""
    except subprocess.CalledProcessError:
        # It pins versions of certifi that an index may have no more.
        return _install_relaxed(folder), ", its pin of certifi relaxed"


def _install_relaxed(folder: Path) -> Path:
    programs = folder / "environment" / "bin"
    pip = [str(programs / "pip"), "--disable-pip-version-check"]
    source = ["--no-deps", "--no-binary", "salt", "-d", str(folder), "salt"]
    subprocess.run([*pip, "download", "-q", *source], check=True, stdout=sys.stderr)
    (archive,) = folder.glob("salt-*.tar.gz")
    shutil.unpack_archive(archive, folder / "source")
    (tree,) = (folder / "source").iterdir()
    for file in (tree / "requirements").rglob("*.txt"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join("certifi\n" if "certifi" in x.split("#")[0] else x for x in lines))
    subprocess.run([*pip, "install", "-q", str(tree)], check=True, stdout=sys.stderr)
    return programs


def _master(folder: Path, states: Path, publish: int, ret: int) -> Path:
    place = folder / "master"
    place.mkdir()
    (place / "master").write_text(
        f"root_dir: {place}\ninterface: 127.0.0.1\npublish_port: {publish}\nret_port: {ret}\n"
        f"auto_accept: true\nfile_roots: {{base: [{states}]}}\nsock_dir: {place / 'run'}\n"
        f"conf_file: {place / 'master'}\n"
    )
    return place


def _minion(folder: Path, number: int, publish: int, ret: int) -> Path:
    place = folder / f"minion{number}"
    place.mkdir()
    (place / "minion").write_text(
        f"root_dir: {place}\nid: minion{number}\nmaster: 127.0.0.1\nmaster_port: {ret}\n"
        f"publish_port: {publish}\nsock_dir: {place / 'run'}\nconf_file: {place / 'minion'}\n"
    )
    return place
