"""IP addresses as stored: finding, listing and judging them, a range at a time."""

from collections.abc import Mapping
from typing import Any

import attrs

from controller.cluster.addresses import addresses
from controller.cluster.addresses.addresses import AddressRange
from controller.projection.servers import SECOND, ServerRow
from controller.refusal import CommandError
from controller.storage.database import Transaction

_SAMPLE = 10
"""Names that `used_by` gives; the rest is counted."""
_COUNTED = 1000
"""The most that `used_by` counts."""

LIST = """
SELECT i.id, host(i.address), i.prefix, i.port, i.type, i.tag, s.name, s.id::text,
       CASE WHEN i.site_id IS NOT NULL
            THEN (SELECT d.name FROM site x JOIN domain d ON d.id = x.domain_id
                  WHERE x.id = i.site_id)
            -- Not EXISTS, which would be worked out for all addresses or servers at once.
            WHEN (SELECT true FROM site x WHERE x.ip_address_id = i.id LIMIT 1) THEN 'sites'
            WHEN i.type = 'service' AND (
                SELECT true FROM zone_server n JOIN zone z ON z.id = n.zone_id
                WHERE n.logical_server_id = i.logical_server_id AND z.domain_id IS NOT NULL LIMIT 1)
            THEN 'zones' ELSE '' END,
       coalesce((SELECT m.id FROM address_move m
                 WHERE m.ended_at IS NULL AND m.server_id = i.logical_server_id
                 AND m.port = i.port AND i.address IN (m.old, m.new)), 0)
FROM ip_address i JOIN logical_server s ON s.id = i.logical_server_id
"""

ANSWERED = """
EXISTS (SELECT FROM ip_address shared WHERE shared.logical_server_id = i.logical_server_id
        AND shared.type = 'shared' AND shared.port = i.port)
"""
"""SQL: the web server of the address ``i`` answers on its port, as it does where it is shared."""


@attrs.frozen
class AddressRow:
    """An address of a logical server as commands need it."""

    id: int
    ip: str
    prefix: int
    port: int
    type: str
    tag: int | None
    server: str
    server_id: str
    used_by: str
    """The domain that has a dedicated address, or ``sites`` or ``zones``; empty where unused."""
    move: int = 0
    """The move of an address that it belongs to; 0 where there is none."""

    @property
    def key(self) -> str:
        """The name of its row in a change."""
        return f"{self.ip} {self.port}"

    def shown(self) -> dict[str, Any]:
        """Give it as commands answer it."""
        return {
            "id": self.id,
            "ip": self.ip,
            "prefix": self.prefix,
            "port": self.port,
            "type": "second" if self.type in SECOND else self.type,
            "tag": self.tag,
            "logical_server": self.server,
            "used_by": self.used_by,
            "move": self.move or None,
        }


async def find_address(tx: Transaction, ip: str, port: int | None) -> AddressRow:
    """Give the address; raises `CommandError` ``ip.unknown`` and ``ip.ambiguous``."""
    wanted = addresses.address(ip)
    found = [
        AddressRow(*row)
        for row in await tx.rows(
            f"{LIST} WHERE i.address = %s::inet ORDER BY i.port", (str(wanted),)
        )
    ]
    fitting = [row for row in found if port in (None, row.port)]
    if not fitting:
        raise CommandError(
            "ip.unknown",
            "no logical server has this address",
            field="ip",
            value=ip,
            allowed="hsctl ip list shows the addresses",
            status=404,
        )
    if len(fitting) > 1:
        raise CommandError(
            "ip.ambiguous",
            "several servers answer on this address",
            field="port",
            value=ip,
            allowed="one of the ports "
            + ", ".join(f"{row.port} ({row.server})" for row in fitting),
            status=409,
        )
    return fitting[0]


def check_not_moving(row: AddressRow) -> None:
    """See that an address does not belong to a move; raises `CommandError` ``ip.moving``."""
    if row.move:
        raise CommandError(
            "ip.moving",
            f"{row.server} is being renumbered, and this is one of its two addresses",
            field="ip",
            value=row.ip,
            allowed=f"hsctl ip watch {row.move} follows the move, hsctl ip stop {row.move} gives "
            "up one that has not switched",
            status=409,
        )


_ZONES_OF = """
SELECT d.name FROM zone_server n JOIN zone z ON z.id = n.zone_id
JOIN domain d ON d.id = z.domain_id WHERE n.logical_server_id = %s LIMIT %s
"""

_SITES_OF = """
SELECT d.name FROM site x JOIN domain d ON d.id = x.domain_id WHERE x.ip_address_id = %s LIMIT %s
"""


async def used_by(tx: Transaction, row: AddressRow) -> dict[str, Any]:
    """Count what uses an address, up to 1000, and name the first ten domains."""
    if row.type == "service":
        found = await tx.rows(_ZONES_OF, (row.server_id, _COUNTED))
    else:
        found = await tx.rows(_SITES_OF, (row.id, _COUNTED))
    names = sorted(name for (name,) in found)
    return {
        "zones" if row.type == "service" else "sites": len(names),
        "domains": names[:_SAMPLE],
    }


async def lock_endpoints(tx: Transaction) -> None:
    """Have additions of addresses, and changes of TLS ports, wait for each other until the end.

    No constraint of the database sees TLS ports.
    """
    await tx.run("SELECT pg_advisory_xact_lock(hashtext('ip.add'))")


async def check_endpoints_free(
    tx: Transaction, server: ServerRow, wanted: AddressRange, port: int
) -> None:
    """Check that no endpoint of the range is taken (R354), nor the TLS port beside one.

    Raises `CommandError` ``ip.endpoint.taken`` and ``ip.port.tls``.
    """
    await lock_endpoints(tx)
    tls_port = tls_port_of(server.settings)
    if tls_port == port:
        raise CommandError(
            "ip.port.tls",
            f"port {port} is the TLS port of {server.name}",
            field="port",
            value=str(port),
            allowed="another port for plain HTTP",
        )
    taken = await tx.maybe(
        """SELECT s.name, host(i.address), i.port, (s.settings->>'tls_port')::int
           FROM ip_address i JOIN logical_server s ON s.id = i.logical_server_id
           WHERE i.address BETWEEN %s::inet AND %s::inet
           AND (i.port = %s OR i.logical_server_id <> %s
                AND (i.port = %s OR (s.settings->>'tls_port')::int IN (%s, nullif(%s, 0))))
           ORDER BY i.address LIMIT 1""",
        (str(wanted.first), str(wanted.last), port, server.id, tls_port, port, tls_port),
    )
    if taken is not None:
        owner, address, plain, tls = taken
        raise CommandError(
            "ip.endpoint.taken",
            f"{owner} answers on {address} at port {plain}"
            + (f" and, for TLS, at {tls}" if tls else ""),
            field="first",
            value=address,
            allowed="an address, or ports, that no other server of the cluster uses",
        )


def tls_port_of(settings: Mapping[str, object]) -> int:
    """Give the port that a server with these settings answers TLS on, 0 where it does not."""
    port = settings.get("tls_port", 0)
    return port if isinstance(port, int) else 0


async def insert_range(
    tx: Transaction,
    server: ServerRow,
    wanted: AddressRange,
    *,
    prefix: int,
    port: int,
    type_: str,
    tag: int | None,
) -> None:
    """Add every address of a range, by one statement whatever their number."""
    await tx.run(
        """INSERT INTO ip_address (logical_server_id, address, prefix, port, type, tag)
           SELECT %s, %s::inet + g, %s, %s, %s, %s FROM generate_series(0, %s) AS g""",
        (server.id, str(wanted.first), prefix, port, type_, tag, wanted.count - 1),
    )


async def web_port(tx: Transaction, server: ServerRow) -> int | None:
    """Give the port of a server's default shared address, None where it has none (R334)."""
    row = await tx.maybe(
        """SELECT port FROM ip_address WHERE logical_server_id = %s AND type = 'shared'
           ORDER BY tag LIMIT 1""",
        (server.id,),
    )
    return None if row is None else int(row[0])
