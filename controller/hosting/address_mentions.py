"""Where an address, or a server's name, is named by people: what a move leaves to them."""

from typing import Any

from controller.storage.database import Transaction

NAMED = 100
"""Mentions of one kind are named up to here."""

_RECORDS = """
SELECT z.name, r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
WHERE NOT r.generated AND r.type IN ('A', 'AAAA') AND r.data = %s
ORDER BY z.name, r.name LIMIT %s
"""

_POLICIES = """
SELECT z.name, r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
WHERE NOT r.generated AND r.type = 'TXT'
  AND string_to_array(translate(r.data, '"', ' '), ' ') && %s
ORDER BY z.name, r.name LIMIT %s
"""

_TARGETS = """
SELECT z.name, r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
WHERE NOT r.generated AND r.type IN ('CNAME', 'MX', 'NS', 'PTR', 'SRV')
  AND split_part(r.data, ' ', -1) = %s
ORDER BY z.name, r.name LIMIT %s
"""

_SETTINGS = """
SELECT s.name, e.key FROM logical_server s, LATERAL jsonb_each(s.settings) e
WHERE e.value @> to_jsonb(%s::text) ORDER BY s.name, e.key
"""

_BOXES = "SELECT name FROM box WHERE host(address) = %s AND retired_at IS NULL ORDER BY name"

_ZONES_ABOVE = """
SELECT z.name FROM zone z JOIN zone_server n ON n.zone_id = z.id
WHERE n.logical_server_id = %s AND z.name = ANY(%s) ORDER BY z.name
"""


async def records_by_hand(tx: Transaction, ip: str) -> list[dict[str, Any]]:
    """Give records that people have written and that name the address: its own and mail policies.

    The first hundred of each kind.
    """
    found = await tx.rows(_RECORDS, (ip, NAMED))
    family = "ip6" if ":" in ip else "ip4"
    bits = 128 if ":" in ip else 32
    signs, masks = ("", "+", "?", "~", "-"), ("", f"/{bits}")
    words = [f"{sign}{family}:{ip}{mask}" for sign in signs for mask in masks]
    found += await tx.rows(_POLICIES, (words, NAMED))
    return [
        {"zone": zone, "name": name, "type": type_, "data": data}
        for zone, name, type_, data in found
    ]


async def records_naming(tx: Transaction, server: str) -> list[dict[str, Any]]:
    """Give records that people have written and that point to a server, the first hundred."""
    return [
        {"zone": zone, "name": name, "type": type_, "data": data}
        for zone, name, type_, data in await tx.rows(_TARGETS, (f"{server}.", NAMED))
    ]


async def settings_naming(tx: Transaction, ip: str) -> list[dict[str, str]]:
    """Give settings of logical servers that are the address, or have it in a list."""
    return [
        {"server": server, "setting": setting}
        for server, setting in await tx.rows(_SETTINGS, (ip,))
    ]


async def boxes_at(tx: Transaction, ip: str) -> list[str]:
    """Name the boxes whose own address it is."""
    return [name for (name,) in await tx.rows(_BOXES, (ip,))]


async def glue(tx: Transaction, server_id: str, server: str) -> list[str]:
    """Name the zones of a name server that it has its own name in.

    The parents of these hold its address beside the delegation (RFC 1034, 4.2.1).
    """
    labels = server.split(".")
    above = [".".join(labels[place:]) for place in range(len(labels))]
    return [zone for (zone,) in await tx.rows(_ZONES_ABOVE, (server_id, above))]
