"""The commands of rollouts: settings for all logical servers of a type, in waves.

``rollout.begin`` says what is to come; the job in `controller.cluster.rollouts.job` writes a wave
as an ordinary change, and the next one once every box was seen to have it.
"""

import json
from functools import partial
from typing import Any

import attrs

from controller.change_plan import Foreseen
from controller.cluster.rollouts.job import CHANNEL
from controller.cluster.rollouts.waves import WAVES, cut
from controller.cluster.servers.editing import ServerEditing, SetServer
from controller.cluster.servers.settings import check_references, read_settings
from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_number, limit, page
from controller.refusal import CommandError
from controller.sentences import counted
from controller.storage.database import Transaction
from templates.registry import SERVICE_TYPES

OWN = ("control_port", "role")
"""Settings that must differ between servers."""


@attrs.frozen
class BeginRollout:
    """Settings for all logical servers of ``type``.

    ``waves`` are sizes in their order: a number of servers, a share of them (``10%``), ``rest``.
    """

    type: str
    settings: dict[str, Any] = attrs.field(hash=False)
    waves: tuple[str, ...] = WAVES


@attrs.frozen
class ListRollouts:
    """A page of rollouts, the newest first."""

    limit: int = 100
    cursor: str = ""


@attrs.frozen
class NamedRollout:
    """A rollout by its number."""

    id: int


@attrs.frozen
class ResumeRollout:
    """A paused rollout.

    ``past_failure``: go on though the last wave is not live everywhere, or could not be written.
    """

    id: int
    past_failure: bool = False


# Servers that serve the fewest customers come first: what is wrong is seen on them.
_SERVERS = """
SELECT s.id::text, s.name, array_agg(b.name ORDER BY b.name)
FROM logical_server s JOIN lane l ON l.logical_server_id = s.id
JOIN box b ON b.id = l.box_id AND b.retired_at IS NULL
WHERE s.service_type = %s GROUP BY s.id ORDER BY s.holds, s.name
"""


async def begin(editing: ServerEditing, work: Work, request: BeginRollout) -> dict[str, Any]:
    """Begin to give settings to every server of a type, wave after wave."""
    known = SERVICE_TYPES.get(request.type)
    if known is None:
        raise CommandError(
            "rollout.type.unknown",
            "no box is told of servers of this type",
            field="type",
            value=request.type,
            allowed=", ".join(SERVICE_TYPES),
        )
    read = read_settings(known, request.settings, balanced=False)
    own = [name for name in OWN if name in read]
    if own or not read:
        raise CommandError(
            "rollout.settings.invalid",
            "each server has a value of its own" if own else "nothing is to be set",
            field=f"settings.{own[0]}" if own else "settings",
            value=", ".join(own),
            allowed="hsctl lserver set, for one server" if own else "a setting of the type",
        )
    await check_references(work.tx, known, read)
    found = await work.tx.rows(_SERVERS, (request.type,))
    waves = cut(found, request.waves)
    if not waves:
        raise CommandError(
            "rollout.servers.none",
            "there is no logical server of this type on a box",
            field="type",
            value=request.type,
            allowed="a type that some logical server is of",
            status=409,
        )
    await work.tx.run("SELECT pg_advisory_xact_lock(hashtext('rollouts'))")
    running = await work.tx.maybe(
        "SELECT id FROM rollout WHERE service_type = %s AND ended_at IS NULL", (request.type,)
    )
    if running is not None:
        raise CommandError(
            "rollout.running",
            f"servers of the type {request.type} are being changed already",
            field="type",
            value=str(running[0]),
            allowed=f"hsctl rollout show {running[0]} tells how far it is,"
            f" hsctl rollout stop {running[0]} ends it",
            status=409,
        )
    (number,) = await work.tx.row(
        """INSERT INTO rollout (actor, service_type, settings, waves)
           VALUES (%s, %s, %s::jsonb, %s::jsonb) RETURNING id""",
        (
            work.principal.actor,
            request.type,
            json.dumps(request.settings),
            json.dumps([[server for server, _, _ in wave] for wave in waves]),
        ),
    )
    names = [[name for _, name, _ in wave] for wave in waves]
    work.change.row(
        "rollout", number, None, {"type": request.type, "settings": read, "waves": names}
    )
    widest = max(({box for _, _, on in wave for box in on} for wave in waves), key=len)

    async def all_waves(rehearsal: Work) -> None:
        for name in (name for wave in names for name in wave):
            await editing.set(rehearsal, SetServer(name, request.settings))

    work.change.foresee(
        Foreseen(
            (
                f"changes {counted(len(found), 'server', 'servers')} in "
                + counted(len(waves), "wave", "waves")
                + ", of "
                + ", ".join(str(len(wave)) for wave in waves),
            ),
            tuple(name for wave in names for name in wave),
            reloading=tuple(sorted(widest)),
        ),
        all_waves,
    )
    await work.tx.rows("SELECT pg_notify(%s, %s)", (CHANNEL, str(number)))
    return {"rollout": number, "type": request.type, "settings": read, "waves": names}


_SHOWN = """
SELECT id, actor, service_type, settings, waves, wave, change_id, state, message, started_at,
       ended_at
FROM rollout
"""


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "by": row[1],
        "type": row[2],
        "settings": row[3],
        "waves": [len(wave) for wave in row[4]],
        "written": row[5],
        "change": row[6],
        "state": row[7],
        "message": row[8],
        "started_at": time_text(row[9]),
        "ended_at": time_text(row[10]),
    }


async def rollouts(work: Work, request: ListRollouts) -> dict[str, Any]:
    """List rollouts, the newest first."""
    size = limit(request.limit)
    found = await work.tx.rows(
        f"{_SHOWN} WHERE id < %s ORDER BY id DESC LIMIT %s",
        (after_number(request.cursor, 2**62), size + 1),
    )
    return page([_shown(row) for row in found], size, lambda item: int(item["id"]))


async def show(work: Work, request: NamedRollout) -> dict[str, Any]:
    """Show a rollout: which servers are in which wave, and how far it is."""
    row = await _row(work.tx, request.id)
    names: dict[str, str] = dict(
        await work.tx.rows(
            "SELECT id::text, name FROM logical_server WHERE id = ANY(%s::uuid[])",
            ([server for wave in row[4] for server in wave],),
        )
    )
    waves = [[names.get(server, "(deleted)") for server in wave] for wave in row[4]]
    return {**_shown(row), "servers": waves}


async def _row(tx: Transaction, number: int, *, lock: bool = False) -> tuple[Any, ...]:
    row = await tx.maybe(
        f"{_SHOWN} WHERE id = %s{' FOR UPDATE' if lock else ''}", (min(number, 2**62),)
    )
    if row is None:
        raise CommandError(
            "rollout.unknown",
            "no rollout has this number",
            field="id",
            value=str(number),
            allowed="hsctl rollout list lists them",
            status=404,
        )
    return row


async def resume(work: Work, request: ResumeRollout) -> dict[str, Any]:
    """Have a paused rollout go on: with the wave that failed, or past it.

    A wave that was refused before it was written is left out then: its servers stay as they are.
    """
    row = await _row(work.tx, request.id, lock=True)
    if row[7] != "paused":
        raise CommandError(
            "rollout.not-paused",
            f"the rollout is {row[7]}",
            field="id",
            value=str(request.id),
            allowed="a rollout that is paused",
            status=409,
        )
    left_out = request.past_failure and row[6] is None
    await work.tx.run(
        """UPDATE rollout SET state = 'running', message = '', wave = wave + %s,
                  change_id = CASE WHEN %s THEN NULL ELSE change_id END WHERE id = %s""",
        (int(left_out), request.past_failure, request.id),
    )
    told = {"left_out": row[5] + 1} if left_out else {}
    work.change.row(
        "rollout",
        request.id,
        {"state": "paused"},
        {"state": "running", "past_failure": request.past_failure, **told},
    )
    await work.tx.rows("SELECT pg_notify(%s, %s)", (CHANNEL, str(request.id)))
    return {"id": request.id, "state": "running", **told}


async def stop(work: Work, request: NamedRollout) -> dict[str, Any]:
    """End a rollout: servers that have the settings keep them, no others get them."""
    row = await _row(work.tx, request.id, lock=True)
    if row[10] is not None:
        return {"id": request.id, "state": row[7]}
    await work.tx.run(
        """UPDATE rollout SET state = 'stopped', ended_at = now(), message = %s WHERE id = %s""",
        (f"stopped by {work.principal.actor}", request.id),
    )
    work.change.row("rollout", request.id, {"state": row[7]}, {"state": "stopped"})
    return {"id": request.id, "state": "stopped"}


def commands(editing: ServerEditing) -> tuple[Command[Any], ...]:
    """Give the commands for the registry; ``editing`` is what a wave is written with."""
    beginning = Command(
        "rollout.begin",
        "POST",
        "/rollouts",
        BeginRollout,
        "provider.write",
        "Give settings to all logical servers of a type, in waves",
        partial(begin, editing),
        "A job writes each wave as a change of its own, and the next one once that is live on "
        "every box. On the first failure it pauses. A dry run with `diff` asks the boxes of all "
        "waves.",
    )
    return (beginning, *_COMMANDS)


_COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "rollout.list",
        "GET",
        "/rollouts",
        ListRollouts,
        "provider.read",
        "List rollouts",
        rollouts,
    ),
    Command(
        "rollout.show",
        "GET",
        "/rollouts/{id}",
        NamedRollout,
        "provider.read",
        "Show how far a rollout is",
        show,
    ),
    Command(
        "rollout.resume",
        "POST",
        "/rollouts/{id}/resumption",
        ResumeRollout,
        "provider.write",
        "Have a paused rollout go on",
        resume,
        "Looks again at the wave that failed; `past_failure` goes on to the next one whatever "
        "became of it. A wave that was refused before it was written is left out then, and its "
        "number answered as `left_out`.",
    ),
    Command(
        "rollout.stop",
        "DELETE",
        "/rollouts/{id}",
        NamedRollout,
        "provider.write",
        "End a rollout",
        stop,
        "Servers that have the settings keep them.",
    ),
)
