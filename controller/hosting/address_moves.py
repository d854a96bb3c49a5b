"""The commands that renumber a server (R357): its address becomes another one.

``ip.move`` begins a move; the job in `controller.hosting.address_mover` does it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from controller.change_plan import Foreseen
from controller.cluster.addresses import addresses
from controller.cluster.addresses.addresses import AddressRange
from controller.cluster.addresses.rows import (
    AddressRow,
    check_endpoints_free,
    check_not_moving,
    find_address,
)
from controller.cluster.rules.guard import watch
from controller.cluster.servers.logical_servers import find_server, lock_server
from controller.commands import Command, Work
from controller.hosting.address_mentions import (
    boxes_at,
    glue,
    records_by_hand,
    settings_naming,
)
from controller.hosting.address_mover import CHANNEL, rehearse
from controller.hosting.address_phases import BEFORE_SWITCH, Renumbering
from controller.hosting.address_zones import count_zones, name_servers_told
from controller.hosting.moves import GRACE_SECONDS, REHEARSED
from controller.hosting.service_zone import TTL
from controller.moments import time_text
from controller.pages import after_number, limit, page
from controller.projection.servers import HELD, LISTENING
from controller.refusal import CommandError
from controller.sentences import counted
from controller.storage.database import Transaction
from templates.registry import SERVICE_TYPES

LONGEST_HOURS = 24 * 60
"""How long the old address may be asked to answer on: sixty days."""


@attrs.frozen
class MoveAddress:
    """The address ``ip`` becomes ``new``; ``port`` tells two endpoints on it apart.

    ``mask`` is that of the new one, the old one's where it is left out. The old one answers for
    ``keep_hours`` at the least after nobody is given it any more.
    """

    ip: str
    new: str
    port: int | None = None
    mask: str = ""
    keep_hours: int = 0


@attrs.frozen
class ListMoves:
    """A page of moves, the newest first; ``lserver``: only those of one logical server."""

    lserver: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class NamedMove:
    """A move by its number."""

    id: int


async def move(
    clock: Callable[[], float], renumbering: Renumbering, work: Work, request: MoveAddress
) -> dict[str, Any]:
    """Begin to renumber a server; tell what will follow by itself and what is left to people.

    Raises `CommandError` ``ip.move.family``, ``ip.move.same``, ``ip.move.keep``, ``ip.moving`` and
    what adding the new address would raise.
    """
    row = await find_address(work.tx, request.ip, request.port)
    server = await lock_server(work.tx, row.server, field="ip")
    guard = await watch(work.tx, servers=[server.id])
    row = await find_address(work.tx, row.ip, row.port)
    new = _new_address(request, row)
    if not 0 <= request.keep_hours <= LONGEST_HOURS:
        raise CommandError(
            "ip.move.keep",
            "not a number of hours that the old address may be kept for",
            field="keep_hours",
            value=str(request.keep_hours),
            allowed=f"0 to {LONGEST_HOURS}",
        )
    prefix = addresses.prefix_length(request.mask, new) if request.mask else row.prefix
    check_not_moving(row)
    await check_endpoints_free(work.tx, server, AddressRange(new, new), row.port)
    # As it will be in the end, for the rules; then the second address beside the first.
    await work.tx.run(
        "UPDATE ip_address SET address = %s::inet, prefix = %s WHERE id = %s",
        (str(new), prefix, row.id),
    )
    warnings = await guard.check(work.tx)
    after = attrs.evolve(row, ip=str(new), prefix=prefix)
    number = await _begin(work, row, after, request.keep_hours * 3600)
    begun = {"logical_server": server.name, "old": row.ip, "new": str(new), "port": row.port}
    work.change.row("address_move", number, None, begun)
    of_service = row.type == "service"
    zones = await count_zones(work.tx, of_service, server.id, row.ip)

    async def all_phases(rehearsal: Work) -> None:
        await rehearse(rehearsal, number, renumbering, now=int(clock()))

    work.change.foresee(
        await _foreseen(work.tx, server.service_type, row, after, zones), all_phases
    )
    return {
        "move": number,
        **begun,
        "type": row.type,
        "prefix": prefix,
        "zones": zones if of_service else 0,
        "sites": 0 if of_service else zones,
        "old_answers_seconds": max(TTL + GRACE_SECONDS, request.keep_hours * 3600),
        **await _left_to_people(work.tx, row.type, server.name, row.ip),
        "warnings": [*warnings, *await _to_bring_up(work.tx, row, str(new))],
    }


async def _begin(work: Work, before: AddressRow, after: AddressRow, keep_seconds: int) -> int:
    """Keep the new address for the move, and have the job begin; gives the move's number."""
    (number,) = await work.tx.row(
        """UPDATE ip_address SET address = %s::inet, prefix = %s WHERE id = %s;
           INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           VALUES (%s, %s::inet, %s, %s, %s);
           INSERT INTO address_move (actor, server_id, server, address_id, type, port, old, new,
                                     old_prefix, new_prefix, keep_seconds)
           VALUES (%s, %s, %s, %s, %s, %s, %s::inet, %s::inet, %s, %s, %s) RETURNING id""",
        (
            before.ip,
            before.prefix,
            before.id,
            before.server_id,
            after.ip,
            after.prefix,
            before.port,
            HELD,
            work.principal.actor,
            before.server_id,
            before.server,
            before.id,
            before.type,
            before.port,
            before.ip,
            after.ip,
            before.prefix,
            after.prefix,
            keep_seconds,
        ),
    )
    await work.tx.rows("SELECT pg_notify(%s, %s)", (CHANNEL, str(number)))
    return int(number)


async def _foreseen(
    tx: Transaction, service_type: str, before: AddressRow, after: AddressRow, zones: int
) -> Foreseen:
    """Say what the job will touch: the server's boxes, and the name servers that tell of it.

    Nobody is told of an address that no daemon answers on, or of a dedicated one without a site.
    """
    answers = before.type in LISTENING or (before.type == "dedicated" and before.used_by != "")
    told = answers and service_type in SERVICE_TYPES
    words = [
        f"answers on {after.ip} in place of {before.ip}, on {before.server}"
        if answers
        else f"has {after.ip} in place of {before.ip}, on {before.server}"
    ]
    if zones:
        words.append(counted(zones, "zone follows", "zones follow"))
    if zones > REHEARSED:
        words.append(f"boxes can tell what becomes of the first {REHEARSED} of these zones")
    boxes = await tx.rows(
        """SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
           WHERE l.logical_server_id = %s AND b.retired_at IS NULL ORDER BY b.name""",
        (before.server_id,),
    )
    others = await name_servers_told(tx, before)
    return Foreseen(
        tuple(words),
        tuple(dict.fromkeys((*([before.server] if told else ()), *others))),
        reloading=tuple(name for (name,) in boxes) if told else (),
    )


def _new_address(request: MoveAddress, row: AddressRow) -> addresses.Address:
    new = addresses.address(request.new, field="new")
    if str(new) == row.ip:
        raise CommandError(
            "ip.move.same",
            "it has this address",
            field="new",
            value=request.new,
            allowed="another address",
        )
    if (":" in row.ip) != (new.version == 6):
        raise CommandError(
            "ip.move.family",
            "who asks over the old address could not ask over the new one",
            field="new",
            value=request.new,
            allowed=f"an {'IPv6' if ':' in row.ip else 'IPv4'} address, as {row.ip} is",
        )
    return new


async def _left_to_people(tx: Transaction, type_: str, server: str, old: str) -> dict[str, Any]:
    """Give what names the old address and does not follow by itself."""
    found = await tx.maybe(
        "SELECT id::text, group_name FROM logical_server WHERE name = %s", (server,)
    )
    (domain,) = await tx.row("SELECT service_domain FROM cluster")
    parents: list[str] = []
    if type_ == "service" and found is not None and found[1] == "dns":
        parents = await glue(tx, found[0], server)
    has_name = type_ in ("service", "shared")
    elsewhere = has_name and not parents and not server.endswith(f".{domain}")
    return {
        "parents": parents,
        "name_by_hand": server if elsewhere else "",
        "by_hand": await records_by_hand(tx, old),
        "settings": await settings_naming(tx, old),
        "boxes": await boxes_at(tx, old),
    }


async def _to_bring_up(tx: Transaction, row: AddressRow, new: str) -> list[str]:
    """Say where the new address is to be brought up by hand first (R341)."""
    if row.type == "dedicated":
        return []
    found = await tx.rows(
        """SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
           WHERE l.logical_server_id = %s AND host(b.address) <> %s ORDER BY b.name""",
        (row.server_id, new),
    )
    return [
        f"{new} is not brought up on {name} by itself: do it by hand; the move waits for it"
        for (name,) in found
    ]


_SHOWN = """
SELECT m.id, m.state, m.phase, m.server, m.type, m.port, host(m.old), host(m.new), m.actor, m.total,
       m.passed, m.answers_until, m.started_at, m.ended_at, count(p.change_id),
       count(p.change_id) FILTER (WHERE p.failed),
       coalesce(string_agg(DISTINCT p.message, '; ') FILTER (WHERE p.message <> ''), '')
FROM address_move m LEFT JOIN address_move_part p ON p.move_id = m.id
"""

PHASES = {
    "begun": "the new address is kept for it",
    "listening": "the server comes to answer on both addresses",
    "announced": "the other name servers come to know both addresses",
    "switched": "the new address becomes the server's own",
    "following": "zones come to name the new address",
    "outlasting": "the old address still answers, until nobody keeps it any more",
    "retiring": "the server ceases to answer on the second address",
    "ended": "the server answers on one address",
}
"""What each phase is, for people."""


def _move(row: tuple[Any, ...]) -> dict[str, Any]:
    waits = row[2] == "outlasting" and row[11] is not None
    return {
        "id": row[0],
        "state": row[1],
        "phase": row[2],
        "words": PHASES[row[2]],
        "logical_server": row[3],
        "type": row[4],
        "port": row[5],
        "old": row[6],
        "new": row[7],
        "by": row[8],
        "zones": row[9],
        "passed": row[10],
        "under_way": row[14] - row[15],
        "failed": row[15],
        "waiting": row[16][:2000],
        "old_until": time_text(row[11]) if waits else None,
        "may_stop": row[1] == "running" and row[2] in BEFORE_SWITCH,
        "started_at": time_text(row[12]),
        "ended_at": None if row[13] is None else time_text(row[13]),
    }


async def moves(work: Work, request: ListMoves) -> dict[str, Any]:
    """List moves of addresses, the newest first."""
    size = limit(request.limit)
    server = ""
    if request.lserver:
        server = (await find_server(work.tx, request.lserver, field="lserver")).id
    found = await work.tx.rows(
        f"""{_SHOWN} WHERE m.id < %s AND %s IN ('', m.server_id::text)
            GROUP BY m.id ORDER BY m.id DESC LIMIT %s""",
        (after_number(request.cursor, 2**62), server, size + 1),
    )
    return page([_move(row) for row in found], size, lambda item: int(item["id"]))


async def progress(work: Work, request: NamedMove) -> dict[str, Any]:
    """Show how far a move is, what it waits for, and what people have yet to change."""
    shown = _move(await _row(work.tx, request.id))
    left = await _left_to_people(work.tx, shown["type"], shown["logical_server"], shown["old"])
    return {**shown, **left}


async def _row(tx: Transaction, number: int) -> tuple[Any, ...]:
    row = await tx.maybe(f"{_SHOWN} WHERE m.id = %s GROUP BY m.id", (number,))
    if row is None:
        raise CommandError(
            "ip.move.unknown",
            "no move of an address has this number",
            field="id",
            value=str(number),
            allowed="hsctl ip moves lists them",
            status=404,
        )
    return row


async def stop(work: Work, request: NamedMove) -> dict[str, Any]:
    """Give a move up that has not switched: the new address goes, nobody was told of it."""
    stopped = await work.tx.run(
        """UPDATE address_move SET state = 'stopped'
           WHERE id = %s AND state = 'running' AND phase = ANY(%s)""",
        (request.id, list(BEFORE_SWITCH)),
    )
    shown = _move(await _row(work.tx, request.id))
    if not stopped and shown["state"] != "stopped":
        raise CommandError(
            "ip.move.switched",
            "the new address is the server's own already",
            field="id",
            value=str(request.id),
            allowed=f"let it come to its end; hsctl ip move {shown['new']} {shown['old']} then "
            "moves it back",
            status=409,
        )
    if stopped:
        work.change.row("address_move", request.id, {"state": "running"}, {"state": "stopped"})
        await work.tx.rows("SELECT pg_notify(%s, %s)", (CHANNEL, str(request.id)))
    return {name: shown[name] for name in ("id", "state", "logical_server", "old", "new")}


def commands(clock: Callable[[], float], renumbering: Renumbering) -> tuple[Command[Any], ...]:
    """Give the commands for the registry; ``clock`` gives seconds since the epoch."""
    moving = Command(
        "ip.move",
        "POST",
        "/ip-moves",
        MoveAddress,
        "provider.write",
        "Renumber a logical server: one of its addresses becomes another",
        partial(move, clock, renumbering),
        "A job does it phase by phase; `ip.progress` tells how far it is. The server answers on "
        "the new address before anybody is told of it, and on the old one until no answer with it "
        "may be kept any more. Generated records, transfer lists and listeners follow; `by_hand` "
        "are records written by people that name the old address, `parents` the zones whose "
        "parent holds it as glue, `settings` and `boxes` what else names it: these are left to "
        "people. A dry run with `diff` asks the boxes what the server and the first "
        f"{REHEARSED} zones come to.",
    )
    return (moving, *_COMMANDS)


_COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "ip.moves",
        "GET",
        "/ip-moves",
        ListMoves,
        "provider.read",
        "List moves of addresses",
        moves,
    ),
    Command(
        "ip.progress",
        "GET",
        "/ip-moves/{id}",
        NamedMove,
        "provider.read",
        "Show how far a move of an address is",
        progress,
    ),
    Command(
        "ip.stop",
        "DELETE",
        "/ip-moves/{id}",
        NamedMove,
        "provider.write",
        "Give a move of an address up, before the switch",
        stop,
    ),
)
