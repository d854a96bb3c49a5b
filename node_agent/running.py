"""Putting the agent together: plain constructors, then the reactor."""

import fcntl
import gc
import logging
import os
import platform
import sqlite3
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)
from twisted.python.threadpool import ThreadPool

from node_agent.agent import Agent, Credentials, Host
from node_agent.answering import Answering
from node_agent.box.daemons import Daemons, DirectDaemons, SystemdDaemons
from node_agent.box.posix import PosixBox
from node_agent.break_glass import LOCK_FILE
from node_agent.concurrency import threaded
from node_agent.config import Config, ControllerAddress
from node_agent.connection import Dialler, dial_address
from node_agent.effects.addresses import HostAddresses
from node_agent.effects.failures import DiskFullError
from node_agent.enrolment import EnrolmentFailedError, controllers_met, enrol
from node_agent.entries import pass_by
from node_agent.grants import told
from node_agent.identity import NotEnrolledError, boot_id, life, load_identity, machine_id
from node_agent.journal import Journal
from node_agent.journal_file import JournalError
from node_agent.logs import event
from node_agent.packages import MANAGERS
from node_agent.services import ServiceDesk
from node_agent.steady import count_steadily
from node_agent.stopped import StoppedLanes
from node_agent.systemd_units import PROGRAMS, SystemdUnits
from pki.contexts import MutualTLS
from pki.enrolment import Token, TokenRefusedError
from templates.registry import SERVICE_TYPES, renderer_digest

T = TypeVar("T")

_ASKED_PROGRAMS = {**PROGRAMS, **{each.program: each.path for each in MANAGERS}}
"""What is started to answer a question, where ``[programs]`` names no other place."""


class CannotRunError(Exception):
    """The agent cannot begin; ``args[0]`` tells the operator why and what to do."""


SWITCH_SECONDS = 0.0005
"""Seconds until a thread that waits for the interpreter gets it. The reactor and the worker take
turns several times in a click; with Python's 5 ms the one waits for what the other does beside."""


def run_agent(config: Config) -> None:
    """Run until SIGTERM or SIGINT. Raises `CannotRunError`."""
    globalLogBeginner.beginLoggingTo([_observer()], redirectStandardIO=False)
    sys.setswitchinterval(SWITCH_SECONDS)
    count_steadily(_reactor)
    lock = _take_state(config.state)
    running = RunningAgent(_reactor, config)
    _reactor.callWhenRunning(running.start)
    _reactor.addSystemEventTrigger("before", "shutdown", running.stop)
    _reactor.run()
    os.close(lock)


def _observer() -> FilteringLogObserver:
    """Give the observer of Twisted's events; those that nobody will read are not even formatted."""
    told = logging.getLogger("twisted").isEnabledFor(logging.INFO)
    lowest = LogLevel.info if told else LogLevel.warn
    return FilteringLogObserver(STDLibLogObserver(), [LogLevelFilterPredicate(lowest)])


class RunningAgent:
    """The agent of one state directory in one process."""

    def __init__(self, reactor: Any, config: Config, at: Any = pass_by) -> None:
        try:
            identity = load_identity(config.state)
            tls = MutualTLS(identity.certificate, identity.key, identity.ca)
        except (NotEnrolledError, ValueError) as error:
            raise CannotRunError(str(error)) from error
        controllers = config.controllers or controllers_met(config.state)
        if not controllers:
            raise CannotRunError("the configuration names no controller")
        self._pool = ThreadPool(1, 1, "journal")
        blocking = threaded(reactor, self._pool)
        try:
            self._journal = Journal(config.journal)
        except (JournalError, DiskFullError, sqlite3.Error) as error:
            raise CannotRunError(f"the journal cannot be used: {error}") from error
        programs = {**_ASKED_PROGRAMS, **config.grants.programs}
        desk = ServiceDesk(
            units=SystemdUnits(reactor, programs, config.grants.services),
            journal=self._journal,
            blocking=blocking,
            stopped=StoppedLanes(config.state),
            log_files={name: each.daemon.log_file for name, each in SERVICE_TYPES.items()},
        )
        box = PosixBox(
            reactor=reactor,
            root=config.lanes,
            grants=config.grants,
            daemons=_daemons(reactor, config),
            addresses=_addresses(reactor, config),
        )
        self.agent = Agent(
            host=Host(machine_id(config.state), f"{boot_id()}/{life()}", told(config.grants)),
            box=box,
            journal=self._journal,
            blocking=blocking,
            aside=deferToThread,
            clock=reactor,
            time=time.time,
            service_types={
                name: each
                for name, each in SERVICE_TYPES.items()
                if config.grants.allows_type(name)
            },
            renderer=renderer_digest,
            credentials=Credentials(config.state, identity, tls.swap),
            watch_daemons=config.services == "direct",
            answering=Answering(reactor, programs, desk),
            verify_every=float(config.verify_every),
            at=at,
        )
        self._dialler = Dialler(reactor, controllers, dial_address(reactor, tls), self.agent)
        self._name = tls.name.uri

    def start(self) -> None:
        """Begin: the lanes first, the controller after them."""
        event("start", uri=self._name, python=platform.python_version(), pid=os.getpid())
        self._pool.start()

        async def begin() -> None:
            await self.agent.start()
            # What it is made of stays: the collector need not walk it again, at 20 ms a time.
            gc.collect()
            gc.freeze()
            self._dialler.start()

        Deferred.fromCoroutine(begin())

    def stop(self) -> Deferred[None]:
        """End the session and the rounds under way; the daemons run on."""

        async def end() -> None:
            event("stop")
            await self._dialler.stop()
            await self.agent.stop()
            self._pool.stop()
            self._journal.close()

        return Deferred.fromCoroutine(end())


def enrol_box(config: Config, controller: str, text: str) -> str:
    """Enrol this box and say so. Raises `CannotRunError`."""
    try:
        address = ControllerAddress.parse(controller)
        token = Token.parse(text)
    except (ValueError, TokenRefusedError) as error:
        raise CannotRunError(str(error)) from error
    lock = _take_state(config.state)
    found: list[str] = []

    async def main(reactor: Any) -> None:
        try:
            enrolled = await enrol(
                reactor,
                address.host,
                address.port,
                token=token,
                machine_id=machine_id(config.state),
                directory=config.state,
            )
            found.append(f"enrolled box {token.box_id} in cluster {enrolled.cluster}")
        except EnrolmentFailedError as error:
            found.append("")
            found.append(str(error))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit:
        # `react` ends the process; the operator is to be told first.
        if len(found) == 2:
            raise CannotRunError(found[1]) from None
    finally:
        os.close(lock)
    return found[0]


def bring_addresses_back(config: Config) -> tuple[str, ...]:
    """Bring up the addresses that a boot took down, for daemons that start before the agent.

    Gives the words of each that does not come. Raises `CannotRunError`.
    """
    lock = _take_state(config.state)
    words: list[str] = []

    async def main(reactor: Any) -> None:
        addresses = _addresses(reactor, config)
        if addresses is not None:
            words.extend(await addresses.bring_back(config.grants.allows_address))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        # `react` ends the process; the caller is to be told first.
        if ended.code:
            raise CannotRunError("the addresses could not be brought back") from None
    finally:
        os.close(lock)
    return tuple(words)


def _daemons(reactor: Any, config: Config) -> Daemons:
    if config.services == "systemd":
        return SystemdDaemons(reactor, {**PROGRAMS, **config.grants.programs})
    return DirectDaemons(reactor, config.grants.programs)


def _addresses(reactor: Any, config: Config) -> HostAddresses | None:
    """Give who brings addresses up: iproute2 on Linux, a person elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    table = {"ip": PurePosixPath("/usr/sbin/ip"), **config.grants.programs}
    return HostAddresses(
        reactor, table, config.state / "addresses.json", lambda: boot_id() or "unknown"
    )


def _take_state(state: Path) -> int:
    """Make the state directory and take its lock: one agent for each."""
    try:
        state.mkdir(mode=0o711, parents=True, exist_ok=True)
        (state / "lservers").mkdir(mode=0o755, exist_ok=True)
        handle = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotRunError(f"{state}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise CannotRunError(f"another agent works {state}") from error
    return handle
