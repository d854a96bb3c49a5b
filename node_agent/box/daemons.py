"""Daemons of a box: started, told to reload, stopped; by the agent itself or through systemd."""

import os
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import attrs
import psutil
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from node_agent.box.interface import is_lane_id
from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    NotFinishedError,
)
from node_agent.effects.programs import ProgramTable, run_program
from templates.service_type import Daemon, LaneContext

START_DEADLINE = 30.0
"""Seconds until a daemon that was started must be there."""
RELOAD_LOOK = 30.0
"""Seconds of a reload after which the daemon is asked, again and again, whether it serves on."""
RELOAD_DEADLINE = 300.0
"""Seconds until a reload must have ended. One with thousands of sites on a slow disk, or with names
to look up, takes a minute, and the daemon serves what it had meanwhile."""
STOP_DEADLINE = 30.0
LAST_LINES = 4
"""Lines of a daemon that did not start which are told."""
WORDS_DEADLINE = 5.0
"""Seconds that finding them may take: the lane does nothing else meanwhile."""
_PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05)
_PID = re.compile(rb"[1-9][0-9]{0,9}\s*", re.ASCII)


Serves = Callable[[], Awaitable[None]]
"""Sees that the daemon serves what it did; raises `EffectFailedError`, `BoxUnavailableError`."""


async def unasked() -> None:
    """Take it that the daemon serves on."""


class Daemons(Protocol):
    """How the daemons of lanes are controlled.

    Every method but `running` raises `EffectFailedError` with the daemon's own words where it
    refuses, `BoxUnavailableError` where it cannot be asked or does not come to an end.
    """

    async def running(self, context: LaneContext, daemon: Daemon) -> bool:
        """Tell whether the lane's daemon runs."""

    async def start(self, context: LaneContext, daemon: Daemon) -> None:
        """Start it and wait until it runs; one that runs already is left alone."""

    async def reload(self, context: LaneContext, daemon: Daemon, serves: Serves = unasked) -> None:
        """Have it read its configuration again and wait until that has taken effect.

        For daemons that reload by a signal; those with a control channel are asked there. Raises
        `NotFinishedError` where it has not ended in its time, or ``serves`` fails meanwhile.
        """

    async def restart(self, context: LaneContext, daemon: Daemon) -> None:
        """Stop it where it runs, then start it."""

    async def stop(self, context: LaneContext, daemon: Daemon) -> None:
        """Stop it and wait until it is gone; one that does not run is no error."""


@attrs.frozen
class _Found:
    """A process that was seen to be a lane's daemon, held so that its number cannot be reused."""

    process: psutil.Process
    descriptor: int | None

    def signal(self, number: signal.Signals) -> None:
        if self.descriptor is not None:
            signal.pidfd_send_signal(self.descriptor, number)
        else:
            self.process.send_signal(number)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


@attrs.frozen
class DirectDaemons:
    """Daemons that the agent starts itself; they daemonize themselves and survive it."""

    reactor: IReactorTime
    table: ProgramTable

    def pid(self, context: LaneContext, daemon: Daemon) -> int | None:
        """Give the process id of the lane's daemon where it runs.

        The pid file is believed only where the process of that number runs the program of the table
        and names a path of this lane in its arguments: the file may be of an earlier boot, or
        written by the daemon's user.
        """
        found = self._find(context, daemon)
        if found is None:
            return None
        found.close()
        return found.process.pid

    async def running(self, context: LaneContext, daemon: Daemon) -> bool:
        """See `Daemons.running`."""
        return self.pid(context, daemon) is not None

    async def start(self, context: LaneContext, daemon: Daemon) -> None:
        """See `Daemons.start`."""
        if await self.running(context, daemon):
            return
        # A number left from an earlier boot may be anybody's now, and daemons believe it.
        _forget_pid(context, daemon)
        await self._end_orphans(context, daemon)
        finished = await run_program(
            self.reactor,
            self.table,
            daemon.program,
            daemon.start(context),
            timeout=START_DEADLINE,
        )
        if finished.status != 0:
            raise EffectFailedError(
                f"{daemon.program} does not start (status {finished.status}): "
                f"{finished.output or 'it says nothing; see its error log'}"
            )
        begin = self.reactor.seconds()
        attempt = 0
        while not await self.running(context, daemon):
            if self.reactor.seconds() - begin > START_DEADLINE:
                raise BoxUnavailableError(f"{daemon.program} started, but does not run")
            attempt = await _pause(self.reactor, attempt)

    async def reload(self, context: LaneContext, daemon: Daemon, serves: Serves = unasked) -> None:
        """See `Daemons.reload`.

        A daemon with child processes has taken up its configuration when a new child is there.
        """
        if daemon.reload == "control":
            raise EffectFailedError(f"{daemon.program} reloads over its control channel")
        found = self._find(context, daemon)
        if found is None:
            raise BoxUnavailableError(f"{daemon.program} does not run")
        try:
            before = _children(found.process)
            found.signal(signal.Signals[daemon.reload])
            await _taken_up(self.reactor, found.process, before, daemon.program, serves)
        finally:
            found.close()

    async def restart(self, context: LaneContext, daemon: Daemon) -> None:
        """See `Daemons.restart`."""
        await self.stop(context, daemon)
        await self.start(context, daemon)

    async def stop(self, context: LaneContext, daemon: Daemon) -> None:
        """See `Daemons.stop`."""
        found = self._find(context, daemon)
        if found is None:
            return
        try:
            found.signal(signal.SIGTERM)
            begin = self.reactor.seconds()
            attempt = 0
            while _alive(found.process):
                if self.reactor.seconds() - begin > STOP_DEADLINE:
                    raise NotFinishedError(f"{daemon.program} does not stop")
                attempt = await _pause(self.reactor, attempt)
        except ProcessLookupError:
            return
        finally:
            found.close()

    async def _end_orphans(self, context: LaneContext, daemon: Daemon) -> None:
        """End what a killed daemon left: its children hold the port and serve what was."""
        orphans = [each for each in psutil.process_iter() if self._is_orphan(each, context, daemon)]
        for orphan in orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.kill()
        begin = self.reactor.seconds()
        attempt = 0
        while any(_alive(orphan) for orphan in orphans):
            if self.reactor.seconds() - begin > STOP_DEADLINE:
                raise BoxUnavailableError(f"what is left of {daemon.program} does not end")
            attempt = await _pause(self.reactor, attempt)

    def _is_orphan(self, process: psutil.Process, context: LaneContext, daemon: Daemon) -> bool:
        try:
            return self._is_lanes(process, context, daemon)
        except (psutil.Error, OSError):
            return False

    def _find(self, context: LaneContext, daemon: Daemon) -> _Found | None:
        number = _read_pid(Path(context.root, daemon.pid_file))
        if number is None:
            return None
        descriptor: int | None = None
        try:
            if hasattr(os, "pidfd_open"):
                descriptor = os.pidfd_open(number)
            process = psutil.Process(number)
            if self._is_lanes(process, context, daemon):
                found = _Found(process, descriptor)
                descriptor = None
                return found
        except (psutil.Error, OSError):
            return None
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return None

    def _is_lanes(self, process: psutil.Process, context: LaneContext, daemon: Daemon) -> bool:
        program = self.table.get(daemon.program)
        if program is None or not _alive(process):
            return False
        # After an upgrade of its package the running program is a file that was deleted.
        executable = process.exe().removesuffix(" (deleted)")
        root = str(context.root)
        return executable == os.path.realpath(program) and any(
            argument == root or argument.startswith(f"{root}/") for argument in process.cmdline()
        )


@attrs.frozen
class SystemdDaemons:
    """Daemons as instances of the package's template units; systemd keeps them running."""

    reactor: IReactorTime
    table: ProgramTable
    """Must name ``systemctl`` and ``journalctl``."""

    async def running(self, context: LaneContext, daemon: Daemon) -> bool:
        """See `Daemons.running`."""
        unit = _unit(context, daemon)
        arguments = ("is-active", "--quiet", "--", unit)
        finished = await run_program(self.reactor, self.table, "systemctl", arguments)
        return finished.status == 0

    async def start(self, context: LaneContext, daemon: Daemon) -> None:
        """See `Daemons.start`."""
        # Enabled too: after a boot it serves before the agent is there, or without it.
        await self._verb(("enable", "--now"), context, daemon)

    async def reload(self, context: LaneContext, daemon: Daemon, serves: Serves = unasked) -> None:
        """See `Daemons.reload`."""
        if daemon.reload == "control":
            raise EffectFailedError(f"{daemon.program} reloads over its control channel")
        if not await self.running(context, daemon):
            raise BoxUnavailableError(f"{daemon.program} does not run")
        process = _process(_read_pid(Path(context.root, daemon.pid_file)))
        before = frozenset() if process is None else _children(process)
        await self._verb(("reload",), context, daemon)
        if process is not None:
            await _taken_up(self.reactor, process, before, daemon.program, serves)

    async def restart(self, context: LaneContext, daemon: Daemon) -> None:
        """See `Daemons.restart`."""
        await self._verb(("restart",), context, daemon)

    async def stop(self, context: LaneContext, daemon: Daemon) -> None:
        """See `Daemons.stop`."""
        await self._verb(("disable", "--now"), context, daemon)

    async def _verb(self, verb: Sequence[str], context: LaneContext, daemon: Daemon) -> None:
        unit = _unit(context, daemon)
        arguments = (*verb, "--", unit)
        finished = await run_program(
            self.reactor, self.table, "systemctl", arguments, timeout=START_DEADLINE + STOP_DEADLINE
        )
        if finished.status != 0:
            command = f"systemctl {' '.join(arguments)}"
            refusal = f"{command}: status {finished.status}: {finished.output}"
            said = await self._last_words(unit)
            raise EffectFailedError(f"{said}\n{refusal}" if said else refusal)

    async def _last_words(self, unit: str) -> str:
        """Give what the unit's own processes said last: systemctl only refers to it."""
        arguments = (
            f"_SYSTEMD_UNIT={unit}",
            *("--since", f"-{START_DEADLINE:.0f}s", "--lines", str(LAST_LINES)),
            *("--output", "cat", "--no-pager", "--quiet"),
        )
        try:
            finished = await run_program(
                self.reactor, self.table, "journalctl", arguments, timeout=WORDS_DEADLINE
            )
        except BoxUnavailableError:
            return ""
        return finished.output if finished.status == 0 else ""


async def _taken_up(
    reactor: IReactorTime,
    process: psutil.Process,
    before: frozenset[int],
    program: str,
    serves: Serves,
) -> None:
    """Wait until a daemon that had children ``before`` its reload has a new one."""
    begin = looked = reactor.seconds()
    attempt = 0
    while before and not _children(process) - before:
        if not _alive(process):
            raise EffectFailedError(
                f"{program} ended when it was told to reload; see its error log"
            )
        now = reactor.seconds()
        if now - begin > RELOAD_DEADLINE:
            raise NotFinishedError(f"{program} does not finish its reload")
        if now - looked > RELOAD_LOOK:
            try:
                await serves()
            except (EffectFailedError, BoxUnavailableError) as silent:
                raise NotFinishedError(
                    f"{program} does not finish its reload, and does not serve: {silent}"
                ) from silent
            looked = now
        attempt = await _pause(reactor, attempt)


async def _pause(reactor: IReactorTime, attempt: int) -> int:
    await deferLater(reactor, _PAUSES[min(attempt, len(_PAUSES) - 1)])
    return attempt + 1


def _process(number: int | None) -> psutil.Process | None:
    try:
        return None if number is None else psutil.Process(number)
    except psutil.NoSuchProcess:
        return None


def _unit(context: LaneContext, daemon: Daemon) -> str:
    if not is_lane_id(context.lane):
        raise EffectFailedError(f"lane {context.lane!a} cannot name a systemd unit")
    return f"heliosphere-{daemon.program}@{context.lane}.service"


def _forget_pid(context: LaneContext, daemon: Daemon) -> None:
    Path(context.root, daemon.pid_file).unlink(missing_ok=True)


def _read_pid(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        content = os.read(descriptor, 32)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(content) if _PID.fullmatch(content) else None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _children(process: psutil.Process) -> frozenset[int]:
    try:
        return frozenset(child.pid for child in process.children())
    except psutil.NoSuchProcess:
        return frozenset()
