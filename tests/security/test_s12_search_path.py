"""S12: nothing that lies where somebody may put it is run or believed.

Cases: Hestia CVE-2026-108390 (PATH), Plesk CVE-2026-68492, Puppet CVE-2016-5713 (the environment is
passed on), Ansible PYSEC-2018-43 and -81 (configuration from the folder one stands in), Salt
GHSA-xf37-qcvf-7m57 (a configuration that was there before).

Fakes of every program and of every module lie in the working directory, the home, the temporary
directory and on the search paths of programs and of Python. The real programs are started there, as
the package starts them.
"""

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from controller.config import ConfigError as ControllerConfigError
from controller.config import read_config as read_controller_config
from controller.storage.embedded import EmbeddedPostgres
from node_agent.config import read_config
from node_agent.grants import read_grants
from node_agent.owned_file import ConfigError
from node_agent.wire.messages import Answer, LaneAssignment, Outcomes, Question
from node_agent.wire.questions import AskPackages, AskServices
from tests.agent_process import AgentProcess, _Watch
from tests.controller_host import controller_host
from tests.faults.test_agent_process import LANE, Cluster
from tests.scripted_controller import ScriptedController

TREE = Path(__file__).parents[2]
PROGRAMS = (
    *("named", "named-checkconf", "apache2", "systemctl", "journalctl", "ip", "dpkg-query", "rpm"),
    *("pkg", "sh", "bash", "python", "python3", "env", "id", "uname", "touch", "cat", "ldconfig"),
    *("postgres", "initdb", "pg_dump", "pg_restore", "pg_ctl", "useradd", "ssh", "openssl", "gcc"),
)
MODULES = (
    *("sitecustomize", "usercustomize", "click", "attr", "attrs", "msgspec", "twisted", "OpenSSL"),
    *("cryptography", "psycopg2", "jinja2", "json", "ssl", "tomllib", "secrets", "sqlite3", "uuid"),
    *("controller", "node_agent", "pki", "templates", "psutil", "dns", "idna", "resource"),
)


class Trap:
    """A folder of fakes, and an environment that leads to it from everywhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder.parent / "marks"
        self.marks.mkdir()
        self.marks.chmod(0o777)
        folder.mkdir()
        folder.chmod(0o755)
        for name in PROGRAMS:
            fake = folder / name
            fake.write_text(f"#!/bin/dash\n: >{self.marks}/program-{name}\nexit 1\n")
            fake.chmod(0o755)
        for name in MODULES:
            (folder / f"{name}.py").write_text(self._module(name))
        (folder / ".pythonrc.py").write_text(self._module("startup"))
        (folder / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
        for name in ("agent.toml", "grants.toml", "controller.toml", "hsctl.toml"):
            (folder / name).write_text(f'state = "{self.marks}/state"\n')
        user_site = folder / ".local/lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        user_site.mkdir(parents=True)
        (user_site / "usercustomize.py").write_text(self._module("user-site"))
        (user_site / "evil.pth").write_text(f"import os; open('{self.marks}/pth', 'w')\n")

    def _module(self, name: str) -> str:
        return f"open({str(self.marks / f'module-{name}')!r}, 'w').close()\n"

    @property
    def environment(self) -> Mapping[str, str]:
        here = str(self.folder)
        return {
            **dict.fromkeys(("PATH", "HOME", "TMPDIR", "TMP", "TEMP", "PYTHONPATH"), here),
            **dict.fromkeys(("PYTHONUSERBASE", "XDG_CONFIG_HOME", "PGSYSCONFDIR"), here),
            **dict.fromkeys(("PYTHONSTARTUP", "PYTHONINSPECT"), str(self.folder / ".pythonrc.py")),
            **dict.fromkeys(("BASH_ENV", "ENV"), str(self.folder / "sh")),
            "PYTHONBREAKPOINT": "sitecustomize.x",
            "PAGER": "python3",
            "EDITOR": "python3",
            "LC_ALL": "C.UTF-8",
        }

    def sprung(self) -> list[str]:
        return sorted(os.listdir(self.marks))


@pytest.fixture
def trap(short_directory: Path, request: pytest.FixtureRequest) -> Trap:
    home = short_directory / f"trap-{abs(hash(request.node.name)) % 10**6}"
    home.mkdir()
    home.chmod(0o755)
    return Trap(home / "fakes")


def as_packaged(name: str) -> list[str]:
    """Give the words that start a program as its script does once the package has been built."""
    rules = (TREE / "packaging/debian/rules").read_text()
    script = f"#!/usr/lib/heliosphere/bin/{Path(sys.executable).name}\nprint()\n"
    for expression in re.findall(r"sed -i '(1s\|[^']*)'", rules):
        done = subprocess.run(
            ["/usr/bin/sed", expression.replace("$$", "$")],
            input=script,
            capture_output=True,
            text=True,
            check=True,
        )
        script = done.stdout
    flags = script.splitlines()[0].split(" ")[1:]
    return [sys.executable, *flags, "-m", f"{name}.main"]


def run(trap: Trap, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=trap.folder,
        env=trap.environment,
        timeout=100,
    )


def test_the_trap_springs(trap: Trap) -> None:
    """Programs by their bare names and a Python that is not isolated do run the fakes."""
    run(trap, "/bin/dash", "-c", "named; systemctl")
    run(trap, sys.executable, "-c", "import msgspec")
    assert {"program-named", "program-systemctl", "module-sitecustomize", "module-msgspec"} <= set(
        trap.sprung()
    )


def test_hs_ca_runs_nothing_that_lies_about(trap: Trap) -> None:
    directory = str(trap.folder.parent / "ca")
    for words in (("init", "--cluster", "c1"), ("show",), ("fingerprint",), ("list-revoked",)):
        ran = run(trap, *as_packaged("pki"), words[0], "--dir", directory, *words[1:])
        assert ran.returncode == 0, ran
    ran = run(
        trap, *as_packaged("pki"), "issue-operator", "--dir", directory, "--out", directory, "ann"
    )
    assert ran.returncode == 0, ran
    assert trap.sprung() == []


@pytest.fixture
def host(trap: Trap, postgres: EmbeddedPostgres) -> Iterator[Path]:
    with controller_host(postgres) as host:
        yield host.directory / "controller.toml"


def test_hs_controller_runs_nothing_that_lies_about(trap: Trap, host: Path) -> None:
    program = as_packaged("controller")
    ran = run(trap, *program, "init", "--config", str(host))
    assert ran.returncode == 0, ran
    with subprocess.Popen(
        [*program, "run", "--config", str(host)],
        cwd=trap.folder,
        env=trap.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        assert serving.stderr is not None
        words = []
        for line in serving.stderr:
            words.append(line)
            if "ready" in line:
                break
        serving.send_signal(signal.SIGTERM)
        assert "ready" in "".join(words), words
        serving.stderr.read()
    assert trap.sprung() == []


class TrappedAgent(AgentProcess):
    """An agent that is started in the trap."""

    def __init__(self, controllers: list[int], trap: Trap) -> None:
        super().__init__(controllers)
        self._trap = trap

    def start(self) -> None:
        self._watch = _Watch()
        words = [*as_packaged("node_agent"), "run", "--config", str(self.config)]
        self._process = reactor.spawnProcess(
            self._watch, words[0], words, env=self._trap.environment, path=str(self._trap.folder)
        )


@pytest_twisted.ensureDeferred
async def test_hs_agent_runs_nothing_that_lies_about(trap: Trap, tmp_path: Path) -> None:
    """It starts a real named, checks its configuration, and is asked for all that it runs for."""
    controller = ScriptedController(tmp_path, (LaneAssignment(LANE, "ns1", "bind"),))
    await controller.listen()
    agent = TrappedAgent([controller.port], trap)
    try:
        controller.enrol(agent.state)
        agent.start()
        await controller.until(lambda: controller.said(Outcomes))
        cluster = Cluster(controller, agent)
        controller.send_batch(LANE, cluster.server(1), cluster.zone("a.test", 2, serial=1))
        await cluster.settled(2)
        assert await cluster.serial("a.test") == 1
        asks: tuple[Any, ...] = (AskPackages(search="", after="", limit=5), AskServices())
        for number, ask in enumerate(asks):
            controller.send(Question(id=number, seconds=20.0, ask=ask))
        await controller.until(lambda: len(controller.said(Answer)) == len(asks))
        (named,) = agent.daemons()
        assert named.exe().startswith("/usr/")
        assert trap.folder.name not in str(named.environ())
        assert trap.sprung() == []
    finally:
        await agent.sweep()
        await controller.close()


# --- the source ---

_RUN_PROGRAMS = {
    "platform.platform",
    "platform.processor",
    "platform.uname",
    "platform.architecture",
}
"""Of Python's own: they run ``uname`` and ``file``, found on the PATH."""


def test_nothing_looks_a_program_up() -> None:
    for folder in ("controller", "node_agent", "pki", "templates"):
        for path in sorted((TREE / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    assert ast.unparse(node.func) not in _RUN_PROGRAMS, path
                elif isinstance(node, ast.ImportFrom) and node.module == "platform":
                    raise AssertionError(f"{path}: name the functions as platform.X")


# --- configurations ---

AGENT = 'state = "/var/lib/x"\ncontroller = []\n'
GRANTS = '[programs]\nnamed = "/usr/sbin/named"\n'
CONTROLLER = 'state = "state"\n'


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666, 0o622, 0o602])
def test_a_configuration_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    for text, read, refusal in (
        (AGENT, read_config, ConfigError),
        (GRANTS, read_grants, ConfigError),
        (CONTROLLER, read_controller_config, ControllerConfigError),
    ):
        path = tmp_path / "file.toml"
        path.write_text(text)
        path.chmod(0o644)
        read(path)  # type: ignore[operator]
        path.chmod(mode)
        with pytest.raises(refusal, match="may be written by others") as refused:
            read(path)  # type: ignore[operator]
        assert "chmod go-w" in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_configuration_of_another_user_is_refused(tmp_path: Path) -> None:
    for text, read, refusal in (
        (AGENT, read_config, ConfigError),
        (GRANTS, read_grants, ConfigError),
        (CONTROLLER, read_controller_config, ControllerConfigError),
    ):
        path = tmp_path / "file.toml"
        path.write_text(text)
        path.chmod(0o644)
        os.chown(path, 65534, 65534)
        with pytest.raises(refusal, match="may be written by others"):
            read(path)  # type: ignore[operator]


def test_programs_are_named_by_absolute_paths_only(tmp_path: Path) -> None:
    path = tmp_path / "grants.toml"
    for program in ("named", "./named", "../named", "bin/named", ""):
        path.write_text(f'[programs]\nnamed = "{program}"\n')
        path.chmod(0o644)
        with pytest.raises(ConfigError, match="absolute path"):
            read_grants(path)
