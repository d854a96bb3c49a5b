"""Logical servers to their own object, ``server``. Pure.

A server without an endpoint has nothing to listen on, so it has no object yet.
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs
import msgspec

from templates import registry
from templates.apache import objects as apache
from templates.bind import objects as bind
from templates.objects import Spec
from templates.service_type import Endpoint

MOVING, BESIDE, HELD = "moving", "beside", "held"
"""What the second address of a server is that is being renumbered: listened on and known to the
other name servers, listened on alone, or only kept from others."""
SECOND = (MOVING, BESIDE, HELD)
LISTENING = frozenset({"shared", "service", MOVING, BESIDE})
"""Types of addresses that stand in a server's own configuration."""


@attrs.frozen
class ServerRow:
    """A logical server as stored."""

    id: str
    name: str
    group: str
    service_type: str
    settings: Mapping[str, object]


@attrs.frozen
class AddressRow:
    """An address of a logical server."""

    address: str
    port: int
    type: str


def endpoints(addresses: Iterable[AddressRow]) -> tuple[Endpoint, ...]:
    """Give what a server listens on, in a stable order: the first is where it asks others from.

    The second address of a server that is being renumbered comes last. A dedicated address is an
    object of its own, from when a site takes it (R355); mail leaves from outgoing and bouncing
    addresses, and nothing listens there.
    """
    return tuple(
        Endpoint(address=row.address, port=row.port)
        for row in sorted(addresses, key=lambda row: (row.type in SECOND, row.address, row.port))
        if row.type in LISTENING
    )


def server_spec(
    server: ServerRow,
    addresses: Iterable[AddressRow],
    *,
    transfer_key: bind.TsigKey | None = None,
    fallback: apache.Certificate | None = None,
    shared: Sequence[apache.SharedCertificate] = (),
) -> Spec | None:
    """Give the object of a server, or None while it has no endpoint."""
    listening = endpoints(addresses)
    if not listening:
        return None
    service_type = registry.SERVICE_TYPES[server.service_type]
    rendered = service_type.rendered or service_type.settings
    shown = {field.name for field in msgspec.structs.fields(rendered)}
    settings = msgspec.convert(
        {name: value for name, value in server.settings.items() if name in shown}, type=rendered
    )
    if isinstance(settings, bind.BindSettings):
        if transfer_key is None:
            raise ValueError("a name server needs the transfer key")
        return bind.ServerSpec(
            name=server.name, endpoints=listening, settings=settings, transfer_key=transfer_key
        )
    if isinstance(settings, apache.ApacheSettings):
        return apache.ServerSpec(
            name=server.name,
            endpoints=listening,
            settings=settings,
            fallback=fallback,
            shared=tuple(shared) or msgspec.UNSET,
        )
    raise ValueError(f"no projection for {server.service_type}")
