"""Reading what placement depends on: the servers of a group as they stand, and its policy."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import attrs

from controller.cluster.placement.placement import AT_RANDOM, PINNED, WEIGHTED, Policy
from controller.cluster.placement.verdicts import GroupServer, LaneOfServer, Verdict, judge
from controller.cluster.servers.groups import DEFAULT_TAG, WEB_GROUPS
from controller.storage.database import Transaction

# A row for each box of a server: what is aggregated here would be taken apart again. Of a web
# server the address with the default tag, where it has one (R335).
_SERVERS = """
SELECT s.id::text, s.name, s.group_name, s.service_type, s.signup, s.holds,
       coalesce(s.settings->>'used_by', 'all'), coalesce(s.settings->>'role', 'none'),
       i.id, coalesce(host(i.address), ''), coalesce(i.port, 0), host(m.address), m.port,
       coalesce(p.policy, 'random'), w.weight,
       b.name, b.intent, b.first_seen_at IS NOT NULL, b.connected, b.retired_at IS NOT NULL,
       l.condition
FROM logical_server s
LEFT JOIN lane l ON l.logical_server_id = s.id LEFT JOIN box b ON b.id = l.box_id
LEFT JOIN (SELECT DISTINCT ON (a.logical_server_id) a.logical_server_id, a.id, a.address, a.port
           FROM ip_address a JOIN logical_server g ON g.id = a.logical_server_id
           WHERE g.group_name = %s AND a.type <> 'dedicated' AND a.type = %s
           ORDER BY a.logical_server_id, a.tag <> %s, a.tag) i ON i.logical_server_id = s.id
LEFT JOIN ip_address m ON m.logical_server_id = s.id AND m.type = 'moving'
LEFT JOIN placement p ON p.group_name = s.group_name
LEFT JOIN placement_server w ON w.logical_server_id = s.id
WHERE s.group_name = %s ORDER BY s.name, b.name
"""


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
    """Give a group whole, by one statement: every domain that is added asks for it."""
    address = "shared" if group in WEB_GROUPS else "service"
    found = await tx.rows(_SERVERS, (group, address, DEFAULT_TAG, group))
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
