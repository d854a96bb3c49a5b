"""The part of the model that rules look at, as frozen records. Pure; `loading` reads it."""

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Box:
    """A physical server. ``address`` is its primary one, ``prefix`` that one's length in bits."""

    id: str
    name: str
    address: str
    prefix: int
    os_family: str
    groups: tuple[str, ...]
    intent: str = "open"
    retired: bool = False
    """Whether it was said to be gone for good."""


@attrs.frozen
class Server:
    """A logical server, with the names of the boxes that have a lane of it.

    ``settings`` are as stored: a setting that is left at its default is not among them.
    """

    id: str
    name: str
    group: str
    type: str
    boxes: tuple[str, ...]
    signup: bool = False
    settings: Mapping[str, Any] = attrs.field(factory=dict, hash=False)


@attrs.frozen
class Addresses:
    """Addresses of one server that are alike: ``count`` of them, the lowest of which is ``first``.

    Each address but a dedicated one stands alone. Dedicated ones stand together where server, port,
    prefix length and network are the same (those with a host mask: where the family is), so that a
    hundred thousand of them are a few records.
    """

    server: str
    """The name of the logical server."""
    type: str
    first: str
    prefix: int
    port: int
    tag: int | None = None
    count: int = 1

    @property
    def bits(self) -> int:
        """The length of a host mask: 32 for IPv4, 128 for IPv6."""
        return 128 if ":" in self.first else 32


@attrs.frozen
class Endpoint:
    """What a logical server answers on; ``tls_port`` is 0 where it answers no TLS."""

    server: str
    port: int
    tls_port: int = 0

    @property
    def ports(self) -> frozenset[int]:
        """The ports that it takes."""
        return frozenset({self.port, self.tls_port} - {0})


@attrs.frozen
class SharedAddress:
    """One address that two logical servers, or one twice, answer on."""

    ip: str
    one: Endpoint
    other: Endpoint


@attrs.frozen
class GroupCount:
    """How many logical servers of the whole cluster a group has, and how many take signups."""

    group: str
    servers: int
    open: int
    first: str
    """The name of one of them, the first in order."""


@attrs.frozen
class SharedCertificate:
    """What all names directly below a domain present; ``days_left`` is negative after its end."""

    domain: str
    days_left: int


@attrs.frozen
class ModelView:
    """Boxes with all that is on them: of the whole model, or of the part that a change touches.

    ``name_servers``, ``groups`` and ``boxes_in_cluster`` are of the whole cluster in either case:
    what they say is judged as a whole. ``shared_certificates`` are in the view of the whole model
    alone: time ends them, and no change.
    """

    boxes: tuple[Box, ...] = ()
    servers: tuple[Server, ...] = ()
    addresses: tuple[Addresses, ...] = ()
    shared_addresses: tuple[SharedAddress, ...] = ()
    name_servers: tuple[Server, ...] = ()
    groups: tuple[GroupCount, ...] = ()
    boxes_in_cluster: int = 0
    shared_certificates: tuple[SharedCertificate, ...] = ()
    _by_box: Mapping[str, tuple[Server, ...]] = attrs.field(init=False, repr=False, eq=False)
    _by_server: Mapping[str, tuple[Addresses, ...]] = attrs.field(init=False, repr=False, eq=False)
    _boxes: Mapping[str, Box] = attrs.field(init=False, repr=False, eq=False)

    @_by_box.default
    def _index_boxes(self) -> Mapping[str, tuple[Server, ...]]:
        found: dict[str, list[Server]] = {}
        for server in self.servers:
            for name in server.boxes:
                found.setdefault(name, []).append(server)
        return {name: tuple(servers) for name, servers in found.items()}

    @_by_server.default
    def _index_addresses(self) -> Mapping[str, tuple[Addresses, ...]]:
        found: dict[str, list[Addresses]] = {}
        for addresses in self.addresses:
            found.setdefault(addresses.server, []).append(addresses)
        return {name: tuple(addresses) for name, addresses in found.items()}

    @_boxes.default
    def _index_names(self) -> Mapping[str, Box]:
        return {box.name: box for box in self.boxes}

    def on(self, box: Box) -> tuple[Server, ...]:
        """Give the logical servers on a box, by name."""
        return self._by_box.get(box.name, ())

    def of(self, server: Server, *types: str) -> tuple[Addresses, ...]:
        """Give the addresses of a logical server, those of some types where any are named."""
        found = self._by_server.get(server.name, ())
        return tuple(item for item in found if not types or item.type in types)

    def boxes_of(self, server: Server) -> tuple[Box, ...]:
        """Give the boxes of a logical server that are in the view."""
        return tuple(self._boxes[name] for name in server.boxes if name in self._boxes)
