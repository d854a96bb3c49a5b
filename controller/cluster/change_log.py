"""What was done and how far it is: the commands ``change.list`` and ``change.show``."""

from datetime import UTC, datetime
from typing import Any

import attrs

from controller.cluster.undo_table import decision
from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_number, limit, page
from controller.progress import ChangeState, change_state, change_states
from controller.refusal import CommandError


@attrs.frozen
class NamedChange:
    """A change by its id."""

    id: int


@attrs.frozen
class ListChanges:
    """A page of changes, newest first. What is given narrows it down.

    ``actor`` is ``operator:NAME`` or ``system:NAME``; ``object`` the name of a thing that was
    touched (a box, a server, a domain, an address); ``since`` and ``until`` are moments (ISO 8601,
    UTC where no zone is said), the first included, the second not.
    """

    actor: str = ""
    command: str = ""
    object: str = ""
    since: str = ""
    until: str = ""
    limit: int = 50
    cursor: str = ""


_LIST = """
SELECT id, seq, actor, on_behalf_of, origin, command, request, reason, at, undoes FROM change
"""

# A page is read in the order of ids, and moments narrow the ids: a change has its id before its
# transaction ends and its moment from when that began, and no transaction takes an hour.
_SINCE = """
at >= %s AND id > coalesce(
    (SELECT id FROM change WHERE at < %s::timestamptz - interval '1 hour'
     ORDER BY at DESC LIMIT 1), 0)
"""
_UNTIL = """
at < %s AND id < coalesce(
    (SELECT id FROM change WHERE at > %s::timestamptz + interval '1 hour'
     ORDER BY at LIMIT 1), 9223372036854775807)
"""


def state_shown(state: ChangeState) -> dict[str, Any]:
    """Give how far the boxes are, lane by lane, as commands answer it."""
    return {"state": state.state, "lanes": [attrs.asdict(lane) for lane in state.lanes]}


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "seq": row[1],
        "actor": row[2],
        "on_behalf_of": row[3],
        "origin": row[4],
        "command": row[5],
        "request": row[6],
        "reason": row[7],
        "at": time_text(row[8]),
        "undoes": row[9],
    }


async def list_changes(work: Work, request: ListChanges) -> dict[str, Any]:
    """List changes, newest first, each with its state."""
    size = limit(request.limit)
    narrowed = [
        ("id < %s", after_number(request.cursor, 2**63 - 1)),
        ("actor = %s", request.actor),
        ("command = %s", request.command),
        ("id IN (SELECT change_id FROM change_row WHERE row_key = %s)", request.object),
        (_SINCE, _moment("since", request.since)),
        (_UNTIL, _moment("until", request.until)),
    ]
    given = [(condition, value) for condition, value in narrowed if value not in ("", None)]
    found = await work.tx.rows(
        f"{_LIST} WHERE {' AND '.join(condition for condition, _ in given)}"
        " ORDER BY id DESC LIMIT %s",
        (*(value for text, value in given for _ in range(text.count("%s"))), size + 1),
    )
    states = await change_states(work.tx, [row[0] for row in found])
    shown = [{**_shown(row), "state": states[row[0]].state} for row in found]
    return page(shown, size, lambda item: int(item["id"]))


def _moment(field: str, text: str) -> datetime | None:
    """Read a moment; raises `CommandError`."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise CommandError(
            "change.moment.invalid",
            f"{field} is not a moment",
            field=field,
            value=text,
            allowed="ISO 8601, as 2026-01-31 or 2026-01-31T12:00:00+01:00",
        ) from error


def unknown_change(change_id: int) -> CommandError:
    """Give the refusal for a change that there is not."""
    return CommandError(
        "change.unknown",
        "no change has this id",
        field="id",
        value=str(change_id),
        allowed="hsctl change list shows the changes",
        status=404,
    )


async def show(work: Work, request: NamedChange) -> dict[str, Any]:
    """Show a change: who, when, why, what it touched, and how far each lane is."""
    row = await work.tx.maybe(f"{_LIST} WHERE id = %s", (min(request.id, 2**63 - 1),))
    if row is None:
        raise unknown_change(request.id)
    undone_by = await work.tx.rows(
        "SELECT id FROM change WHERE undoes = %s ORDER BY id LIMIT 100", (request.id,)
    )
    told = decision(row[5])
    rows = await work.tx.rows(
        """SELECT relation, row_key, before, after FROM change_row WHERE change_id = %s
           ORDER BY position""",
        (request.id,),
    )
    return {
        **_shown(row),
        **state_shown(await change_state(work.tx, request.id)),
        "undone_by": [other for (other,) in undone_by],
        "undo": {"possible": told.undoable, "words": told.words, "instead": told.instead},
        "rows": [
            {"relation": relation, "key": key, "before": before, "after": after}
            for relation, key, before, after in rows
        ],
    }


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "change.list",
        "GET",
        "/changes",
        ListChanges,
        "provider.read",
        "List changes, newest first",
        list_changes,
    ),
    Command(
        "change.show",
        "GET",
        "/changes/{id}",
        NamedChange,
        "provider.read",
        "Show a change, lane by lane",
        show,
    ),
)
