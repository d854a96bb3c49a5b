"""Reading the model from the database into a document."""

from typing import Any

from controller.cluster.addresses.types import TYPES
from controller.cluster.model.document import (
    FORMAT,
    AddressEntry,
    BoxEntry,
    Document,
    PlacementEntry,
    ServerEntry,
)
from controller.cluster.placement.rows import read_policies
from controller.storage.database import Transaction

_BOXES = """
SELECT name, host(address) || '/' || masklen(address), groups, os_family, description, intent,
       monitoring
FROM box ORDER BY name
"""

_SERVERS = """
SELECT s.name, s.group_name, s.service_type,
       array(SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
             WHERE l.logical_server_id = s.id ORDER BY b.name),
       s.description, s.signup, s.settings
FROM logical_server s ORDER BY s.name
"""

# Addresses that follow each other and are alike are one range: their distance to their place in
# the order is the same. Types that are added one by one stay apart.
_ADDRESSES = """
SELECT s.name, host(min(i.address)), host(max(i.address)), i.prefix, i.type, i.port, i.tag
FROM (SELECT a.*, CASE WHEN a.type = ANY(%s)
                  THEN a.address - row_number() OVER (
                      PARTITION BY a.logical_server_id, a.type, a.prefix, a.port, a.tag,
                                   family(a.address) ORDER BY a.address)
                  ELSE a.address END AS island
      FROM ip_address a WHERE a.type = ANY(%s)) i
JOIN logical_server s ON s.id = i.logical_server_id
GROUP BY s.name, i.type, i.prefix, i.port, i.tag, i.island
ORDER BY s.name, i.type, min(i.address), i.port
"""


async def read_model(tx: Transaction) -> Document:
    """Give the model as it is."""
    (service_domain,) = await tx.row("SELECT service_domain FROM cluster")
    ranges = [name for name, known in TYPES.items() if known.ranges]
    found: dict[str, list[AddressEntry]] = {}
    for row in await tx.rows(_ADDRESSES, (ranges, list(TYPES))):
        found.setdefault(row[0], []).append(_address(row))
    return Document(
        format=FORMAT,
        service_domain=service_domain,
        boxes={row[0]: BoxEntry(row[1], tuple(row[2]), *row[3:]) for row in await tx.rows(_BOXES)},
        logical_servers={
            row[0]: _server(row, tuple(found.get(row[0], ()))) for row in await tx.rows(_SERVERS)
        },
        placement={
            group: PlacementEntry(policy.name, dict(policy.weights), policy.pinned)
            for group, policy in (await read_policies(tx)).items()
        },
    )


def _server(row: tuple[Any, ...], addresses: tuple[AddressEntry, ...]) -> ServerEntry:
    _, group, type_, boxes, description, signup, settings = row
    pserver = boxes[0] if len(boxes) == 1 else tuple(boxes)
    return ServerEntry(group, type_, pserver, description, signup, settings, addresses)


def _address(row: tuple[Any, ...]) -> AddressEntry:
    _, first, last, prefix, type_, port, tag = row
    return AddressEntry(first, prefix, type_, port, last if last != first else "", tag)
