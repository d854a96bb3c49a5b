"""The commands on changes that are held back: ``change.held``, ``approve``, ``withdraw``.

An approval runs the very request again, as things are now and as whoever approves it. It goes
through only if each hazard that it meets is the one that was shown, and was accepted by its number.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from controller.changes import redacted
from controller.commands import Command, Registry, Work
from controller.hazards import IDS, Approval, accepting, seal
from controller.holding import (
    Holding,
    ended,
    hazards_of,
    refused_now,
    shown_otherwise,
    unknown,
    unreadable,
)
from controller.moments import time_text
from controller.pages import after_number, limit, page
from controller.refusal import CommandError
from controller.storage import held_changes
from controller.storage.held_changes import HeldRow


@attrs.frozen
class ListHeld:
    """A page of held changes, the newest first; with those that have ``ended`` if asked."""

    ended: bool = False
    limit: int = 50
    cursor: str = ""


@attrs.frozen
class NamedHeld:
    """A held change by its number."""

    id: int


@attrs.frozen
class ApproveHeld:
    """A held change, and the number of each hazard that is accepted, by the hazard's id.

    ``shown`` is the seal of the hazards that were looked at: where they were judged otherwise
    since, nothing is approved. Empty: the numbers alone are compared.
    """

    id: int
    accept: Mapping[str, int] = attrs.field(factory=dict)
    shown: str = ""


@attrs.frozen
class HeldChanges:
    """The commands on held changes; ``known`` are the commands that may be among them."""

    known: Registry
    holding: Holding

    async def list(self, work: Work, request: ListHeld) -> dict[str, Any]:
        """List what waits to be approved, the newest first."""
        size = limit(request.limit)
        found = await held_changes.listed(
            work.tx,
            ended=request.ended,
            before=after_number(request.cursor, 2**62),
            count=size + 1,
        )
        return page([_shown(row) for row in found], size, lambda item: int(item["id"]))

    async def show(self, work: Work, request: NamedHeld) -> dict[str, Any]:
        """Show a held change: what was asked, what it would do, and what became of it."""
        row = await held_changes.find(work.tx, request.id)
        if row is None:
            raise unknown(request.id)
        made = await work.tx.rows(
            """SELECT change_id FROM change_row
               WHERE relation = 'held_change' AND row_key = %s ORDER BY change_id LIMIT 1""",
            (str(row.id),),
        )
        return {**_shown(row), "change": made[0][0] if made else None}

    async def approve(self, work: Work, request: ApproveHeld) -> Any:
        """Run what was held back; answers what it answers."""
        row = await self._held(work, request.id)
        unheard = sorted(set(request.accept) - set(IDS))
        if unheard:
            raise CommandError(
                "change.approve.hazard",
                "there is no such hazard",
                field="accept",
                value=unheard[0],
                allowed=", ".join(IDS),
            )
        if request.shown and request.shown != seal(hazards_of(row)):
            raise shown_otherwise(row, request.shown)
        command = self._command(row)
        asked = await self.holding.request_of(work.tx, row, command.request)
        approval = Approval(row.id, hazards_of(row), request.accept)
        work.change.approving(approval, row.command, redacted(asked), row.reason)
        work.change.row(
            "held_change",
            row.id,
            {"state": "held", "asked_by": row.actor},
            {
                "state": "approved",
                "asked_by": row.actor,
                "approved_by": work.principal.actor,
                "accepted": [
                    f"{id_}={request.accept[id_]}" for id_ in IDS if id_ in request.accept
                ],
            },
        )
        await held_changes.end(work.tx, row, "approved", work.principal.actor)
        try:
            return await command.function(work, asked)
        except CommandError as error:
            if error.status >= 500:
                raise
            raise refused_now(row, error) from error

    def _command(self, row: HeldRow) -> Command[Any]:
        """Give the command of a held change; raises `CommandError` where it is there no more."""
        for command in self.known:
            if command.name == row.command:
                return command
        raise unreadable(row, "is no command of this version")

    async def withdraw(self, work: Work, request: NamedHeld) -> dict[str, Any]:
        """Drop what was held back: it is done by nobody."""
        row = await self._held(work, request.id)
        await held_changes.end(work.tx, row, "withdrawn", work.principal.actor)
        work.change.row(
            "held_change",
            row.id,
            {"state": "held", "asked_by": row.actor},
            {"state": "withdrawn", "asked_by": row.actor},
        )
        return {"id": row.id, "command": row.command, "state": "withdrawn"}

    async def _held(self, work: Work, held_id: int) -> HeldRow:
        """Give a change that is still held, locked: of two who end it, the second is told so."""
        row = await held_changes.find(work.tx, held_id, lock=True)
        if row is None:
            raise unknown(held_id)
        if row.state != "held":
            raise ended(row)
        return row

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "change.held",
                "GET",
                "/held-changes",
                ListHeld,
                "provider.read",
                "List changes that are held back",
                self.list,
            ),
            Command(
                "change.show-held",
                "GET",
                "/held-changes/{id}",
                NamedHeld,
                "provider.read",
                "Show a change that is held back",
                self.show,
            ),
            Command(
                "change.approve",
                "POST",
                "/held-changes/{id}/approval",
                ApproveHeld,
                "provider.write",
                "Approve a change that is held back",
                self.approve,
                "Runs the request again as things are now, and answers what it answers. `accept` "
                "has the number of each hazard by its id; refused where one of them is another "
                "now, or is not accepted. `shown` is the seal that was shown with them.",
            ),
            Command(
                "change.withdraw",
                "DELETE",
                "/held-changes/{id}",
                NamedHeld,
                "provider.write",
                "Withdraw a change that is held back",
                self.withdraw,
            ),
        )


def _shown(row: HeldRow) -> dict[str, Any]:
    hazards = hazards_of(row)
    return {
        "id": row.id,
        "asked_by": row.actor,
        "origin": row.origin,
        "command": row.command,
        "request": dict(row.request),
        "reason": row.reason,
        "hazards": [attrs.asdict(hazard) for hazard in hazards],
        "accept": accepting(hazards),
        "shown": seal(hazards),
        "plan": list(row.plan),
        "state": row.state,
        "held_at": time_text(row.held_at),
        "expires_at": time_text(row.expires_at),
        "ended_at": time_text(row.ended_at),
        "ended_by": row.ended_by or None,
    }
