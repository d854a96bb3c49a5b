"""The processes of a cluster on one machine: started, restarted after a death, ended."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

_FIRST_BACKOFF = 0.5
_LAST_BACKOFF = 15.0
_STEADY = 30.0
"""A process that lived this many seconds is restarted at once again."""
_OUTPUT_BYTES = 1024 * 1024


class Identity(msgspec.Struct, frozen=True):
    """A process that cannot be mistaken for a later one with the same number.

    ``name`` is what the supervisor calls it, empty where nobody does.
    """

    pid: int
    created: float
    name: str = ""

    def process(self) -> psutil.Process | None:
        """Give the process if it is still this one and not a zombie."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 0.02
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def identity(pid: int, name: str = "") -> Identity | None:
    """Name the process that has ``pid`` now."""
    try:
        return Identity(pid, psutil.Process(pid).create_time(), name)
    except psutil.NoSuchProcess:
        return None


def end(identities: Sequence[Identity], *, patience: float = 10.0) -> None:
    """End processes: SIGTERM, then SIGKILL to those that are still there after ``patience`` s."""
    processes = [process for each in identities if (process := each.process()) is not None]
    for process in processes:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=patience)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


class Child:
    """One long-running process; `tend` restarts it with backoff when it died.

    It writes and rotates ``log`` itself. What it prints (a traceback before its log begins) goes to
    ``output``, of which a start sets aside what has grown too long.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        output: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._log = log
        self._output = output
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._backoff = _FIRST_BACKOFF
        self._due = 0.0

    @property
    def identity(self) -> Identity | None:
        """The running process, if there is one."""
        if self._process is None or self._process.poll() is not None:
            return None
        return identity(self._process.pid, self.name)

    def start(self) -> None:
        """Start the process in a session of its own: a Ctrl-C must reach the supervisor only."""
        with contextlib.suppress(FileNotFoundError):
            if self._output.stat().st_size > _OUTPUT_BYTES:
                self._output.replace(self._output.with_name(f"{self._output.name}.1"))
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=self._environment,
                start_new_session=True,
            )
        self._started = time.monotonic()

    def died(self) -> bool:
        """Whether it was started and has ended since."""
        return self._process is not None and self._process.poll() is not None

    def tend(self) -> bool:
        """Start the process again if it died and its pause is over; tells whether it did."""
        if not self.died():
            return False
        now = time.monotonic()
        if not self._due:
            if now - self._started > _STEADY:
                self._backoff = _FIRST_BACKOFF
            self._due = now + self._backoff
            self._backoff = min(self._backoff * 2, _LAST_BACKOFF)
        if now < self._due:
            return False
        self._due = 0.0
        self.start()
        return True

    def stop(self) -> None:
        """End the process and wait for it."""
        if (running := self.identity) is not None:
            end([running])
        if self._process is not None:
            self._process.wait()
            self._process = None

    def last_words(self, lines: int = 12) -> str:
        """Give the end of its log and of what it printed, for an error message."""
        found = []
        for path in (self._log, self._output):
            with contextlib.suppress(FileNotFoundError):
                found += path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(found)


def own_environment() -> dict[str, str]:
    """Give children a fixed search path and nothing of the caller's beyond language and home."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "TZ") if key in os.environ}
    return {**kept, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def daemons_below(folder: Path) -> list[Identity]:
    """Find the daemons (named, apache2) that the agents started: their command lines name files
    below ``folder``, and they are parents of the rest."""
    found = []
    prefix = str(folder) + os.sep
    for process in psutil.process_iter(["pid", "name", "cmdline", "create_time"]):
        info = process.info
        if info["name"] in ("named", "apache2") and any(
            argument.startswith(prefix) for argument in info["cmdline"] or ()
        ):
            found.append(Identity(info["pid"], info["create_time"]))
    return found
