"""Customers' zones that are not where the roles want them: how many, and whom a move touches."""

import attrs

from controller.hosting.zone_placement import Roles
from controller.storage.database import Transaction

NAMED = 100
"""Zones whose delegation changes are named up to here."""

_ELSEWHERE = """
FROM zone z, LATERAL (
    SELECT array_agg(n.logical_server_id) AS servers,
           array_agg(n.logical_server_id) FILTER (WHERE n.role = 'master') AS master
    FROM zone_server n WHERE n.zone_id = z.id) s
WHERE z.owner_id IS NOT NULL AND z.id > %s
  AND NOT EXISTS (SELECT 1 FROM zone_move_zone m WHERE m.zone_id = z.id)
  AND NOT (s.master = ARRAY[%s::uuid] AND s.servers @> %s::uuid[]
           AND s.servers <@ (%s::uuid[] || %s::uuid[]) AND cardinality(s.servers) = %s)
"""
"""Zones after an id that are neither where roles want them nor on their way there."""


def _elsewhere(roles: Roles, after: int = 0) -> tuple[object, ...]:
    """Give the parameters of `_ELSEWHERE`."""
    return (after, roles.master, *_set(roles))


_OTHER_SET = """NOT (s.servers @> %s::uuid[] AND s.servers <@ (%s::uuid[] || %s::uuid[])
                     AND cardinality(s.servers) = %s)"""
"""Whether a zone comes to be on other servers, and not only under another master."""


def _set(roles: Roles) -> tuple[object, ...]:
    """Give the parameters of `_OTHER_SET`."""
    fixed = [roles.master, *roles.named]
    return (fixed, fixed, list(roles.rest), roles.size)


_NEXT = f"SELECT z.id, z.name {_ELSEWHERE} ORDER BY z.id LIMIT %s"

_COUNT = f"""
SELECT count(*), count(*) FILTER (WHERE s.master <> ARRAY[%s::uuid]),
       count(*) FILTER (WHERE {_OTHER_SET}),
       count(*) FILTER (WHERE cardinality(s.servers) > %s) {_ELSEWHERE}
"""

_DELEGATED = f"""
SELECT z.name {_ELSEWHERE} AND {_OTHER_SET}
  AND NOT EXISTS (SELECT FROM cluster c
                  WHERE right(z.name, length(c.service_domain) + 1) = '.' || c.service_domain)
ORDER BY z.name LIMIT %s
"""  # noqa: S608 put together of constants

_HOLDING = f"SELECT DISTINCT unnest(s.servers)::text {_ELSEWHERE}"

# Of the servers without a role those that come first keep a zone: see `wanted_servers`.
_COUNT_LEAVING = """
SELECT n.server::text, count(*) FROM e, LATERAL unnest(e.servers) AS n(server)
WHERE n.server <> ALL(%s::uuid[]) AND NOT (n.server = ANY(%s::uuid[]) AND
    (SELECT count(*) FROM unnest((%s::uuid[])[:array_position(%s::uuid[], n.server)]) AS r(server)
     WHERE r.server = ANY(e.servers)) <= %s)
GROUP BY n.server
"""
_LEAVING = f"WITH e AS (SELECT s.servers {_ELSEWHERE}) {_COUNT_LEAVING}"

_ABOVE = f"""
SELECT l.name FROM cluster c JOIN zone v ON v.name = c.service_domain
JOIN zone_server p ON p.zone_id = v.id AND p.role = 'master'
JOIN logical_server l ON l.id = p.logical_server_id
WHERE EXISTS (SELECT {_ELSEWHERE} AND right(z.name, length(v.name) + 1) = '.' || v.name
              AND {_OTHER_SET})
"""  # noqa: S608 put together of constants


@attrs.frozen
class Counts:
    """Zones that are elsewhere; of these, those with another master, on other and on fewer ones."""

    zones: int
    masters: int
    sets: int
    fewer: int


async def next_zones(tx: Transaction, roles: Roles, after: int, most: int) -> list[tuple[int, str]]:
    """Give id and name of the zones that come after the one with the id ``after``."""
    found = await tx.rows(_NEXT, (*_elsewhere(roles, after), most))
    return [(zone, name) for zone, name in found]


async def count_zones(tx: Transaction, roles: Roles) -> Counts:
    """Count the zones by what becomes of them."""
    return Counts(
        *await tx.row(_COUNT, (roles.master, *_set(roles), roles.size, *_elsewhere(roles)))
    )


async def delegations(tx: Transaction, roles: Roles) -> list[str]:
    """Name the first zones whose parent has to change the delegation.

    Of the service domain that is done here: see `controller.hosting.third_level`.
    """
    found = await tx.rows(_DELEGATED, (*_elsewhere(roles), *_set(roles), NAMED))
    return [name for (name,) in found]


async def servers_holding(tx: Transaction, roles: Roles) -> list[str]:
    """Name the servers that have zones which are elsewhere."""
    servers = await tx.rows(_HOLDING, _elsewhere(roles))
    found = await tx.rows(
        "SELECT name FROM logical_server WHERE id = ANY(%s::uuid[])",
        ([server for (server,) in servers],),
    )
    return [name for (name,) in found]


async def count_leaving(tx: Transaction, roles: Roles) -> dict[str, int]:
    """Count the zones that leave each server, by its id."""
    fixed, rest = [roles.master, *roles.named], list(roles.rest)
    return dict(
        await tx.rows(_LEAVING, (*_elsewhere(roles), fixed, rest, rest, rest, roles.filled))
    )


async def servers_above(tx: Transaction, roles: Roles) -> list[str]:
    """Name who is told of other delegations in the service zone: its master, or nobody."""
    found = await tx.rows(_ABOVE, (*_elsewhere(roles), *_set(roles)))
    return [name for (name,) in found]
