"""The DNS records of a logical server: the command ``lserver.records`` (R273, R276).

They are generated in the service zone, and kept right, as the server and its addresses change.
"""

from typing import Any

from controller.cluster.servers.logical_servers import NamedServer, find_server
from controller.commands import Command, Work
from controller.hosting.service_zone import TTL
from controller.hosting.zones import record_shown, records_at
from controller.projection.zones import address_records


async def show(work: Work, request: NamedServer) -> dict[str, Any]:
    """Show the records that point to a server; ``missing`` are those that the service zone lacks.

    A server whose name is outside of the service domain has its records where that name's zone is
    kept: there they are made by hand.
    """
    server = await find_server(work.tx, request.name)
    (domain,) = await work.tx.row("SELECT service_domain FROM cluster")
    found = await work.tx.rows(
        """SELECT host(address) FROM ip_address WHERE logical_server_id = %s
           AND type IN ('shared', 'service')""",
        (server.id,),
    )
    inside = server.name.endswith(f".{domain}")
    owner = server.name.removesuffix(f".{domain}") if inside else "@"
    wanted = address_records([owner], [address for (address,) in found], TTL)
    records = await records_at(work.tx, domain, owner) if inside else ()
    present = {(record.type, record.data) for record in records}
    return {
        "name": server.name,
        "zone": domain,
        "in_service_zone": inside,
        "records": [record_shown(domain, record) for record in records],
        "missing": [
            {"fqdn": server.name, "type": record.type, "ttl": record.ttl, "data": record.data}
            for record in wanted
            if (record.type, record.data) not in present
        ],
    }


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "lserver.records",
        "GET",
        "/lservers/{name}/records",
        NamedServer,
        "provider.read",
        "Show the DNS records of a logical server",
        show,
        "They are generated in the service zone as the server and its addresses change.",
    ),
)
