"""The servers that a new domain may be placed on, with what its zone and its site need of them."""

from collections.abc import Iterator

import attrs

from controller.cluster.placement.dns_roles import NameServerChoice
from controller.cluster.placement.placement import Candidate
from controller.cluster.placement.rows import Group
from controller.cluster.placement.verdicts import GroupServer
from controller.projection.zones import NameServer, second_endpoint
from templates.service_type import Endpoint


@attrs.frozen
class NameServerCandidate(NameServerChoice):
    """A name server that a zone may be placed on."""

    address: str = ""
    port: int = 0
    beside: str | None = None
    """Its second address while it is renumbered."""
    beside_port: int | None = None

    def serving(self, role: str) -> NameServer:
        """Give it as a server of a zone."""
        return NameServer(
            self.id,
            self.name,
            Endpoint(address=self.address, port=self.port),
            role,
            second_endpoint(self.beside, self.beside_port),
        )


@attrs.frozen
class WebServerCandidate(Candidate):
    """A web server that a site may be placed on, with the shared address it would get."""

    ip_address_id: int = attrs.field(kw_only=True)
    address: str = attrs.field(kw_only=True)


def name_server_candidates(group: Group) -> list[NameServerCandidate]:
    """Give the name servers that new zones may go to; for whose zones, each says itself."""
    return [
        NameServerCandidate(
            server.id,
            server.name,
            _box(server),
            server.role,
            server.used_by,
            server.address,
            server.port,
            server.beside,
            server.beside_port,
            holds=server.holds,
            well=well,
        )
        for server, well in _fit(group)
    ]


def web_server_candidates(group: Group) -> list[WebServerCandidate]:
    """Give the servers of a web group that new sites may go to."""
    return [
        WebServerCandidate(
            server.id,
            server.name,
            _box(server),
            holds=server.holds,
            well=well,
            ip_address_id=server.address_id,
            address=server.address,
        )
        for server, well in _fit(group)
        if server.address_id is not None
    ]


def candidates(group: Group) -> list[Candidate]:
    """Give the servers of any group that new ones may go to."""
    return [
        Candidate(server.id, server.name, _box(server), holds=server.holds, well=well)
        for server, well in _fit(group)
    ]


def _fit(group: Group) -> Iterator[tuple[GroupServer, bool]]:
    for verdict in group.verdicts():
        if verdict.fit:
            yield verdict.server, verdict.well


def _box(server: GroupServer) -> str:
    return server.lanes[0].box
