"""S10: there is no shell, so no value is ever read by one; and no value comes into a command line.

Cases: CWP CVE-2022-44877, CVE-2025-48703; Hestia CVE-2022-1509, CVE-2025-30007 (a quote in a DNS
record), GHSA-47mf (a queue file run as shell); Vesta CVE-2021-46850; Salt CVE-2020-16846; Webmin
CVE-2019-15107.

Canaries go through every text of every command. What comes of them in the model is planned, written
and checked as a box does it, with the real checkers. Nothing but those is started, with exactly the
arguments that were planned, and no canary has left its file.
"""

import ast
import os
import shlex
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor

from controller.bootstrap.job import SshJob
from controller.bootstrap.procedure import Ended, Preparation, prepare_box
from controller.commands import Command
from controller.refusal import CommandError
from controller.storage.database import Transaction
from node_agent.effects.files import PosixFiles
from node_agent.effects.programs import ENVIRONMENT, run_program
from templates.effects import CheckProgram, WriteFile
from templates.objects import ObjectId, decode_spec
from templates.registry import SERVICE_TYPES
from templates.service_type import SERVER_ID, LaneContext, PlanRefusedError, ServiceType, Unit
from tests.integration.model import OPERATOR, Model

TREE = Path(__file__).parents[2]

# --- the source: where programs are started, and how ---

STARTS = {
    "node_agent/effects/programs.py": "the box's closed table, see S12",
    "controller/storage/backup.py": "pg_dump and pg_restore",
    "controller/storage/binaries.py": "postgres --version",
    "controller/storage/embedded.py": "initdb, postgres",
    "controller/storage/system_account.py": "useradd",
    "controller/hsctl/support.py": "hs-agent status",
    "controller/hsctl/local.py": "hsctl itself",
    "controller/local/cluster.py": "hs-controller",
    "controller/local/provision.py": "hs-agent enrol",
    "controller/local/processes.py": "hs-controller, hs-agent",
    "controller/local/places.py": "ip address",
}
_STARTING = {
    *("spawnProcess", "Popen", "check_output", "check_call", "posix_spawn", "fork", "execv"),
    *("execve", "spawnv", "getProcessOutput", "getProcessValue", "create_subprocess_exec"),
}
SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "/bin/sh", "/bin/bash", "/usr/bin/env", "-c"}
KNOWS_SHELLS = {
    "controller/hsctl/completion.py": "words for the user's own shell, printed",
    "controller/storage/embedded.py": "-c is postgres's option for a setting",
    "templates/bind/service.py": "-c is named's option for its configuration",
}


def starts(tree: ast.AST) -> list[ast.Call]:
    """Give the calls that start a program."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func).rpartition(".")[2] in _STARTING
            or ast.unparse(node.func) in ("subprocess.run", "subprocess.call")
        )
    ]


def sources() -> Iterator[tuple[str, ast.AST]]:
    for folder in ("controller", "node_agent", "pki", "templates"):
        for path in sorted((TREE / folder).rglob("*.py")):
            yield str(path.relative_to(TREE)), ast.parse(path.read_text(encoding="utf-8"))


def test_programs_are_started_where_we_know_and_by_lists() -> None:
    found = {name: starts(tree) for name, tree in sources()}
    assert {name for name, calls in found.items() if calls} == STARTS.keys()
    for name, calls in found.items():
        for call in calls:
            # A text as first argument would be a command line; here it is a list, or a name of one.
            assert not isinstance(call.args[0], ast.Constant | ast.JoinedStr), (name, call.lineno)
            assert not any(word.arg in ("shell", "executable") for word in call.keywords), name


def test_no_shell_is_named_in_the_source() -> None:
    for name, tree in sources():
        if name in KNOWS_SHELLS:
            continue
        words = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & SHELLS, name


# --- canaries ---


class Canaries:
    """Values that leave a file where any shell reads them, whatever quotes are around them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o777)
        self._number = 0

    def values(self) -> list[str]:
        self._number += 1
        file = self.folder / str(self._number)
        return [
            f"$(touch {file})",
            f"`touch {file}`",
            f"'; touch {file} #",
            f'"; touch {file} #',
            f"x\ntouch {file}\n",
            f"x; touch {file};",
            f"x | touch {file}",
            f"x & touch {file} &",
            f"${{IFS}}$(touch${{IFS}}{file})",
            f"x > {file}",
        ]

    def left(self) -> list[str]:
        return os.listdir(self.folder)

    def is_in(self, words: Any) -> bool:
        return str(self.folder) in str(words)


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    return Canaries(tmp_path / "canaries")


def test_a_canary_sings_where_a_shell_reads_it(canaries: Canaries) -> None:
    for value in canaries.values():
        for line in (f"true {value}", f"true '{value}'", f'true "{value}"'):
            subprocess.run(["/bin/sh", "-c", line], check=False, capture_output=True)
        assert canaries.left(), value
        for name in canaries.left():
            (canaries.folder / name).unlink()


def planted(hint: Any, value: str) -> Iterator[Any]:
    """Give values of a field's type that hold a text, wherever the type has room."""
    parts = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if hint in (str, Any):
        yield value
    elif origin is dict or hint is dict:
        yield from ({value: "x"}, {"server_admin": value}, {"x": {"y": [value]}})
    elif origin in (tuple, list):
        yield from ((inner,) for inner in planted(parts[0], value))
    elif origin in (typing.Union, types.UnionType):
        for part in parts:
            yield from planted(part, value)


def usual(hint: Any) -> Any:
    for kind in (str, bool, int):
        if hint is kind:
            return kind()
    return {} if typing.get_origin(hint) is dict else ()


BASES: dict[str, list[dict[str, Any]]] = {
    "pserver.add": [{"name": "box9", "ip": "198.51.100.9", "mask": "24", "groups": ("web",)}],
    "pserver.edit": [{"name": "web1"}],
    "lserver.add": [
        {"name": "w9.example.net", "group": "web", "type": "apache", "pserver": "web1"},
        {"name": "n9.example.net", "group": "dns", "type": "bind", "pserver": "ns1"},
    ],
    "lserver.set": [
        {"name": "web1.example.net", "settings": {}},
        {"name": "ns1.example.net", "settings": {}},
    ],
    "lserver.edit": [{"name": "web1.example.net", "description": "x"}],
    "record.add": [
        {"domain": "shop.test", "name": "t", "type": "TXT", "values": ("x",)},
        {"domain": "shop.test", "name": "t", "type": "CAA", "values": ("0 issue ca.test",)},
        {"domain": "shop.test", "name": "t", "type": "HINFO", "values": ("a b",)},
    ],
    "record.set": [{"domain": "shop.test", "name": "u", "type": "TXT", "values": ("x",)}],
    "domain.import": [{"name": "shop.test", "text": "v TXT x\n"}],
    "site.set": [{"name": "shop.test"}],
    "account.add": [{"name": "acme2"}],
    "domain.add": [{"name": "two.test", "account": "acme"}],
    "fault.retry": [{"lserver": "web1.example.net", "kind": "", "key": ""}],
    "pserver.service": [{"name": "web1", "service": "x", "action": "restart"}],
    "pserver.log": [{"name": "web1", "service": "x", "lines": 5}],
    "pserver.packages": [{"name": "web1"}],
}
"""Requests that are good but for the field that holds a canary; others are as empty as can be."""
TEXTS = {"text": 'v{n} 60 IN TXT "{value}"\n'}
"""How a canary stands in a field that is a small language."""


def requests(command: Command[Any], canaries: Canaries) -> Iterator[tuple[str, Any]]:
    """Give requests with a canary in each text of the command."""
    hints = typing.get_type_hints(command.request)
    fields = attrs.fields_dict(command.request)
    needed = {
        name: usual(hints[name]) for name, field in fields.items() if field.default is attrs.NOTHING
    }
    for base in BASES.get(command.name, [{}]):
        for name in fields:
            for number, canary in enumerate(canaries.values()):
                value = TEXTS.get(name, "{value}").format(n=number, value=canary)
                for given in planted(hints[name], value):
                    yield name, command.request(**{**needed, **base, name: given})


class Started:
    """Every program that this process starts, as the interpreter itself tells it."""

    def __init__(self) -> None:
        self.programs: list[Any] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple[Any, ...]) -> None:
        if self.on and event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
            self.programs.append(details)


STARTED = Started()


@pytest.fixture
def started() -> Iterator[Started]:
    STARTED.programs.clear()
    STARTED.on = True
    yield STARTED
    STARTED.on = False


@pytest_twisted.ensureDeferred
async def test_no_canary_is_run_whatever_field_it_stands_in(
    model: Model, canaries: Canaries, started: Started, tmp_path: Path
) -> None:
    await model.shop()
    taken: dict[tuple[str, str], int] = {}
    tried = 0
    for command in model.registry:
        for field, request in requests(command, canaries):
            tried += 1
            try:
                await model.runner.run(OPERATOR, command.name, request)
            except CommandError:
                continue
            key = (command.name, field)
            taken[key] = taken.get(key, 0) + 1
    assert tried > 1000
    # The canaries are in the model, not only at its door.
    assert {
        ("record.add", "values"),
        ("domain.import", "text"),
        ("lserver.edit", "description"),
    } <= (taken.keys())
    assert started.programs == []
    assert canaries.left() == []
    checked = 0
    for server in ("ns1", "ns2", "web1"):
        checked += await applied(model, f"{server}.example.net", canaries, tmp_path / server)
    assert checked >= 3
    assert started.programs == []
    assert canaries.left() == []


CHECKERS = {"named-checkconf": "/usr/bin/named-checkconf", "apache2": "/usr/sbin/apache2"}


async def applied(model: Model, server: str, canaries: Canaries, folder: Path) -> int:
    """Plan, write and check what a logical server must serve; give how many checks were run."""
    service_type, units = await objects(model, server)
    spec = units["server"][SERVER_ID]
    context = LaneContext(
        "l1",
        spec,
        PurePosixPath(folder),
        daemon_user="www-data",
        modules=PurePosixPath("/usr/lib/apache2/modules"),
        control_secret="YSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaCEhISE=",
    )
    files = PosixFiles(folder)
    checks: list[CheckProgram] = []
    for name, members in units.items():
        try:
            plan = service_type.plan(context, Unit(name, {}), Unit(name, members))
        except PlanRefusedError:
            continue
        files.scratch(tuple(it for it in plan.scratch if isinstance(it, WriteFile)))
        writes = tuple(it for it in plan.files if isinstance(it, WriteFile))
        files.stage(writes)
        checks += [check for check in plan.checks if isinstance(check, CheckProgram)]
        for effect in plan.files:
            if effect not in writes or not plan.checks:
                files.commit((effect,))
    for check in checks:
        spy = Spy()
        path = PurePosixPath(CHECKERS[check.program])
        await run_program(spy, {check.program: path}, check.program, check.arguments)  # type: ignore[arg-type]
        assert spy.started == [(str(path), [str(path), *check.arguments], ENVIRONMENT, "/")]
        assert not canaries.is_in(check.arguments)
    assert not canaries.is_in(service_type.daemon.start(context))
    files.close()
    return len(checks)


async def objects(model: Model, server: str) -> tuple[ServiceType, dict[str, dict[ObjectId, Any]]]:
    """Give the objects of a logical server by their units, secrets in clear, as a box gets them."""

    async def read(tx: Transaction) -> list[tuple[Any, ...]]:
        rows = await tx.rows(
            """SELECT s.service_type, o.kind, o.key, o.kind_version, o.spec, o.secrets
               FROM desired_object o JOIN logical_server s ON s.id = o.logical_server_id
               WHERE s.name = %s AND NOT o.deleted""",
            (server,),
        )
        return [
            (*row[:4], await model.secrets.inline(tx, bytes(row[4]), row[5] or ())) for row in rows
        ]

    rows = await model.database.transaction(OPERATOR, read, name="test")
    service_type = SERVICE_TYPES[rows[0][0]]
    units: dict[str, dict[ObjectId, Any]] = {}
    for _, kind, key, version, data in rows:
        known = service_type.kinds[kind]
        spec = decode_spec(known, version, data)
        units.setdefault(known.unit(key, spec), {})[ObjectId(kind, key)] = spec
    return service_type, units


class Spy:
    """The reactor; what it starts is noted."""

    def __init__(self) -> None:
        self.started: list[tuple[Any, ...]] = []

    def spawnProcess(self, protocol: Any, executable: str, args: Any, env: Any, path: str) -> Any:
        self.started.append((executable, list(args), env, path))
        return reactor.spawnProcess(protocol, executable, args, env, path)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


# --- the one shell that is not ours: that of a box which is enrolled over SSH ---


class Here:
    """A box's shell, run on this machine as sshd runs it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(self, command: str, *, given: str = "", seconds: float) -> Ended:
        done = subprocess.run(  # noqa: ASYNC221 nothing else runs meanwhile
            ["/bin/sh", "-c", command],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env={"PATH": f"{self._folder}:/usr/bin:/bin"},
            cwd=self._folder,
        )
        if command.startswith("id -u"):
            return Ended(0, "0\nLinux\nprogram\nnew\n")
        return Ended(done.returncode, done.stdout + done.stderr)


@pytest_twisted.ensureDeferred
async def test_no_canary_is_run_by_the_shell_of_a_box(canaries: Canaries, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    noted = box / "noted"
    agent = box / "hs-agent"
    agent.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >>{shlex.quote(str(noted))}\ncat\n')
    agent.chmod(0o755)
    for value in canaries.values():
        noted.unlink(missing_ok=True)
        preparation = Preparation(certificate=value, stop="true", start="true")
        job = SshJob(
            1, "b", value, f"root@{value}", value, 22, value, True, "true", value, value, value
        )

        async def tell(step: Any) -> None:
            assert step.step

        await prepare_box(Here(box), job, preparation, tell)
        assert noted.read_text().split("\0") == ["enrol", "--controller", value, "-", ""]
    assert canaries.left() == []
