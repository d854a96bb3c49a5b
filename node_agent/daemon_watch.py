"""The daemon of one lane: brought to answer before anything is worked, and looked at ever after."""

import logging
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.engine import Engine
from node_agent.logs import event

WATCH_EVERY = 5.0
"""Seconds between two looks at the daemon."""


class DaemonWatch:
    """Watches the daemon that ``engine`` speaks to, unless ``looking`` is false.

    ``resting`` tells that it must not be looked at now, ``wake`` has the lane work what was found.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        clock: IReactorTime,
        *,
        looking: bool,
        resting: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._name = name
        self._engine = engine
        self._clock = clock
        self._looking = looking
        self._resting = resting
        self._wake = wake
        self._restart = False
        self._call: IDelayedCall | None = None
        self.suspect = True
        """Whether it has to be made well before anything is worked: after a start, a failure."""
        self.serves = False
        """Whether it serves all the same: the lane is blocked, and the daemon looked at as ever."""

    # --- life ---

    def start(self) -> None:
        """Look at the daemon from time to time."""
        if self._looking:
            self._call = self._clock.callLater(
                WATCH_EVERY, lambda: Deferred.fromCoroutine(self._look())
            )

    def stop(self) -> None:
        """Look no more. The daemon runs on."""
        self._looking = False
        if self._call is not None and self._call.active():
            self._call.cancel()

    # --- seeing to it ---

    async def running(self) -> bool:
        """Tell whether the daemon lives."""
        try:
            return self._engine.has_server and await self._engine.box.running()
        except BoxUnavailableError:
            return False

    def restart(self) -> None:
        """Have the daemon stopped and started when it is made well next."""
        self._restart = self.suspect = True

    async def stop_daemon(self) -> None:
        """Stop the daemon; raises `BoxUnavailableError` where it does not."""
        try:
            await self._engine.box.stop()
        except EffectFailedError as failed:
            raise BoxUnavailableError(f"the daemon does not stop: {failed}") from failed

    async def make_well(self) -> None:
        """After a start or a failure: end what was begun, and see the daemon answer."""
        taken_back = await self._engine.recover()
        if taken_back:
            event("recovered", lane=self._name, taken_back=len(taken_back))
        if self._engine.has_server:
            restart, self._restart = self._restart, False
            if restart:
                event("restarting", lane=self._name)
                await self.stop_daemon()
            if not await self._engine.box.running():
                event("starting", lane=self._name)
                await self._engine.start()
            await self._engine.baseline()
        self.suspect = False

    async def _look(self) -> None:
        """See that the daemon lives and answers: one that hangs has a process all the same."""
        trusted = self.serves or not self.suspect
        resting = self._resting() or not trusted or not self._engine.has_server
        try:
            if not resting:
                if not await self._engine.box.running():
                    raise BoxUnavailableError("it does not run")
                await self._engine.baseline()
        except BoxUnavailableError as unavailable:
            event("daemon-gone", level=logging.WARNING, lane=self._name, why=unavailable)
            self.suspect, self.serves = True, False
            self._wake()
        finally:
            self.start()
