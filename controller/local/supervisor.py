"""The supervisor of a cluster on one machine: starts its processes, tends them, stops them all.

It stands where an init system stands in production: the controller and the agents are its children
and are started again when they die. The daemons (named, apache2) are started by their agents, keep
serving when an agent dies, and are ended here when the cluster goes down.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import attrs
import msgspec
import psycopg2

from controller.local import places, processes
from controller.local.layout import ClusterPlan, Layout
from controller.storage.binaries import BinariesError
from controller.storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

Say = Callable[[str], None]

_READY_SECONDS = 60.0
_LOOK_SECONDS = 1.0


class AlreadyRunningError(Exception):
    """A supervisor already runs on this directory; ``args[0]`` is its process id as text."""


class StartError(Exception):
    """A part of the cluster did not start; ``words`` are the last lines that it wrote."""

    def __init__(self, what: str, words: str = "") -> None:
        super().__init__(what)
        self.words = words


class StoppedError(Exception):
    """Whoever started the cluster wants it stopped before it is up."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock of a cluster: a process, and whether the cluster is up."""

    process: processes.Identity | None = None
    ready: bool = False

    @property
    def pid(self) -> int | None:
        """The supervisor's process id; None in the moment before it is written."""
        return None if self.process is None else self.process.pid


class Lock:
    """The supervisor's lock: held while it lives, released by the kernel however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> "Lock":
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        # Whoever only looks whether somebody holds it does so for an instant.
        deadline = time.monotonic() + _LOOK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(descriptor)
                if holder.process is not None or time.monotonic() > deadline:
                    os.close(descriptor)
                    raise AlreadyRunningError(str(holder.pid or "")) from None
                time.sleep(0.02)
        self._descriptor = descriptor
        self._tell(Holder(processes.identity(os.getpid())))
        return self

    def ready(self) -> None:
        """Tell others that the cluster is up."""
        self._tell(Holder(processes.identity(os.getpid()), ready=True))

    def _tell(self, holder: Holder | None) -> None:
        if self._descriptor is not None:
            text = b"" if holder is None else msgspec.json.encode(holder)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            self._tell(None)
            os.close(self._descriptor)
            self._descriptor = None


def running(layout: Layout) -> Holder | None:
    """Tell who runs this cluster, if somebody does. Nothing is written or made."""
    try:
        descriptor = os.open(layout.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> Holder:
    """Read who holds the lock. What a killed holder left in the file is not believed."""
    try:
        holder = msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder)
    except msgspec.DecodeError:
        return Holder()
    alive = holder.process is not None and holder.process.process() is not None
    return holder if alive else Holder()


@attrs.define
class Supervisor:
    """The processes of one cluster. ``say`` is told each step in a line."""

    layout: Layout
    plan: ClusterPlan
    say: Say
    stopping: Callable[[], bool] = lambda: False
    postgres: EmbeddedPostgres = attrs.field(init=False)
    children: list[processes.Child] = attrs.field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.postgres = EmbeddedPostgres(self.layout.postgres, say=self.say)

    def start_database(self) -> str:
        """Start PostgreSQL; give the owner's connection string."""
        return self.postgres.start()

    def start(self, name: str, module: str, *arguments: str) -> processes.Child:
        """Start one Python program of ours, which writes its own log, as a child."""
        self.layout.logs.mkdir(exist_ok=True, mode=0o755)
        child = processes.Child(
            name,
            [sys.executable, "-I", "-m", module, *arguments],
            self.layout.log_of(name),
            self.layout.logs / f"{name}.out",
            processes.own_environment(),
        )
        child.start()
        self.children.append(child)
        self._remember()
        return child

    def wait_until(self, ready: Callable[[], bool], child: processes.Child, what: str) -> None:
        """Wait for ``ready``; raises `StartError` when ``child`` dies or nothing happens."""
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            self.check_wanted()
            if child.died() or time.monotonic() > deadline:
                raise StartError(f"{what} did not start", child.last_words())
            time.sleep(0.05)

    def check_wanted(self) -> None:
        """Raise `StoppedError` when the cluster shall not come up after all."""
        if self.stopping():
            raise StoppedError

    def tend(self) -> None:
        """Restart what died. Called several times a second; what does not start now is tried again.

        Whoever ends here leaves a cluster that nobody looks after.
        """
        if self.postgres.pid is None:
            self.say("PostgreSQL is down: starting it again")
            try:
                self.postgres.start()
            except (EmbeddedPostgresError, BinariesError, OSError, psycopg2.Error) as error:
                # Killed again while it started, its former processes not gone yet, no room.
                self.say(f"PostgreSQL does not start yet: {error}")
        for child in self.children:
            try:
                if child.tend():
                    self.say(f"{child.name} had ended: started again")
                    self._remember()
            except OSError as error:
                self.say(f"{child.name} does not start yet: {error}")

    def stop(self) -> None:
        """End everything: agents and controller, the daemons on the boxes, the database."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()
        end_leftovers(self.layout)
        self.postgres.stop()
        places.release_loopback(self.plan.loopback, places.label(self.layout.root))

    def _remember(self) -> None:
        known = [running for child in self.children if (running := child.identity) is not None]
        candidate = self.layout.processes.with_suffix(".candidate")
        candidate.write_bytes(msgspec.json.encode(known))
        candidate.replace(self.layout.processes)


def started_by(layout: Layout) -> list[processes.Identity]:
    """Give the processes that the last supervisor started and did not end itself."""
    try:
        return msgspec.json.decode(layout.processes.read_bytes(), type=list[processes.Identity])
    except (FileNotFoundError, msgspec.DecodeError):
        return []


def still_running(layout: Layout) -> list[str]:
    """Name what of a cluster runs, for when its supervisor does not."""
    names = [each.name for each in started_by(layout) if each.process() is not None]
    if EmbeddedPostgres(layout.postgres).pid is not None:
        names.insert(0, "postgres")
    return names


def end_leftovers(layout: Layout) -> None:
    """End what a supervisor that was killed left running, and the daemons of the boxes."""
    processes.end(started_by(layout))
    processes.end(processes.daemons_below(layout.boxes))
    layout.processes.unlink(missing_ok=True)
