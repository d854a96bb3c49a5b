"""The records that the system generates in the zone of a domain. Pure."""

from controller.projection.zones import (
    NameServer,
    RecordRow,
    address_records,
    name_server_records,
)

ZONE_TTL = 3600
"""Seconds that answers may be kept, where nobody says otherwise."""


def generated_records(
    zone: str, servers: tuple[NameServer, ...], address: str
) -> tuple[RecordRow, ...]:
    """Give the records of a new zone: its NS, the site's address, and glue (RFC 1034, 4.2.1).

    A name server whose own name is in the zone needs its address there, or the zone does not load.
    """
    kept = system_records(zone, servers)
    taken = {record.name for record in kept if record.type != "NS"}
    # As in the web server: no name is longer than 253 bytes.
    own = ("@", "www") if len(f"www.{zone}") <= 253 else ("@",)
    site = address_records([name for name in own if name not in taken], [address], ZONE_TTL)
    return (*kept, *site)


def system_records(zone: str, servers: tuple[NameServer, ...]) -> tuple[RecordRow, ...]:
    """Give the records that the system alone keeps in a zone: its NS, and glue."""
    glue = {
        record
        for server in servers
        if f".{server.name}".endswith(f".{zone}")
        for record in address_records(
            [server.name.removesuffix(zone).removesuffix(".") or "@"],
            [server.endpoint.address],
            ZONE_TTL,
        )
    }
    return (*name_server_records(servers, ZONE_TTL), *sorted(glue))
