"""The commands that bring existing zones to where the roles of name servers want them (issue 3).

``dns.apply`` begins a move; the job in `controller.hosting.zone_mover` does it.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import attrs

from controller.change_plan import Foreseen
from controller.cluster.placement.candidates import name_server_candidates
from controller.cluster.placement.dns_roles import PROVIDER
from controller.cluster.placement.rows import read_group
from controller.commands import Command, Work
from controller.hosting.moves import REHEARSED
from controller.hosting.zone_mover import CHANNEL, rehearse
from controller.hosting.zone_placement import Roles, roles_of
from controller.hosting.zones_elsewhere import (
    Counts,
    count_leaving,
    count_zones,
    delegations,
    servers_above,
    servers_holding,
)
from controller.moments import time_text
from controller.pages import after_number, limit, page
from controller.refusal import CommandError
from controller.sentences import counted
from controller.storage.database import Transaction


@attrs.frozen
class ApplyRoles:
    """``allow_fewer``: though zones come to be on fewer servers than they are on now."""

    allow_fewer: bool = False


@attrs.frozen
class ListMoves:
    """A page of moves, the newest first."""

    limit: int = 100
    cursor: str = ""


@attrs.frozen
class NamedMove:
    """A move by its number."""

    id: int


async def apply(
    clock: Callable[[], float], draw: Random, work: Work, request: ApplyRoles
) -> dict[str, Any]:
    """Begin to move every zone that is elsewhere to the servers that the roles name.

    The service zone keeps its own servers; zones that a former move has yet to bring to its end
    (``on_their_way``) are left to it. Raises `CommandError` ``dns.apply.no-roles``,
    ``dns.apply.running``, ``dns.apply.fewer``.
    """
    await work.tx.run("SELECT pg_advisory_xact_lock(hashtext('zone moves'))")
    running = await work.tx.maybe(
        "SELECT id FROM zone_move WHERE state = 'running' AND NOT taken_all"
    )
    if running is not None:
        raise CommandError(
            "dns.apply.running",
            "zones are being moved already",
            value=str(running[0]),
            allowed=f"hsctl dns watch {running[0]} follows it, hsctl dns stop {running[0]} ends it",
            status=409,
        )
    candidates = name_server_candidates(await read_group(work.tx, "dns"))
    # Every account is the provider's own customer, until there are resellers.
    roles = roles_of(candidates, PROVIDER)
    count = await count_zones(work.tx, roles)
    if count.fewer and not request.allow_fewer:
        raise CommandError(
            "dns.apply.fewer",
            f"{count.fewer} zones would be on fewer servers than they are on now",
            field="allow_fewer",
            value=str(roles.size),
            allowed="roles for more servers, or allow_fewer (hsctl dns apply --allow-fewer)",
            status=409,
        )
    names = {server.id: server.name for server in candidates}
    placed: dict[str, Any] = {
        "master": names[roles.master],
        "slaves": [names[server] for server in roles.named],
        "others": [names[server] for server in roles.rest] if roles.filled else [],
    }
    (on_their_way,) = await work.tx.row("SELECT count(*) FROM zone_move_zone")
    answer = {
        **placed,
        "zones": count.zones,
        "on_their_way": on_their_way,
        "change_master": count.masters,
        "change_servers": count.sets,
        "delegations": await delegations(work.tx, roles),
    }
    if not count.zones:
        return {**answer, "move": None}

    async def first_zones(rehearsal: Work) -> None:
        await rehearse(rehearsal, roles, now=int(clock()), draw=draw)

    work.change.foresee(
        Foreseen(
            tuple(_foreseen(roles, count)),
            (
                placed["master"],
                *placed["slaves"],
                *placed["others"],
                *await servers_holding(work.tx, roles),
                *await servers_above(work.tx, roles),
            ),
            removals=await count_leaving(work.tx, roles),
            redelegated=count.sets,
        ),
        first_zones,
    )
    move = await _begin(work, roles, placed, count.zones)
    return {**answer, "move": move}


def _foreseen(roles: Roles, count: Counts) -> Iterator[str]:
    for number, what in ((count.masters, "master"), (count.sets, "name servers")):
        if number:
            yield counted(number, f"zone changes {what}", f"zones change {what}")
    if 0 < roles.filled < len(roles.rest):
        yield "servers without a role are drawn at random for zones that lack them"
    if count.zones > REHEARSED:
        yield f"boxes can tell what becomes of the first {REHEARSED} of these zones"


async def _begin(work: Work, roles: Roles, placed: dict[str, Any], zones: int) -> int:
    (move,) = await work.tx.row(
        """INSERT INTO zone_move (actor, master, named, rest, servers, total)
           VALUES (%s, %s, %s::uuid[], %s::uuid[], %s::jsonb, %s) RETURNING id""",
        (
            work.principal.actor,
            roles.master,
            list(roles.named),
            list(roles.rest),
            json.dumps(placed),
            zones,
        ),
    )
    work.change.row("zone_move", move, None, {**placed, "zones": zones})
    await work.tx.rows("SELECT pg_notify(%s, %s)", (CHANNEL, str(move)))
    return int(move)


_SHOWN = """
SELECT m.id, m.state, m.message, m.actor, m.servers, m.total, m.moved, m.started_at, m.ended_at,
       count(z.zone_id) FILTER (WHERE z.leaves_at IS NULL AND NOT z.failed),
       count(z.zone_id) FILTER (WHERE z.failed), count(z.leaves_at), max(z.leaves_at)
FROM zone_move m LEFT JOIN zone_move_zone z ON z.move_id = m.id
"""


def _move(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "state": row[1],
        "message": row[2],
        "by": row[3],
        **row[4],
        "zones": row[5],
        "moved": row[6],
        "under_way": row[9],
        "failed": row[10],
        "leaving": row[11],
        "leaves_at": None if row[12] is None else time_text(row[12]),
        "started_at": time_text(row[7]),
        "ended_at": None if row[8] is None else time_text(row[8]),
    }


async def moves(work: Work, request: ListMoves) -> dict[str, Any]:
    """List moves of zones, the newest first."""
    size = limit(request.limit)
    found = await work.tx.rows(
        f"{_SHOWN} WHERE m.id < %s GROUP BY m.id ORDER BY m.id DESC LIMIT %s",
        (after_number(request.cursor, 2**62), size + 1),
    )
    return page([_move(row) for row in found], size, lambda item: int(item["id"]))


async def progress(work: Work, request: NamedMove) -> dict[str, Any]:
    """Show how far a move is, and what zones wait for.

    ``leaving`` are zones that are live on their new servers, and still answered by those of before
    until nobody keeps the old NS records any more.
    """
    row = await _row(work.tx, request.id)
    waiting = await work.tx.rows(
        """SELECT z.name, m.phase, m.failed, m.message FROM zone_move_zone m
           JOIN zone z ON z.id = m.zone_id
           WHERE m.move_id = %s AND m.message <> '' AND m.leaves_at IS NULL
           ORDER BY m.failed DESC, z.name LIMIT 10""",
        (request.id,),
    )
    return {
        **_move(row),
        "waiting": [
            {"zone": zone, "phase": phase, "failed": failed, "message": message}
            for zone, phase, failed, message in waiting
        ],
    }


async def _row(tx: Transaction, move: int) -> tuple[Any, ...]:
    row = await tx.maybe(f"{_SHOWN} WHERE m.id = %s GROUP BY m.id", (move,))
    if row is None:
        raise CommandError(
            "dns.move.unknown",
            "no move of zones has this number",
            field="id",
            value=str(move),
            allowed="hsctl dns moves lists them",
            status=404,
        )
    return row


async def stop(work: Work, request: NamedMove) -> dict[str, Any]:
    """Have a move take no more zones. Those on their way go on to their end."""
    shown = _move(await _row(work.tx, request.id))
    stopped = await work.tx.run(
        """UPDATE zone_move SET state = 'stopped', message = %s
           WHERE id = %s AND state = 'running' AND NOT taken_all""",
        (f"stopped by {work.principal.actor}", request.id),
    )
    if stopped:
        work.change.row("zone_move", request.id, {"state": "running"}, {"state": "stopped"})
        shown["state"] = "stopped"
    return {"id": request.id, "state": shown["state"], "under_way": shown["under_way"]}


def commands(clock: Callable[[], float], draw: Random) -> tuple[Command[Any], ...]:
    """Give the commands; ``clock`` gives seconds since the epoch, ``draw`` the chance."""
    applying = Command(
        "dns.apply",
        "POST",
        "/dns/moves",
        ApplyRoles,
        "provider.write",
        "Move existing zones to the name servers that the roles name",
        partial(apply, clock, draw),
        "A job moves them part after part; `dns.progress` tells how far it is. The new master "
        "serves a zone before the others take it from there, and the servers of before answer "
        "until the old NS records have run out everywhere. `delegations` are zones whose "
        "delegation is to be changed at the parent, the first hundred. A dry run with `diff` asks "
        f"the boxes what they come to by the first {REHEARSED} zones.",
    )
    return (applying, *_COMMANDS)


_COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "dns.moves",
        "GET",
        "/dns/moves",
        ListMoves,
        "provider.read",
        "List moves of zones",
        moves,
    ),
    Command(
        "dns.progress",
        "GET",
        "/dns/moves/{id}",
        NamedMove,
        "provider.read",
        "Show how far a move of zones is",
        progress,
    ),
    Command(
        "dns.stop",
        "DELETE",
        "/dns/moves/{id}",
        NamedMove,
        "provider.write",
        "Stop a move of zones",
        stop,
        "Zones that are on their way come to their new servers; the others stay where they are.",
    ),
)
