"""Where the logical servers of a local cluster answer: as the model has them, once there is one."""

import socket
from collections.abc import Iterable
from typing import Any

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import msgspec

from controller.client.client import Client
from controller.local.layout import ClusterPlan, LocalBox, Place
from controller.local.places import is_free

_ANSWER_SECONDS = 2.0
_SECOND = "second"
"""The type of an address that a server has beside its own while it is renumbered."""
_LEFT_ALONE = ("held", "ahead", "blocked", "modelled")
"""Conditions of a lane to which nothing comes by waiting; a person ends the first three."""


@attrs.frozen
class Server:
    """A logical server on one of the cluster's own boxes; ``place`` is None without an address."""

    name: str
    service_type: str
    box: str
    place: Place | None
    tls_port: int | None = None
    condition: str = "ok"
    """Of its lane here that is worst off; ``message`` says more of it."""
    message: str = ""
    connected: bool = True
    """Whether that lane's box has a session: it may be blocked no more where it has none."""
    settled: bool = True
    """Whether its boxes have applied all that they shall serve."""

    @property
    def awaited(self) -> bool:
        """Whether it comes to serve by waiting."""
        gone = self.condition == "blocked" and not self.connected
        return gone or self.condition not in _LEFT_ALONE

    @property
    def note(self) -> str:
        """Why it does not serve, for the one who started the cluster."""
        words = (
            f"{self.name} does not serve yet"
            if self.awaited
            else f"{self.name} is {self.condition}"
        )
        return f"{words}: {self.message.splitlines()[0]}" if self.message else words

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
    """Give the servers as they were chosen when the cluster was made."""
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
            worst = min(lanes, key=lambda lane: (lane["condition"] == "ok", lane["connected"]))
            found.append(
                Server(
                    name=server["name"],
                    service_type=server["type"],
                    box=worst["pserver"],
                    place=None if first is None else Place(first["ip"], first["port"]),
                    tls_port=server["settings"].get("tls_port"),
                    condition=worst["condition"],
                    message=worst["message"],
                    connected=worst["connected"],
                    settled=all(
                        lane["connected"]
                        and lane["condition"] == "ok"
                        and lane["settled_revision"] >= server["revision"]
                        for lane in lanes
                    ),
                )
            )
    return found


def behind(servers: Iterable[Server], service_domain: str) -> list[Server]:
    """Give those that have not yet applied all they must serve, or do not answer."""
    return [
        server
        for server in servers
        if server.awaited and not (server.settled and answers(server, service_domain))
    ]


def taken(servers: Iterable[Server]) -> list[str]:
    """Say which places of servers, none of which runs yet, another program has."""
    return [
        f"{server.place}, where {server.name} answers, is taken by another program"
        for server in servers
        if server.place is not None
        and not is_free(server.place, datagram=server.service_type == "bind")
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


def followed(plan: ClusterPlan, servers: Iterable[Server]) -> ClusterPlan:
    """Give the plan with each box's own server where the model has it now.

    It is the one that has the name it was made with, else the only one of its type on the box.
    """
    known = [server for server in servers if server.place is not None]

    def own(box: LocalBox) -> Server | None:
        there = [
            one for one in known if (one.box, one.service_type) == (box.name, box.service_type)
        ]
        named = [one for one in there if one.name == f"{box.name}.{plan.service_domain}"]
        found = named or there
        return found[0] if len(found) == 1 else None

    def moved(box: LocalBox) -> LocalBox:
        server = own(box)
        if server is None or server.place is None:
            return box
        return msgspec.structs.replace(box, endpoint=server.place, tls_port=server.tls_port)

    return msgspec.structs.replace(plan, boxes=tuple(map(moved, plan.boxes)))
