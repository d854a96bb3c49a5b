"""The services that a box's owner has named in ``[services]`` of grants.toml, through systemd."""

from collections.abc import Mapping
from pathlib import PurePosixPath

import attrs
from twisted.internet.interfaces import IReactorTime

from node_agent.effects.failures import EffectFailedError
from node_agent.effects.programs import Finished, ProgramTable, run_program
from node_agent.wire.questions import (
    LONGEST_TEXT,
    MOST_LOG_BYTES,
    ServiceAction,
    ServiceFacts,
    ServiceState,
)

PROGRAMS = {
    "systemctl": PurePosixPath("/usr/bin/systemctl"),
    "journalctl": PurePosixPath("/usr/bin/journalctl"),
}

_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState")
_STATES: Mapping[str, ServiceState] = {
    "active": "running",
    "reloading": "running",
    "refreshing": "running",
    "activating": "running",
    "failed": "failed",
    "inactive": "stopped",
    "deactivating": "stopped",
}
_BOOTS = ("enabled", "enabled-runtime", "alias")


@attrs.frozen
class SystemdUnits:
    """``granted`` maps the names of services to their units; nothing else is ever touched."""

    reactor: IReactorTime
    table: ProgramTable
    granted: Mapping[str, str]

    async def facts(self, seconds: float) -> tuple[ServiceFacts, ...]:
        """Tell of every service that was named."""
        if not self.granted:
            return ()
        finished = await self._systemctl(
            ("show", f"--property={','.join(_PROPERTIES)}", "--", *self.granted.values()), seconds
        )
        if finished.status != 0:
            raise EffectFailedError(f"systemctl: {finished.output[:LONGEST_TEXT]}")
        found = [_properties(block) for block in finished.output.split("\n\n")]
        if len(found) != len(self.granted):
            raise EffectFailedError("systemctl does not tell of every service")
        return tuple(
            told(name, properties) for name, properties in zip(self.granted, found, strict=True)
        )

    async def act(self, name: str, action: ServiceAction, seconds: float) -> None:
        """Do it; raises `EffectFailedError` with systemd's words where it refuses."""
        finished = await self._systemctl(
            ("--no-ask-password", action, "--", self.granted[name]), seconds
        )
        if finished.status != 0:
            raise EffectFailedError(finished.output[:LONGEST_TEXT] or f"systemctl {action} failed")

    async def log(self, name: str, lines: int, seconds: float) -> str:
        """Give the last lines that a service wrote to the journal."""
        finished = await run_program(
            self.reactor,
            self.table,
            "journalctl",
            (
                *("--unit", self.granted[name], "--lines", str(lines)),
                *("--output", "short-iso", "--no-pager", "--quiet"),
            ),
            timeout=seconds,
            most=MOST_LOG_BYTES,
        )
        if finished.status != 0:
            raise EffectFailedError(finished.output[:LONGEST_TEXT] or "journalctl failed")
        return finished.output

    async def _systemctl(self, arguments: tuple[str, ...], seconds: float) -> Finished:
        return await run_program(
            self.reactor, self.table, "systemctl", arguments, timeout=seconds, most=256 * 1024
        )


def told(name: str, properties: Mapping[str, str]) -> ServiceFacts:
    """Say what systemd's properties mean."""
    if properties.get("LoadState") == "not-found":
        return ServiceFacts(
            name=name, kind="system", state="unknown", boots="unknown", detail="no such unit here"
        )
    state = _STATES.get(properties.get("ActiveState", ""), "unknown")
    file_state = properties.get("UnitFileState", "")
    boots = "enabled" if file_state in _BOOTS else "disabled" if file_state else "unknown"
    now: tuple[ServiceAction, ...] = ("restart", "stop") if state == "running" else ("start",)
    later: tuple[ServiceAction, ...] = ("disable",) if boots == "enabled" else ("enable",)
    return ServiceFacts(
        name=name,
        kind="system",
        state=state,
        boots="enabled" if boots == "enabled" else "disabled" if boots == "disabled" else "unknown",
        detail=properties.get("SubState", "")[:LONGEST_TEXT],
        actions=(*now, *later) if file_state in (*_BOOTS, "disabled") else now,
    )


def _properties(block: str) -> dict[str, str]:
    found = {}
    for line in block.splitlines():
        name, _, value = line.partition("=")
        if name in _PROPERTIES:
            found[name] = value
    return found
