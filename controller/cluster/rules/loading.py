"""Reading a `ModelView` from the database: of the whole model, or of the part a change touches."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs

from controller.cluster.rules.view import (
    Addresses,
    Box,
    Endpoint,
    GroupCount,
    ModelView,
    Server,
    SharedAddress,
    SharedCertificate,
)
from controller.storage.database import Transaction


@attrs.frozen
class Part:
    """A part of the model: boxes and logical servers by their ids.

    A logical server brings its boxes, and a box all that is on it.
    """

    boxes: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()

    @staticmethod
    def of(boxes: Iterable[str] = (), servers: Iterable[str] = ()) -> "Part":
        """Give the part with these ids, each once and in their order."""
        return Part(tuple(sorted(set(boxes))), tuple(sorted(set(servers))))


_BOXES = """
SELECT b.id::text, b.name, host(b.address), masklen(b.address), b.os_family, b.groups, b.intent,
       b.retired_at IS NOT NULL
FROM box b
"""

_BOXES_OF_PART = """
WHERE b.id = ANY(%s::uuid[])
   OR b.id IN (SELECT box_id FROM lane WHERE logical_server_id = ANY(%s::uuid[]))
"""

_LOCK = f"SELECT b.name FROM box b {_BOXES_OF_PART} ORDER BY b.id FOR NO KEY UPDATE"  # noqa: S608

_SERVERS = """
SELECT s.id::text, s.name, s.group_name, s.service_type,
       coalesce(array_agg(b.name ORDER BY b.name) FILTER (WHERE b.name IS NOT NULL), '{}'),
       s.signup, s.settings
FROM logical_server s LEFT JOIN lane l ON l.logical_server_id = s.id
LEFT JOIN box b ON b.id = l.box_id
"""

_SERVERS_OF_PART = """
WHERE s.id IN (SELECT id FROM logical_server WHERE group_name = 'dns'
               UNION SELECT unnest(%s::uuid[])
               UNION SELECT logical_server_id FROM lane WHERE box_id = ANY(%s::uuid[]))
"""

# Dedicated addresses are counted together; see `Addresses`.
_ADDRESSES = """
SELECT s.name, i.type, host(min(i.address)), i.prefix, i.port, i.tag, count(*)
FROM ip_address i JOIN logical_server s ON s.id = i.logical_server_id
{where}
GROUP BY s.name, i.type, i.prefix, i.port, i.tag,
         CASE WHEN i.type <> 'dedicated' THEN i.address
              WHEN i.prefix = masklen(i.address) THEN set_masklen(i.address, 0)::cidr::inet
              ELSE network(set_masklen(i.address, i.prefix))::inet END
ORDER BY s.name, i.type, min(i.address), i.port
"""

_SHARED_ADDRESSES = """
SELECT host(i.address), s.name, i.port, coalesce((s.settings->>'tls_port')::int, 0),
       t.name, o.port, coalesce((t.settings->>'tls_port')::int, 0)
FROM ip_address i JOIN ip_address o ON o.address = i.address AND o.id <> i.id
JOIN logical_server s ON s.id = i.logical_server_id
JOIN logical_server t ON t.id = o.logical_server_id
WHERE {where}
ORDER BY i.address, s.name, t.name
"""

# A text of its own for each: one for both could not be planned well.
_OF_PART = "i.logical_server_id = ANY(%s::uuid[])"
# Of dedicated addresses, only those at the TLS port say anything of the server itself.
_OWN = f"{_OF_PART} AND (i.type <> 'dedicated' OR i.port::text = s.settings->>'tls_port')"
_ALL_ADDRESSES = _ADDRESSES.format(where="")
_ADDRESSES_OF_PART = _ADDRESSES.format(where=f"WHERE {_OF_PART}")
_OWN_ADDRESSES = _ADDRESSES.format(where=f"WHERE {_OWN}")
_ALL_SHARED = _SHARED_ADDRESSES.format(where="i.id < o.id")
_SHARED_OF_PART = _SHARED_ADDRESSES.format(where=_OF_PART)

_CLUSTER = """
SELECT (SELECT count(*) FROM box),
       coalesce((SELECT jsonb_agg(jsonb_build_array(g.group_name, g.servers, g.open, g.first)
                                  ORDER BY g.group_name)
                 FROM (SELECT group_name, count(*) AS servers,
                              count(*) FILTER (WHERE signup) AS open, min(name) AS first
                       FROM logical_server GROUP BY group_name) g), '[]')
"""


_CERTIFICATES = """
SELECT domain, floor(extract(epoch FROM not_after - to_timestamp(%s)) / 86400)::int
FROM shared_certificate ORDER BY domain
"""


async def lock_boxes(tx: Transaction, part: Part) -> frozenset[str]:
    """Lock the boxes of a part: changes to what is on one box are judged one after the other.

    Gives their names. A server that moved while a lock was awaited is on another box by now.
    """
    found = await tx.rows(_LOCK, (list(part.boxes), list(part.servers)))
    return frozenset(name for (name,) in found)


async def load_view(
    tx: Transaction,
    part: Part | None = None,
    *,
    servers_alone: bool = False,
    now: float | None = None,
    pause: Callable[[], Awaitable[None]] | None = None,
) -> ModelView:
    """Read a part of the model, or all of it where ``part`` is None.

    ``servers_alone`` is for what is to be said of the logical servers of the part themselves, with
    nothing to be written: only their own addresses are read, of dedicated ones those judged.
    ``now`` (seconds since the epoch) is when certificates are judged, of all of the model.
    ``pause`` gives others their turn while much is read.
    """
    if part is None:
        boxes = await tx.rows(f"{_BOXES} ORDER BY b.name")
        found = await tx.rows(f"{_SERVERS} GROUP BY s.id ORDER BY s.name")
        here = found
        addresses = await tx.rows(_ALL_ADDRESSES)
        shared = await tx.rows(_ALL_SHARED)
    else:
        boxes = await tx.rows(
            f"{_BOXES} {_BOXES_OF_PART} ORDER BY b.name", (list(part.boxes), list(part.servers))
        )
        touched = [row[0] for row in boxes]
        names = {row[1] for row in boxes}
        found = await tx.rows(
            f"{_SERVERS} {_SERVERS_OF_PART} GROUP BY s.id ORDER BY s.name",
            (list(part.servers), touched),
        )
        here = [row for row in found if row[0] in part.servers or names & set(row[4])]
        if servers_alone:
            addresses = await tx.rows(_OWN_ADDRESSES, (list(part.servers),))
            shared = []
        else:
            ids = [row[0] for row in here]
            addresses = await tx.rows(_ADDRESSES_OF_PART, (ids,))
            shared = await tx.rows(_SHARED_OF_PART, (ids,))
    count, groups = await tx.row(_CLUSTER)
    certificates = [] if now is None or part else await tx.rows(_CERTIFICATES, (now,))
    servers = tuple(_server(row) for row in here)
    if pause is not None:
        await pause()
    counted = tuple(Addresses(*row) for row in addresses)
    if pause is not None:
        await pause()
    return ModelView(
        boxes=tuple(_box(row) for row in boxes),
        servers=servers,
        addresses=counted,
        shared_addresses=tuple(
            SharedAddress(row[0], Endpoint(*row[1:4]), Endpoint(*row[4:7])) for row in shared
        ),
        name_servers=tuple(_server(row) for row in found if row[2] == "dns"),
        groups=tuple(GroupCount(*row) for row in groups),
        boxes_in_cluster=count,
        shared_certificates=tuple(SharedCertificate(*row) for row in certificates),
    )


def _box(row: tuple[Any, ...]) -> Box:
    return Box(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), row[6], row[7])


def _server(row: tuple[Any, ...]) -> Server:
    return Server(row[0], row[1], row[2], row[3], tuple(row[4]), row[5], row[6])
