"""Services of the box: state, start and stop, last log lines (R251).

What may be touched is closed: the daemons of the box's own lanes, and the units that the box's
owner has named in ``[services]``. Whatever a controller says, no other name means anything.
"""

from collections.abc import Iterable

import attrs

from node_agent.concurrency import Blocking
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.journal import Journal
from node_agent.lanes import Lane
from node_agent.logs import event
from node_agent.stopped import StoppedLanes
from node_agent.systemd_units import SystemdUnits
from node_agent.wire.questions import (
    LONGEST_TEXT,
    MOST_LINES,
    MOST_LOG_BYTES,
    MOST_SERVICES,
    ActionDone,
    AskAction,
    AskLog,
    LogLines,
    ServiceAction,
    ServiceFacts,
    Services,
    ServiceState,
)

STOPPED = "stopped by request: changes wait until it is started"
HELD = "it is held on the box: hs-agent release lets it go on"


class NotGrantedError(Exception):
    """The box's owner has not named the service; ``args[0]`` says what would."""


@attrs.frozen(eq=False)
class ServiceDesk:
    """Answers for the services of one box."""

    units: SystemdUnits
    journal: Journal
    blocking: Blocking
    stopped: StoppedLanes
    log_files: "dict[str, str]"
    """Service type -> its daemon's log below the lane's directory."""

    async def services(self, lanes: Iterable[Lane], seconds: float) -> Services:
        """Tell of every service: those of lanes first."""
        facts = [await self._lane_facts(lane) for lane in lanes]
        facts.sort(key=lambda one: one.name)
        try:
            facts += await self.units.facts(seconds)
        except (BoxUnavailableError, EffectFailedError) as error:
            facts += [
                ServiceFacts(
                    name=name,
                    kind="system",
                    state="unknown",
                    boots="unknown",
                    detail=str(error)[:LONGEST_TEXT],
                )
                for name in self.units.granted
            ]
        return Services(services=tuple(facts[:MOST_SERVICES]))

    async def act(self, lanes: Iterable[Lane], ask: AskAction, seconds: float) -> ActionDone:
        """Do something to a service and tell how it stands since.

        Raises `NotGrantedError`, `EffectFailedError` and `BoxUnavailableError`.
        """
        lane = _named(lanes, ask.service)
        event("service", service=ask.service, action=ask.action)
        if lane is not None:
            await self._act_on_lane(lane, ask.action)
            return ActionDone(service=await self._lane_facts(lane))
        self._see_granted(ask.service)
        await self.units.act(ask.service, ask.action, seconds)
        facts = await self.units.facts(seconds)
        return ActionDone(service=next(one for one in facts if one.name == ask.service))

    async def log(self, lanes: Iterable[Lane], ask: AskLog, seconds: float) -> LogLines:
        """Give the last lines of a service's log. Raises as `act` does."""
        count = min(max(ask.lines, 1), MOST_LINES)
        lane = _named(lanes, ask.service)
        if lane is None:
            self._see_granted(ask.service)
            return lines_of(await self.units.log(ask.service, count, seconds), count)
        path = self.log_files.get(lane.service_type, "")
        if not path:
            raise EffectFailedError(f"a {lane.service_type} has no log file here")
        content = await self.blocking(lambda: lane.box.files.tail(path, MOST_LOG_BYTES))
        text = content.decode("utf-8", errors="replace")
        if len(content) == MOST_LOG_BYTES:
            text = text.partition("\n")[2]  # the first line may have lost its beginning
        return lines_of(text, count)

    def released(self, lane: str) -> None:
        """Note that somebody let a lane go on: it is stopped by request no more. Blocks."""
        self.stopped.discard(lane)

    async def _act_on_lane(self, lane: Lane, action: ServiceAction) -> None:
        if action in ("enable", "disable"):
            raise EffectFailedError(
                "a logical server is started by its agent whenever it is served"
            )
        by_request = lane.held and lane.id in self.stopped
        if lane.held and not by_request:
            raise EffectFailedError(HELD)
        if not (lane.has_server or by_request):
            raise EffectFailedError("it has no configuration yet")
        if action == "stop":
            await self._stop(lane)
        elif by_request:
            await self._release(lane)
        elif action == "restart" or not await lane.daemon.running():
            await lane.restart_daemon()
        if action != "stop" and not await lane.daemon.running():
            raise EffectFailedError(lane.reports.message or "it does not run")

    async def _stop(self, lane: Lane) -> None:
        """Hold the lane, durably, before its daemon goes: nothing starts it again."""

        def hold() -> None:
            self.stopped.add(lane.id)
            self.journal.lanes.set_held(lane.id, True)

        await self.blocking(hold)
        lane.hold(True, STOPPED)
        await lane.stop_daemon()

    async def _release(self, lane: Lane) -> None:
        def release() -> None:
            self.journal.lanes.set_held(lane.id, False)
            self.stopped.discard(lane.id)

        await self.blocking(release)
        lane.hold(False)
        await lane.idle()

    async def _lane_facts(self, lane: Lane) -> ServiceFacts:
        by_request = lane.held and lane.id in self.stopped
        state: ServiceState = "running" if await lane.daemon.running() else "stopped"
        if not (lane.has_server or by_request):
            state = "unknown"
        actions: tuple[ServiceAction, ...] = (
            ("restart", "stop") if state == "running" else ("start",)
        )
        detail = lane.service_type
        if by_request:
            detail = f"{detail}, {STOPPED}"
        elif lane.held:
            detail, actions = f"{detail}, {HELD}", ()
        elif not lane.has_server:
            detail, actions = f"{detail}, no configuration yet", ()
        return ServiceFacts(
            name=lane.name,
            kind="lane",
            state=state,
            boots="disabled" if lane.held else "enabled",
            detail=detail,
            actions=actions,
        )

    def _see_granted(self, service: str) -> None:
        if service not in self.units.granted:
            raise NotGrantedError("this box's owner has not named it in [services] of grants.toml")


def lines_of(text: str, count: int) -> LogLines:
    """Give the last ``count`` lines, without control characters."""
    lines = text.splitlines()
    shown = tuple(
        "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in line[:2000])
        for line in lines[-count:]
    )
    return LogLines(lines=shown, cut=len(lines) > count)


def _named(lanes: Iterable[Lane], name: str) -> Lane | None:
    return next((lane for lane in lanes if lane.name == name), None)
