"""The command ``change.undo``: a new change that writes the earlier rows of another one back.

An undo is exact or it is refused. Once the rows are written back, what they came to must be the
reverse of what the undone change came to, thing by thing. So nothing that was changed again since
is overwritten, nothing comes back by half, and an undo can be undone like any change.
"""

from typing import Any

import attrs

from controller.changes import ChangedRow
from controller.cluster.change_log import unknown_change
from controller.cluster.undo_table import decision
from controller.commands import Command, Work
from controller.history.effect import Effect, Thing, Turn, effect_of, unlike
from controller.history.write_back import WriteBack
from controller.moments import time_text
from controller.refusal import CommandError
from controller.storage.database import Transaction

NAMED = 5
"""How many things a refusal names."""
SHOWN = 100
"""How many things an answer names; the rest is counted."""


@attrs.frozen
class UndoChange:
    """The change to undo."""

    id: int


@attrs.frozen
class Undo:
    """The command that undoes."""

    write_back: WriteBack

    async def undo(self, work: Work, request: UndoChange) -> dict[str, Any]:
        """Write back what a change changed; give what that came to."""
        found = await work.tx.maybe(
            "SELECT c.command, k.service_domain FROM change c, cluster k WHERE c.id = %s",
            (min(request.id, 2**63 - 1),),
        )
        if found is None:
            raise unknown_change(request.id)
        command, service_domain = found
        told = decision(command)
        if not told.undoable:
            raise _refused(
                request.id, "undo.never", f"{command} is not undone: {told.words}", told.instead
            )
        rows = [
            ChangedRow(*row)
            for row in await work.tx.rows(
                """SELECT relation, row_key, before, after FROM change_row
                   WHERE change_id = %s ORDER BY position""",
                (request.id,),
            )
        ]
        done = effect_of(rows, derived_zone=service_domain)
        if not done:
            raise _refused(
                request.id,
                "undo.nothing",
                "the change came to nothing in the model",
                "there is nothing to undo",
            )
        work.change.undoing(request.id)
        try:
            warnings = await self.write_back.write(work, done)
        except CommandError as error:
            if error.status >= 500:
                raise
            await _refuse_changed(work.tx, request.id, done, error.message)
            raise attrs.evolve(
                error,
                message=f"change {request.id} ({command}) cannot be undone: {error.message}",
                field="id",
                value=str(request.id),
                status=409,
            ) from error
        undone = effect_of(work.change.rows, derived_zone=service_domain)
        await _check_exact(work.tx, request.id, done, undone)
        return {
            "undoes": request.id,
            "command": command,
            "undone": told.words,
            "rows": [
                {"relation": thing.relation, "key": thing.key} for thing in list(done)[:SHOWN]
            ],
            "things": len(done),
            "warnings": warnings,
        }

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "change.undo",
                "POST",
                "/changes/{id}/undo",
                UndoChange,
                "provider.write",
                "Undo a change",
                self.undo,
                "A new change writes the earlier rows back, all or nothing. Refused where what it"
                " touched was changed again since, and for commands that cannot be undone.",
            ),
        )


async def _check_exact(tx: Transaction, change_id: int, done: Effect, undone: Effect) -> None:
    """See that ``undone`` is the exact reverse of ``done``; raises `CommandError`."""
    wrong = unlike(done, undone)
    if not wrong:
        return
    touched = {thing: done.get(thing) or undone[thing] for thing in wrong}
    words = f"{_named(wrong)} {'is' if len(wrong) == 1 else 'are'} not as the change left it"
    await _refuse_changed(tx, change_id, touched, words)
    raise _refused(
        change_id,
        "undo.differs",
        f"{words}, or cannot be brought back exactly",
        f"hsctl change show {change_id} tells what was before: write that back by hand",
    )


_SINCE = """
SELECT c.id, c.command, c.actor, c.at, r.relation, r.row_key
FROM unnest(%s::text[], %s::text[]) AS t(relation, key)
JOIN change_row r ON r.row_key = t.key AND r.relation = t.relation AND r.change_id > %s
JOIN change c ON c.id = r.change_id ORDER BY r.change_id LIMIT 1
"""


async def _refuse_changed(tx: Transaction, change_id: int, things: Effect, words: str) -> None:
    """Refuse for the first later change that touched any of ``things``, if there is one."""
    known = sorted({place for thing, turn in things.items() for place in _places(thing, turn)})
    relations, keys = [place[0] for place in known], [place[1] for place in known]
    row = await tx.maybe(_SINCE, (relations, keys, change_id))
    if row is not None:
        raise _refused(
            change_id,
            "undo.changed-since",
            f"change {row[0]} ({row[1]} by {row[2]}, {time_text(row[3])}) touched"
            f" {row[4].replace('_', ' ')} {row[5]} since: {words}",
            f"undo change {row[0]} first: hsctl change undo {row[0]}, or write what you want",
        )


def _places(thing: Thing, turn: Turn) -> set[tuple[str, str]]:
    """Give (relation, key) of the rows that tell of a thing, or of what it goes with."""
    if thing.relation == "ip_address":
        images = [image for image in (turn.before, turn.after) if image is not None]
        return {(thing.relation, f"{thing.key} {image['port']}") for image in images}
    above = {"record": ("zone", "domain"), "site": ("domain",)}.get(thing.relation, ())
    name = thing.key.partition(" ")[0]
    return {(thing.relation, thing.key), *((relation, name) for relation in above)}


def _named(things: list[Thing]) -> str:
    more = f" and {len(things) - NAMED} more" if len(things) > NAMED else ""
    return ", ".join(map(str, things[:NAMED])) + more


def _refused(change_id: int, error_id: str, words: str, allowed: str) -> CommandError:
    return CommandError(
        error_id,
        f"change {change_id} is not undone: {words}" if error_id != "undo.never" else words,
        field="id",
        value=str(change_id),
        allowed=allowed,
        status=409,
    )
