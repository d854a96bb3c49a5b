"""A controller as its own process, with a directory and a database of its own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from controller.storage.embedded import EmbeddedPostgres
from controller.storage.roles import OWNER_ROLE
from tests.conftest import _administer
from tests.free_ports import free_port
from tests.scratch import scratch

TREE = Path(__file__).parents[1]
_SECONDS = 60


@attrs.define
class Host:
    """A directory with a controller's configuration, and the programs to run on it."""

    directory: Path
    port: int
    agents: int = 0
    database: str = ""
    controller: "subprocess.Popen[str] | None" = None

    def call(self, module: str, *arguments: str, stdin: str = "") -> Any:
        environment = {**os.environ, "HSCTL_CONFIG": str(self.directory / "hsctl.toml")}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            cwd=TREE,
            env=environment,
        )

    def host(self, *arguments: str, stdin: str = "") -> Any:
        config = ("--config", str(self.directory / "controller.toml"))
        return self.call("controller.main", *arguments, *config, stdin=stdin)

    def hsctl(self, *arguments: str, stdin: str = "") -> Any:
        return self.call("controller.hsctl.main", *arguments, stdin=stdin)

    def start(
        self, module: str = "controller.main", environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the controller (or what stands for it) and wait until it serves."""
        config = str(self.directory / "controller.toml")
        self.controller = subprocess.Popen(
            [sys.executable, "-m", module, "run", "--config", config],
            stderr=subprocess.PIPE,
            text=True,
            cwd=TREE,
            env={**os.environ, **(environment or {})},
        )
        assert self.controller.stderr is not None
        words = []
        for line in self.controller.stderr:
            words.append(line)
            if line.startswith("hs-controller: ready "):
                return
        raise AssertionError("".join(words))

    def end(self, how: signal.Signals) -> int:
        assert self.controller is not None
        self.controller.send_signal(how)
        code = self.controller.wait(_SECONDS)
        assert self.controller.stderr is not None
        self.controller.stderr.close()
        self.controller = None
        return code


@contextmanager
def controller_host(postgres: EmbeddedPostgres, *settings: str) -> Iterator[Host]:
    """A host of its own, with a database of the test's server; further lines of configuration."""
    name = f"controller_{os.getpid()}"
    _administer(postgres, f"CREATE DATABASE {name} OWNER {OWNER_ROLE}")
    directory = scratch("hs-")
    try:
        url = postgres.url_of(OWNER_ROLE, name)
        here = Host(directory, free_port(), free_port(), url)
        (directory / "controller.toml").write_text(
            f'state = "state"\ndatabase = "{url}"\n'
            f'panel = "127.0.0.1:{here.port}"\nagents = "127.0.0.1:{here.agents}"\n'
            f'enrolment = "127.0.0.1:{free_port()}"\npublic_name = "localhost"\n'
            'log = "logs/controller.log"\n' + "".join(f"{line}\n" for line in settings)
        )
        (directory / "controller.toml").chmod(0o644)
        try:
            yield here
        finally:
            if here.controller is not None:
                here.end(signal.SIGKILL)
            _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
