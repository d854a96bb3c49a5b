"""Where the logical servers of a local cluster answer: as the model has them, once there is one."""

import socket
from typing import Any

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import msgspec

from controller.client.client import Client
from controller.local.layout import ClusterPlan, Place

_ANSWER_SECONDS = 2.0
_LEFT_ALONE = frozenset(("held", "ahead", "modelled"))
"""Conditions of a lane to which nothing comes by waiting."""
_SECOND = "second"
"""The type of an address that a server has beside its own while it is renumbered."""


@attrs.frozen
class Server:
    """A logical server on one of the cluster's own boxes; ``place`` is None without an address."""

    name: str
    service_type: str
    box: str
    place: Place | None
    tls_port: int | None = None
    settled: bool = True
    """Whether its boxes have applied all that they shall serve."""
    awaited: bool = True
    """Whether it is worth waiting for: no person holds it, and boxes run its type."""

    def described(self) -> dict[str, Any]:
        """Give what `hsctl local status` says of it."""
        found: dict[str, Any] = {
            "name": self.name,
            "type": self.service_type,
            "address": None if self.place is None else self.place.address,
            "port": None if self.place is None else self.place.port,
        }
        return found if self.tls_port is None else {**found, "tls_port": self.tls_port}


def planned(plan: ClusterPlan) -> list[Server]:
    """Give the servers as they were chosen when the cluster was made, or last seen in its model."""
    return [
        Server(
            name=f"{box.name}.{plan.service_domain}",
            service_type=box.service_type,
            box=box.name,
            place=box.endpoint,
            tls_port=box.tls_port,
        )
        for box in plan.boxes
    ]


def modelled(client: Client, plan: ClusterPlan) -> list[Server]:
    """Give the servers that the model has on the cluster's boxes; raises `HsctlError`."""
    boxes = {box.name for box in plan.boxes}
    found = []
    for server in client.pages("lserver.list", {}):
        lanes = [lane for lane in server["lanes"] if lane["pserver"] in boxes]
        if lanes:
            first = next((ip for ip in server["ips"] if ip["type"] != _SECOND), None)
            found.append(
                Server(
                    name=server["name"],
                    service_type=server["type"],
                    box=lanes[0]["pserver"],
                    place=None if first is None else Place(first["ip"], first["port"]),
                    tls_port=server["settings"].get("tls_port"),
                    settled=all(
                        lane["connected"] and lane["settled_revision"] >= server["revision"]
                        for lane in lanes
                    ),
                    awaited=not any(lane["condition"] in _LEFT_ALONE for lane in lanes),
                )
            )
    return found


def behind(client: Client, plan: ClusterPlan) -> list[str]:
    """Name the servers that have not yet applied all they must serve, or do not answer."""
    return [
        server.name
        for server in modelled(client, plan)
        if server.awaited and not (server.settled and answers(server, plan.service_domain))
    ]


def answers(server: Server, service_domain: str) -> bool:
    """Whether a server's daemon answers where it has an address.

    A name server must know the service domain with authority, or that it has nothing to do with it:
    one that still loads its zones says neither.
    """
    place = server.place
    if place is None:
        return True
    try:
        if server.service_type == "bind":
            query = dns.message.make_query(service_domain, "SOA")
            told = dns.query.udp(query, place.address, port=place.port, timeout=_ANSWER_SECONDS)
            known = bool(told.answer) and bool(told.flags & dns.flags.AA)
            return known or told.rcode() == dns.rcode.REFUSED
        socket.create_connection((place.address, place.port), timeout=_ANSWER_SECONDS).close()
    except (OSError, dns.exception.DNSException):
        return False
    return True


def followed(plan: ClusterPlan, servers: list[Server]) -> ClusterPlan:
    """Give the plan with each box's server where the model has it now."""
    now = {(server.box, server.service_type): server for server in reversed(servers)}
    boxes = []
    for box in plan.boxes:
        server = now.get((box.name, box.service_type))
        if server is not None and server.place is not None:
            box = msgspec.structs.replace(  # noqa: PLW2901
                box, endpoint=server.place, tls_port=server.tls_port
            )
        boxes.append(box)
    return msgspec.structs.replace(plan, boxes=tuple(boxes))
