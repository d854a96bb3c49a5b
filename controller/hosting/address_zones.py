"""The zones that a move of an address passes through, and the name servers that are told of it.

Of an address that a name server is asked at, these are the zones that it has; of another one, the
zones of the sites whose records name it.
"""

from controller.cluster.addresses.rows import AddressRow
from controller.hosting.address_phases import Move
from controller.projection.servers import LISTENING
from controller.storage.database import Transaction

_OF_SERVER = """
FROM zone_server n JOIN zone z ON z.id = n.zone_id
WHERE n.logical_server_id = %s AND n.zone_id > %s
"""
_OF_SITES = """
FROM site s JOIN zone z ON z.domain_id = s.domain_id
WHERE s.logical_server_id = %s AND z.id > %s
  AND EXISTS (SELECT FROM record r WHERE r.zone_id = z.id AND r.name IN ('@', 'www')
              AND r.type IN ('A', 'AAAA') AND r.data = %s AND r.generated)
"""
_COUNT_OF_SERVER = f"SELECT count(*) {_OF_SERVER}"
_COUNT_OF_SITES = f"SELECT count(*) {_OF_SITES}"
_NEXT_OF_SERVER = f"SELECT z.id, z.name {_OF_SERVER} ORDER BY n.zone_id LIMIT %s"
_NEXT_OF_SITES = f"SELECT z.id, z.name {_OF_SITES} ORDER BY z.id LIMIT %s"

# A master is told what changes in a zone; the others only that it is to be asked elsewhere.
_TOLD = """
SELECT DISTINCT l.name FROM zone_server p JOIN logical_server l ON l.id = p.logical_server_id
WHERE p.zone_id IN (SELECT z.id {zones})
      AND (p.role = 'master' OR EXISTS (
          SELECT FROM zone_server m WHERE m.zone_id = p.zone_id AND m.role = 'master'
                                      AND m.logical_server_id = %s AND %s))
   OR p.role = 'master' AND EXISTS (
      SELECT FROM zone v JOIN cluster c ON c.service_domain = v.name
      WHERE v.id = p.zone_id AND (%s AND right(%s, length(v.name) + 1) = '.' || v.name OR EXISTS (
          SELECT FROM site s JOIN ip_address i ON i.id = s.ip_address_id
          WHERE i.logical_server_id = %s AND host(i.address) = %s AND s.alias IS NOT NULL)))
ORDER BY l.name
"""
_TOLD_OF_SERVER = _TOLD.format(zones=_OF_SERVER)
_TOLD_OF_SITES = _TOLD.format(zones=_OF_SITES)


async def next_zones(tx: Transaction, move: Move, most: int) -> list[tuple[int, str]]:
    """Give id and name of the zones that come after the one that the move has come to."""
    if move.announces:
        found = await tx.rows(_NEXT_OF_SERVER, (move.server_id, move.zone_after, most))
    else:
        found = await tx.rows(_NEXT_OF_SITES, (move.server_id, move.zone_after, move.old, most))
    return [(zone, name) for zone, name in found]


async def count_zones(tx: Transaction, announces: bool, server: str, old: str) -> int:
    """Count the zones that a move of a server (its id) from the address ``old`` passes through."""
    if announces:
        (count,) = await tx.row(_COUNT_OF_SERVER, (server, 0))
    else:
        (count,) = await tx.row(_COUNT_OF_SITES, (server, 0, old))
    return int(count)


async def name_servers_told(tx: Transaction, row: AddressRow) -> list[str]:
    """Name the name servers that are told when an address moves, which is not begun yet.

    They have the zones that it passes through, or the service zone, where that names the address:
    as that of the server, or of an alias.
    """
    announces = row.type == "service"
    which = (row.server_id, 0) if announces else (row.server_id, 0, row.ip)
    named = row.type in LISTENING
    found = await tx.rows(
        _TOLD_OF_SERVER if announces else _TOLD_OF_SITES,
        (*which, row.server_id, announces, named, row.server, row.server_id, row.ip),
    )
    return [name for (name,) in found]
