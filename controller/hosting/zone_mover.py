"""The job that moves zones to other servers, part after part.

All that it knows is in the database: which zone a move has come to, and the zones on their way with
the phase of each.
"""

import random
from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.internet.interfaces import IReactorTime

from controller.changes import ChangeWriter
from controller.commands import Work
from controller.crash_points import CrashSite, pass_by
from controller.fleet.events import publish as publish_events
from controller.hosting.moves import GRACE_SECONDS, REHEARSED
from controller.hosting.names_below import follow as follow_below
from controller.hosting.zone_phases import (
    follow,
    leave,
    name_server_ttl,
    promote,
    publish,
)
from controller.hosting.zone_placement import Phase, Roles, next_phase, wanted_servers
from controller.hosting.zones import load_zone
from controller.hosting.zones_elsewhere import next_zones
from controller.job import Job, Outcome, gone_boxes, judge
from controller.principal import system
from controller.progress import change_states
from controller.projection.zones import NameServer, second_endpoint
from controller.storage.database import Database, Transaction
from templates.service_type import Endpoint

PART = 60
"""Zones that one change moves: with the six servers that a zone has at most meanwhile, no part is
wider than 360 objects."""
MOST_FAILED = 60
"""Zones that a box could not apply: with more, a move takes no others."""
CHANNEL = "hs_zone_move"
"""Notified when a move begins."""
LOCK = 0x68735F7A  # 'hs_z'
_PRINCIPAL = system("zone-mover")


@attrs.frozen
class Moving:
    """A zone on its way."""

    zone_id: int
    name: str
    move: int
    phase: Phase
    former: tuple[str, ...]
    wanted: tuple[str, ...]
    change: int
    failed: bool
    message: str

    @property
    def next(self) -> Phase | None:
        """What follows once the phase is live."""
        return next_phase(self.phase, self.former, self.wanted)


async def advance(tx: Transaction, *, now: float, draw: random.Random) -> Outcome:
    """Write the next part, if the boxes are through with what it builds upon."""
    (mine,) = await tx.row("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,))
    if not mine:
        return "idle"
    moving = await _moving(tx, "m.leaves_at IS NULL", (4 * PART,))
    ready = await _ready(tx, moving)
    if ready:
        first = ready[0]
        alike = [zone for zone in ready if (zone.next, zone.move) == (first.next, first.move)]
        await _step(tx, alike[:PART], now)
        return "moved"
    under_way = [zone for zone in moving if not zone.failed]
    if len(under_way) <= PART // 2:
        due = await _moving(tx, "m.leaves_at <= to_timestamp(%s)", (now, PART))
        if due:
            await _write(tx, [zone for zone in due if zone.move == due[0].move], "leaving", now)
            return "moved"
        stuck = len(moving) - len(under_way)
        if stuck < MOST_FAILED and await _take_in(tx, PART - len(under_way), now, draw):
            return "moved"
    await tx.run(
        """UPDATE zone_move SET state = CASE state WHEN 'running' THEN 'done' ELSE state END,
                  ended_at = now()
           WHERE ended_at IS NULL AND (taken_all OR state <> 'running')
             AND NOT EXISTS (SELECT 1 FROM zone_move_zone z WHERE z.move_id = zone_move.id)"""
    )
    (open_,) = await tx.row("SELECT EXISTS (SELECT 1 FROM zone_move WHERE ended_at IS NULL)")
    return "waiting" if open_ else "idle"


_MOVING = """
SELECT m.zone_id, z.name, m.move_id, m.phase, m.former::text[], m.wanted::text[], m.change_id,
       m.failed, m.message
FROM zone_move_zone m JOIN zone z ON z.id = m.zone_id
"""


async def _moving(tx: Transaction, which: str, parameters: Sequence[object]) -> list[Moving]:
    found = await tx.rows(
        f"{_MOVING} WHERE {which} ORDER BY m.move_id, m.zone_id LIMIT %s", parameters
    )
    return [
        Moving(row[0], row[1], row[2], row[3], tuple(row[4]), tuple(row[5]), row[6], row[7], row[8])
        for row in found
    ]


async def _ready(tx: Transaction, moving: Sequence[Moving]) -> list[Moving]:
    """Give the zones whose phase is live, and note of the others what they wait for."""
    if not moving:
        return []
    gone = await gone_boxes(tx)
    states = await change_states(tx, sorted({zone.change for zone in moving}))
    verdicts = [
        (zone, judge((lane for lane in states[zone.change].lanes if lane.key == zone.name), gone))
        for zone in moving
    ]
    told = [
        (zone.zone_id, verdict.failed, verdict.message)
        for zone, verdict in verdicts
        if not verdict.live and (verdict.failed, verdict.message) != (zone.failed, zone.message)
    ]
    if told:
        await tx.run(
            """UPDATE zone_move_zone m SET failed = t.failed, message = t.message
               FROM unnest(%s::bigint[], %s::bool[], %s::text[]) AS t(zone, failed, message)
               WHERE m.zone_id = t.zone""",
            [list(column) for column in zip(*told, strict=True)],
        )
    return [zone for zone, verdict in verdicts if verdict.live]


async def _step(tx: Transaction, part: Sequence[Moving], now: float) -> None:
    """Go on with zones whose phase, all the same one, is live."""
    phase = part[0].next
    if phase is None:
        await _arrived(tx, part)
    elif phase == "leaving":
        await _let_run_out(tx, part, now)
    else:
        await _write(tx, part, phase, now)


async def _write(tx: Transaction, part: Sequence[Moving], phase: Phase, now: float) -> None:
    """Write a phase of zones as one change."""
    servers = await _name_servers(tx, {server for zone in part for server in zone.wanted})
    change = _change(tx, part[0].move, phase, len(part))
    wanted = {one.name: one.wanted for one in part}
    await _take(Work(tx, _PRINCIPAL, change), wanted, phase, servers, int(now))
    change_id = await change.close()
    await tx.run(
        """UPDATE zone_move_zone SET phase = %s, change_id = coalesce(%s, change_id),
                  leaves_at = NULL, failed = false, message = ''
           WHERE zone_id = ANY(%s)""",
        (phase, change_id, [one.zone_id for one in part]),
    )


async def _take(
    work: Work,
    wanted: Mapping[str, Sequence[str]],
    phase: Phase,
    servers: Mapping[str, NameServer],
    now: int,
) -> None:
    """Take promoted zones, by name with their servers, through the phase after it."""
    for name, ids in wanted.items():
        zone = await load_zone(work.tx, name, lock=True)
        if zone is None:
            continue  # deleted a moment ago: its row of the move went with it
        final = _placed(ids, (), servers)
        if phase == "following":
            await follow(work, zone)
        elif phase == "published":
            await publish(work, zone, final, now=now)
        else:
            await leave(work, zone, final, now=now)
    if phase == "published":
        await follow_below(work, list(wanted), now=now)


async def rehearse(work: Work, roles: Roles, *, now: int, draw: random.Random) -> None:
    """Take the first `REHEARSED` zones through all phases at once, for a look at their end."""
    servers = await _name_servers(work.tx, {roles.master, *roles.named, *roles.rest})
    found = await next_zones(work.tx, roles, 0, REHEARSED)
    paths: dict[Phase, dict[str, Sequence[str]]] = {}
    for zone in await _promote(work, found, roles, servers, now=now, draw=draw):
        phase = next_phase("promoted", zone.former, zone.wanted)
        while phase is not None:
            paths.setdefault(phase, {})[zone.name] = zone.wanted
            phase = next_phase(phase, zone.former, zone.wanted)
    for phase, zones in paths.items():
        await _take(work, zones, phase, servers, now)


async def _let_run_out(tx: Transaction, part: Sequence[Moving], now: float) -> None:
    """Note until when answers with the old NS records may be kept: so long the old ones answer."""
    until = []
    for one in part:
        zone = await load_zone(tx, one.name)
        ttl = 0 if zone is None else max(zone.row.ttl, name_server_ttl(zone))
        until.append(now + ttl + GRACE_SECONDS)
    await tx.run(
        """UPDATE zone_move_zone m SET leaves_at = to_timestamp(t.until), failed = false,
                  message = 'answers with the old NS records may still be kept'
           FROM unnest(%s::bigint[], %s::float8[]) AS t(zone, until) WHERE m.zone_id = t.zone""",
        ([one.zone_id for one in part], until),
    )


async def _arrived(tx: Transaction, part: Sequence[Moving]) -> None:
    await tx.run(
        """WITH gone AS (DELETE FROM zone_move_zone WHERE zone_id = ANY(%s) RETURNING move_id)
           UPDATE zone_move SET moved = moved + (SELECT count(*) FROM gone) WHERE id = %s""",
        ([one.zone_id for one in part], part[0].move),
    )
    await publish_events(tx, [{"change": one.change} for one in part])


async def _take_in(tx: Transaction, count: int, now: float, draw: random.Random) -> bool:
    """Begin with up to ``count`` more zones of the move that runs; tell whether there were any."""
    move = await tx.maybe(
        """SELECT id, master::text, named::text[], rest::text[], taken FROM zone_move
           WHERE state = 'running' AND NOT taken_all FOR UPDATE"""
    )
    if move is None:
        return False
    move_id, master, named, rest, taken = move
    roles = Roles(master, tuple(named), tuple(rest))
    found = await next_zones(tx, roles, taken, count)
    if not found:
        await tx.run("UPDATE zone_move SET taken_all = true WHERE id = %s", (move_id,))
        return False
    servers = await _name_servers(tx, {master, *named, *rest})
    lost = [server for server in (master, *named, *rest) if server not in servers]
    if lost:
        await tx.run(
            """UPDATE zone_move SET state = 'stopped', message = %s WHERE id = %s""",
            ("a name server that it is for has no service address any more", move_id),
        )
        return False
    change = _change(tx, move_id, "promoted", len(found))
    work = Work(tx, _PRINCIPAL, change)
    promoted = await _promote(work, found, roles, servers, now=int(now), draw=draw)
    change_id = await change.close()
    for zone in promoted:
        tx.run_with_next(
            """INSERT INTO zone_move_zone (zone_id, move_id, phase, former, wanted, change_id)
               VALUES (%s, %s, 'promoted', %s::uuid[], %s::uuid[], %s)""",
            (zone.id, move_id, list(zone.former), list(zone.wanted), change_id),
        )
    await tx.run("UPDATE zone_move SET taken = %s WHERE id = %s", (found[-1][0], move_id))
    return True


@attrs.frozen
class _Promoted:
    """A zone that was just given its new master beside the old one."""

    id: int
    name: str
    former: tuple[str, ...]
    wanted: tuple[str, ...]


async def _promote(
    work: Work,
    zones: Sequence[tuple[int, str]],
    roles: Roles,
    servers: Mapping[str, NameServer],
    *,
    now: int,
    draw: random.Random,
) -> list[_Promoted]:
    """Choose the servers of zones, by id and name, and take these through the first phase."""
    promoted = []
    for zone_id, name in zones:
        zone = await load_zone(work.tx, name, lock=True)
        if zone is None:
            continue  # deleted a moment ago
        former = tuple(server.logical_server for server in zone.servers)
        wanted = wanted_servers(former, roles, draw)
        await promote(work, zone, _placed(wanted, zone.servers, servers), now=now)
        promoted.append(_Promoted(zone_id, name, former, wanted))
    return promoted


def _placed(
    wanted: Sequence[str], former: Sequence[NameServer], servers: Mapping[str, NameServer]
) -> tuple[NameServer, ...]:
    """Give the servers ``wanted``, the first as master, and the former ones beside them."""
    placed = [
        attrs.evolve(servers[server], role="secondary" if place else "master")
        for place, server in enumerate(wanted)
    ]
    beside = [server for server in former if server.logical_server not in wanted]
    return (*placed, *(attrs.evolve(server, role="secondary") for server in beside))


async def _name_servers(tx: Transaction, ids: set[str]) -> dict[str, NameServer]:
    found = await tx.rows(
        """SELECT s.id::text, s.name, host(i.address), i.port, host(m.address), m.port
           FROM logical_server s
           JOIN ip_address i ON i.logical_server_id = s.id AND i.type = 'service'
           LEFT JOIN ip_address m ON m.logical_server_id = s.id AND m.type = 'moving'
           WHERE s.id = ANY(%s::uuid[])""",
        (sorted(ids),),
    )
    return {
        server: NameServer(
            server,
            name,
            Endpoint(address=address, port=port),
            "secondary",
            second_endpoint(beside, beside_port),
        )
        for server, name, address, port, beside, beside_port in found
    }


def _change(tx: Transaction, move: int, phase: Phase, zones: int) -> ChangeWriter:
    request = {"move": move, "phase": phase, "zones": zones}
    return ChangeWriter(tx, _PRINCIPAL, "dns.move", request, f"move {move} of zones")


class ZoneMover(Job):
    """Moves zones for as long as there are moves; ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        now: Callable[[], float],
        draw: random.Random,
        at: CrashSite = pass_by,
    ) -> None:
        async def step(tx: Transaction) -> Outcome:
            return await advance(tx, now=now(), draw=draw)

        super().__init__(database, clock, _PRINCIPAL, CHANNEL, step, at=at)
