"""Reading what placement depends on: the servers of a group as they stand, and its policy."""

from collections.abc import Sequence
from itertools import groupby
from random import Random
from typing import Any

import attrs

from controller.cluster.placement.placement import AT_RANDOM, PINNED, WEIGHTED, Policy
from controller.cluster.placement.verdicts import GroupServer, LaneOfServer, Verdict, judge
from controller.cluster.servers.groups import DEFAULT_TAG, WEB_GROUPS
from controller.storage.database import Transaction

SMALL = 64
"""Up to so many open servers a draw reads them all; of more, `SAMPLE` at random."""
SAMPLE = 8
_WHOLE = 2**31

# A row for each box of a server: what is aggregated here would be taken apart again.
_COLUMNS = """
SELECT s.id::text, s.name, s.group_name, s.service_type, s.signup, s.holds,
       coalesce(s.settings->>'used_by', 'all'), coalesce(s.settings->>'role', 'none'),
       i.id, coalesce(host(i.address), ''), coalesce(i.port, 0), host(m.address), m.port,
       coalesce(p.policy, 'random'), w.weight,
       b.name AS box, b.intent, b.first_seen_at IS NOT NULL, b.connected, b.retired_at IS NOT NULL,
       l.condition
"""

_BESIDE = """
LEFT JOIN lane l ON l.logical_server_id = s.id LEFT JOIN box b ON b.id = l.box_id
LEFT JOIN ip_address m ON m.logical_server_id = s.id AND m.type = 'moving'
LEFT JOIN placement p ON p.group_name = s.group_name
LEFT JOIN placement_server w ON w.logical_server_id = s.id
"""

# Of a web server the address with the default tag, where it has one (R335).
_SERVERS = f"""{_COLUMNS} FROM logical_server s {_BESIDE}
LEFT JOIN (SELECT DISTINCT ON (a.logical_server_id) a.logical_server_id, a.id, a.address, a.port
           FROM ip_address a JOIN logical_server g ON g.id = a.logical_server_id
           WHERE g.group_name = %s AND a.type <> 'dedicated' AND a.type = %s
           ORDER BY a.logical_server_id, a.tag <> %s, a.tag) i ON i.logical_server_id = s.id
WHERE s.group_name = %s"""  # noqa: S608 put together of constants
_ORDER = " ORDER BY s.name, b.name"

_RANDOM = "coalesce((SELECT policy FROM placement WHERE group_name = %s), 'random') = 'random'"
# Asked once for the whole statement, before anything of it is read. A closed server may be the one
# that all is pinned to.
_FEW = f""" AND (
    SELECT NOT {_RANDOM} OR count(*) <= %s
    FROM (SELECT FROM logical_server WHERE group_name = %s AND signup LIMIT %s) open)
AND (s.signup OR NOT (SELECT {_RANDOM}))"""  # noqa: S608 put together of constants

_FOR_DOMAIN = f"{_SERVERS} UNION ALL {_SERVERS}{_FEW} ORDER BY name, box"

_DRAWN = f"""
WITH pool AS (SELECT count(*) AS open FROM logical_server WHERE group_name = %s AND signup),
drawn AS (
    SELECT DISTINCT one.id
    FROM pool, unnest(%s::bigint[]) AS u(part), LATERAL (
        SELECT id FROM logical_server WHERE group_name = %s AND signup ORDER BY name
        OFFSET u.part * pool.open / {_WHOLE} LIMIT 1) one
)
{_COLUMNS} FROM drawn JOIN logical_server s USING (id) {_BESIDE}
LEFT JOIN LATERAL (SELECT a.id, a.address, a.port FROM ip_address a
                   WHERE a.logical_server_id = s.id AND a.type <> 'dedicated' AND a.type = %s
                   ORDER BY a.tag <> %s, a.tag LIMIT 1) i ON true{_ORDER}"""  # noqa: S608 put together of constants


@attrs.frozen
class Group:
    """The servers of a group, by name, and how new ones are placed among them."""

    name: str
    servers: tuple[GroupServer, ...]
    policy: Policy

    def verdicts(self) -> tuple[Verdict, ...]:
        """Judge every server."""
        return tuple(judge(server) for server in self.servers)


def policy_of(name: str, weights: dict[str, int]) -> Policy:
    """Put a policy together from its servers: of a pinned group ``weights`` names that one.

    Where every server that had a weight was deleted, all are alike.
    """
    if name == WEIGHTED and weights:
        return Policy(name, weights)
    if name == PINNED:
        return Policy(name, pinned=next(iter(weights), ""))
    return AT_RANDOM if name == WEIGHTED else Policy(name)


async def read_group(tx: Transaction, group: str) -> Group:
    """Give a group whole, by one statement."""
    return _group(group, await tx.rows(f"{_SERVERS}{_ORDER}", _of(group)))


async def read_for_draw(tx: Transaction, group: str, draw: Random) -> Group:
    """Give a group as a draw needs it.

    Of a large group that is placed at random these are a few of its open servers, by chance, as
    long as one of them is fit and well, or fit where none can be well: whichever of those is drawn
    then, each of their kind in the group was as likely. How much is read does not grow with it.
    """
    found = await tx.rows(f"{_SERVERS}{_FEW}{_ORDER}", (*_of(group), *_few(group)))
    return _group(group, found) if found else await _drawn(tx, group, draw)


async def read_for_domain(tx: Transaction, draw: Random) -> tuple[Group, Group]:
    """Give the name servers whole and the web servers as `read_for_draw` does, by one statement:
    every domain that is added asks for both.
    """
    found = await tx.rows(_FOR_DOMAIN, (*_of("dns"), *_of("web"), *_few("web")))
    name_servers, web = ([row for row in found if row[2] == group] for group in ("dns", "web"))
    return (
        _group("dns", name_servers),
        _group("web", web) if web else await _drawn(tx, "web", draw),
    )


async def _drawn(tx: Transaction, group: str, draw: Random) -> Group:
    """Give some servers of a large group, by chance; all of them where none of those will do."""
    parts = [draw.randrange(_WHOLE) for _ in range(SAMPLE)]
    found = await tx.rows(_DRAWN, (group, parts, group, *_of(group)[1:3]))
    drawn = _group(group, found)
    fit = [verdict for verdict in drawn.verdicts() if verdict.fit]
    if any(verdict.well for verdict in fit) or (fit and not await _any_connected(tx)):
        return drawn
    return await read_group(tx, group)


async def _any_connected(tx: Transaction) -> bool:
    """Tell whether a server can be well at all: the boxes of one that is are connected."""
    (found,) = await tx.row("SELECT EXISTS (SELECT FROM box WHERE connected)")
    return bool(found)


def _of(group: str) -> tuple[object, ...]:
    """Give the parameters of `_SERVERS`."""
    return group, "shared" if group in WEB_GROUPS else "service", DEFAULT_TAG, group


def _few(group: str) -> tuple[object, ...]:
    """Give the parameters of `_FEW`."""
    return group, SMALL, group, SMALL + 1, group


def _group(group: str, found: Sequence[tuple[Any, ...]]) -> Group:
    weights = {row[1]: row[14] for row in found if row[14] is not None}
    policy = found[0][13] if found else AT_RANDOM.name
    servers = tuple(_server(list(rows)) for _, rows in groupby(found, key=lambda row: row[0]))
    return Group(group, servers, policy_of(policy, weights))


def _server(rows: Sequence[tuple[Any, ...]]) -> GroupServer:
    lanes = tuple(LaneOfServer(*row[15:]) for row in rows if row[15] is not None)
    return GroupServer(lanes, *rows[0][:13])


async def read_policies(tx: Transaction) -> dict[str, Policy]:
    """Give the policies that were chosen, by group, all of the others being at random."""
    found = await tx.rows(
        """SELECT p.group_name, p.policy,
                  coalesce(jsonb_object_agg(s.name, w.weight ORDER BY s.name)
                           FILTER (WHERE s.id IS NOT NULL), '{}')
           FROM placement p LEFT JOIN placement_server w ON w.group_name = p.group_name
           LEFT JOIN logical_server s ON s.id = w.logical_server_id
           WHERE p.policy <> 'random' GROUP BY p.group_name ORDER BY p.group_name"""
    )
    return {group: policy_of(policy, weights) for group, policy, weights in found}
