"""A controller alone, with a database of its own: for parts that need no real boxes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import psutil

from controller.storage.embedded import DATABASE, EmbeddedPostgres
from tests.free_ports import free_port

_PROGRAM = (sys.executable, "-m", "controller.main")
_POLL = 0.05


@attrs.define
class Controller:
    """A controller that may be started, and ended in any way, again and again."""

    folder: Path
    database_url: str
    password: str
    """Of the operator ``admin``."""
    agents: int
    """The port of the agents' door."""
    _running: "subprocess.Popen[bytes] | None" = None

    @property
    def ca(self) -> Path:
        """The certificate that its doors are checked with."""
        return self.pki / "ca.pem"

    @property
    def pki(self) -> Path:
        """The directory of the cluster's authority."""
        return self.folder / "state" / "pki"

    def token(self) -> str:
        """Draw a token of the operator ``admin``."""
        return _hs_controller("admin", self._config, "token", "admin").strip()

    def start(self) -> str:
        """Run it until it serves; give the URL of its API and panel."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        self._running = subprocess.Popen(
            [*_PROGRAM, "run", "--config", str(self._config), "--ready-file", str(ready)],
            stderr=subprocess.DEVNULL,
        )
        while not ready.exists():
            if self._running.poll() is not None:
                raise RuntimeError((self.folder / "controller.log").read_text()[-2000:])
            time.sleep(_POLL)
        return ready.read_text().strip()

    def process(self) -> psutil.Process:
        """Give the process that serves."""
        assert self._running is not None
        return psutil.Process(self._running.pid)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it runs."""
        if self._running is not None:
            self._running.send_signal(how)
            self._running.wait()
            self._running = None

    @property
    def _config(self) -> Path:
        return _config(self.folder)


@contextmanager
def controller(folder: Path, service_domain: str) -> Iterator[Controller]:
    """Set a controller up in ``folder``, with a database that outlives it; end both at last."""
    port, state = free_port(), folder / "state"
    _config(folder).write_text(
        f'state = "{state}"\nservice_domain = "{service_domain}"\npublic_name = "127.0.0.1"\n'
        f'panel = "127.0.0.1:0"\nagents = "127.0.0.1:{port}"\nenrolment = "127.0.0.1:0"\n'
        f'log = "{folder / "controller.log"}"\n'
    )
    state.mkdir(mode=0o711)
    server = EmbeddedPostgres(state)
    server.start()
    try:
        password = _hs_controller("init", _config(folder)).split("password ")[1].strip()
        made = Controller(folder, server.url_of("postgres", DATABASE), password, port)
        try:
            yield made
        finally:
            made.end()
    finally:
        server.stop()


def _config(folder: Path) -> Path:
    return folder / "controller.toml"


def _hs_controller(verb: str, config: Path, *arguments: str) -> str:
    words = (*_PROGRAM, verb, *arguments[:1], "--config", str(config), *arguments[1:])
    finished = subprocess.run(words, check=True, capture_output=True, text=True)
    return finished.stdout
