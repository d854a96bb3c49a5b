"""What a box answers on demand: its packages, its services and their logs (R251).

Nothing of it is kept. The box is asked after the transaction of the command, with a deadline; one
that is away, or whose monitoring is off, is a refusal that says the way out.
"""

from typing import Any

import attrs

from controller.changes import ChangeWriter
from controller.cluster.boxes.asking import ask_box, box_away, shown
from controller.cluster.boxes.boxes import find_box
from controller.cluster.ports import FleetPort
from controller.commands import Command, Work
from controller.pages import after_text, limit, page
from controller.refusal import CommandError
from controller.runner import Afterwards, Note
from controller.storage.database import Transaction
from node_agent.wire.questions import (
    LONGEST_TEXT,
    MOST_LINES,
    MOST_PACKAGES,
    MOST_SERVICES,
    ActionDone,
    AskAction,
    AskLog,
    AskPackages,
    AskServices,
    LogLines,
    Packages,
    ServiceAction,
    ServiceFacts,
    Services,
)

ACTION_SECONDS = 60.0
"""How long a box may take to answer; a daemon may need half a minute to stop."""
ACTIONS: tuple[ServiceAction, ...] = ("start", "stop", "restart", "enable", "disable")
LONGEST_LINE = 2000


@attrs.frozen
class ListPackages:
    """A page of a box's installed packages whose name contains ``search``."""

    name: str
    search: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class ListServices:
    """A page of a box's services: those of logical servers first, each kind by name."""

    name: str
    limit: int = MOST_SERVICES
    cursor: str = ""


@attrs.frozen
class ActOnService:
    """Start, stop, restart, enable or disable a service of a box."""

    name: str
    service: str
    action: str


@attrs.frozen
class ShowLog:
    """The last ``lines`` lines that a service of a box logged."""

    name: str
    service: str
    lines: int = 100


@attrs.frozen
class BoxServices:
    """The commands; ``fleet`` asks the boxes."""

    fleet: FleetPort

    async def packages(self, work: Work, request: ListPackages) -> Afterwards:
        """List installed packages by name."""
        size = limit(request.limit)
        box_id, name = await self._box(work.tx, request.name)
        asked = AskPackages(
            search=_text(request.search, "search"),
            after=after_text(request.cursor),
            limit=min(size, MOST_PACKAGES),
        )

        async def fetch() -> dict[str, Any]:
            found = await ask_box(self.fleet, box_id, name, asked, Packages)
            packages = [
                {"name": shown(each.name), "version": shown(each.version)}
                for each in found.packages[: asked.limit]
            ]
            # One more than the page, where the box says that there is more: so it is told.
            more = [packages[-1]] if found.more and packages else []
            return page([*packages, *more], len(packages), _package_key)

        return Afterwards(fetch)

    async def services(self, work: Work, request: ListServices) -> Afterwards:
        """List the services that may be managed from here, with their state."""
        size, after = limit(request.limit), after_text(request.cursor)
        box_id, name = await self._box(work.tx, request.name)

        async def fetch() -> dict[str, Any]:
            found = await ask_box(self.fleet, box_id, name, AskServices(), Services)
            services = sorted(map(_facts, found.services[:MOST_SERVICES]), key=_service_key)
            left = [one for one in services if _service_key(one) > after]
            return page(left[: size + 1], size, _service_key)

        return Afterwards(fetch)

    async def act(self, work: Work, request: ActOnService) -> Afterwards:
        """Have a box do something to a service; the change says that it was asked."""
        action = next((one for one in ACTIONS if one == request.action), None)
        if action is None:
            raise CommandError(
                "pserver.service.action",
                "not something that can be done to a service",
                field="action",
                value=request.action,
                allowed=", ".join(ACTIONS),
            )
        box_id, name = await self._box(work.tx, request.name)
        service = _text(request.service, "service")
        change: ChangeWriter = work.change
        key = f"{name}/{service}"
        change.row("service", key, None, {"asked": action})
        asked = {"name": name, "service": service, "action": action}

        async def fetch() -> dict[str, Any]:
            ask = AskAction(service=service, action=action)
            try:
                found = await ask_box(
                    self.fleet, box_id, name, ask, ActionDone, seconds=ACTION_SECONDS
                )
            except CommandError as error:
                outcome = "refused" if error.id == "pserver.declined" else "unknown"
                return {**asked, "outcome": outcome, "message": error.message}
            return {**asked, "outcome": "done", "message": "", "state": _facts(found.service)}

        def note(answer: dict[str, Any]) -> Note:
            told = {name: answer[name] for name in (*asked, "outcome", "message")}
            return Note("pserver.service-answer", told, "service", key, {"asked": action}, told)

        kept = {**asked, "outcome": "unknown", "message": "asked before; the answer was not kept"}
        return Afterwards(fetch, kept, note)

    async def log(self, work: Work, request: ShowLog) -> Afterwards:
        """Show the last lines that a service logged."""
        if not 1 <= request.lines <= MOST_LINES:
            raise CommandError(
                "pserver.log.lines",
                "the number of lines is out of range",
                field="lines",
                value=str(request.lines),
                allowed=f"1 to {MOST_LINES}",
            )
        box_id, name = await self._box(work.tx, request.name)
        ask = AskLog(service=_text(request.service, "service"), lines=request.lines)

        async def fetch() -> dict[str, Any]:
            found = await ask_box(self.fleet, box_id, name, ask, LogLines)
            lines = [shown(line, LONGEST_LINE) for line in found.lines[-request.lines :]]
            return {"name": name, "service": ask.service, "lines": lines, "cut": found.cut}

        return Afterwards(fetch)

    async def _box(self, tx: Transaction, name: str) -> tuple[str, str]:
        """Give id and name of a box that can be asked now; raises `CommandError`."""
        box = await find_box(tx, name)
        monitoring, ever = await tx.lock(
            "SELECT monitoring, first_seen_at IS NOT NULL FROM box WHERE id = %s", (box.id,)
        )
        if not monitoring:
            raise CommandError(
                "pserver.monitoring.off",
                "monitoring is switched off for this box",
                field="name",
                value=box.name,
                allowed=f"hsctl pserver monitoring {box.name} on",
                status=409,
            )
        if not self.fleet.connected(box.id):
            raise box_away(box.name, ever)
        return box.id, box.name

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "pserver.packages",
                "GET",
                "/pservers/{name}/packages",
                ListPackages,
                "provider.read",
                "List the packages installed on a physical server",
                self.packages,
                "The box is asked; nothing is kept.",
            ),
            Command(
                "pserver.services",
                "GET",
                "/pservers/{name}/services",
                ListServices,
                "provider.read",
                "List the services of a physical server that may be managed",
                self.services,
                "The daemons of its logical servers, and the units that the box's owner has named "
                "in `[services]` of grants.toml.",
            ),
            Command(
                "pserver.service",
                "POST",
                "/pservers/{name}/services/{service}",
                ActOnService,
                "provider.write",
                "Start, stop, restart, enable or disable a service of a physical server",
                self.act,
                "The change says that the box was asked. The answer's `outcome` is done, refused "
                "(`message` says why) or unknown; it is recorded as a change of its own.",
            ),
            Command(
                "pserver.log",
                "GET",
                "/pservers/{name}/services/{service}/log",
                ShowLog,
                "provider.read",
                "Show the last log lines of a service of a physical server",
                self.log,
            ),
        )


def _package_key(item: dict[str, Any]) -> str:
    return f"{item['name']}\t{item['version']}"


def _service_key(item: dict[str, Any]) -> str:
    return f"{item['kind']}\t{item['name']}"


def _text(value: str, field: str) -> str:
    if len(value) > LONGEST_TEXT or not value.isprintable():
        raise CommandError(
            "pserver.text",
            "not a name of a service or a package",
            field=field,
            value=value[:LONGEST_TEXT],
            allowed=f"at most {LONGEST_TEXT} printable characters",
        )
    return value


def _facts(service: ServiceFacts) -> dict[str, Any]:
    return {
        "name": shown(service.name),
        "kind": service.kind,
        "state": service.state,
        "boots": service.boots,
        "detail": shown(service.detail),
        "actions": [one for one in ACTIONS if one in service.actions],
    }
