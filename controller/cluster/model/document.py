"""The cluster's model as one document: boxes, logical servers with their addresses and settings.

Its words are those of the commands, its ids are names: so it can be read, kept beside other
configuration, compared, and imported elsewhere. What customers own is not part of it, nor what is
observed of boxes, nor any secret. Pure.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any

import attrs
import msgspec

from controller import names
from controller.cluster.addresses import addresses
from controller.refusal import CommandError

FORMAT = 1


class AddressEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address of a logical server, or a range of them where ``last`` is given."""

    ip: str
    mask: int
    type: str
    port: int
    last: str = ""
    tag: int | None = None


class ServerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A logical server; ``pserver`` is a list where it runs on several boxes."""

    group: str
    type: str
    pserver: str | tuple[str, ...]
    description: str = ""
    signup: bool = False
    settings: dict[str, Any] = {}
    addresses: tuple[AddressEntry, ...] = ()


class BoxEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A physical server; ``ip`` has its prefix length (``192.0.2.1/24``)."""

    ip: str
    groups: tuple[str, ...]
    os_family: str = "linux"
    description: str = ""
    intent: str = "open"
    monitoring: bool = True


class PlacementEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How new sites or zones are placed in a server group, where that is not at random."""

    policy: str
    weights: dict[str, int] = {}
    pinned: str = ""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole model, things by name. ``service_domain`` empty fits every cluster.

    ``placement`` is by server group; one that is left out is placed at random.
    """

    format: int
    service_domain: str = ""
    boxes: dict[str, BoxEntry] = {}
    logical_servers: dict[str, ServerEntry] = {}
    placement: dict[str, PlacementEntry] = {}


def shown(document: Document) -> dict[str, Any]:
    """Give a document as plain data, names in order; what is at its default is left out."""
    things = {
        section: {name: _plain(thing) for name, thing in sorted(found.items())}
        for section, found in (
            ("boxes", document.boxes),
            ("logical_servers", document.logical_servers),
            ("placement", document.placement),
        )
    }
    if not document.placement:
        del things["placement"]
    return {"format": document.format, "service_domain": document.service_domain, **things}


def _plain(thing: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(thing):
        value = getattr(thing, field.name)
        made = field.default_factory
        if value == (field.default if made is msgspec.NODEFAULT else made()):
            continue
        if field.name == "addresses":
            value = [_plain(entry) for entry in value]
        elif isinstance(value, dict):
            value = dict(sorted(value.items()))
        found[field.name] = list(value) if isinstance(value, tuple) else value
    return found


def read_document(given: Mapping[str, Any]) -> Document:
    """Read a document; names and addresses are given in the form in which they are stored.

    Raises `CommandError` ``model.format.unknown``, ``model.invalid`` with the place in the
    document, or what the commands say of a name or an address.
    """
    if given.get("format") != FORMAT:
        raise CommandError(
            "model.format.unknown",
            "not a model that this program can read",
            field="model.format",
            value=str(given.get("format", "")),
            allowed=str(FORMAT),
        )
    try:
        document = msgspec.convert(given, Document)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$")
        raise CommandError(
            "model.invalid",
            words[:1].lower() + words[1:],
            field=f"model{place.rstrip('`')}",
            allowed="a model as hsctl model export writes it",
        ) from error
    boxes: dict[str, BoxEntry] = {}
    for name, box in document.boxes.items():
        with _naming(name):
            _put(boxes, names.box_name(name), _box(box), name)
    servers: dict[str, ServerEntry] = {}
    for name, server in document.logical_servers.items():
        with _naming(name):
            stored = names.domain_name(name, error_id="lserver.name.invalid")
            _put(servers, stored, _server(server), name)
    placement = {name: _placement(entry) for name, entry in document.placement.items()}
    return msgspec.structs.replace(
        document, boxes=boxes, logical_servers=servers, placement=placement
    )


@contextmanager
def _naming(thing: str) -> Iterator[None]:
    """Say in a refusal which thing of the document it is about."""
    try:
        yield
    except CommandError as error:
        raise attrs.evolve(error, message=f"{error.message} (of {thing})") from error


def _put(things: dict[str, Any], name: str, thing: Any, given: str) -> None:
    if name in things:
        raise CommandError(
            "model.name.twice", "the model names it twice", field="model", value=given, allowed=name
        )
    things[name] = thing


def _box(box: BoxEntry) -> BoxEntry:
    text, _, mask = box.ip.partition("/")
    address = addresses.address(text)
    prefix = addresses.prefix_length(mask, address)
    return msgspec.structs.replace(box, ip=str(ip_interface(f"{address}/{prefix}")))


def _server(server: ServerEntry) -> ServerEntry:
    boxes = server.pserver
    named = boxes.lower() if isinstance(boxes, str) else tuple(name.lower() for name in boxes)
    kept = tuple(_address(entry) for entry in server.addresses)
    return msgspec.structs.replace(server, pserver=named, addresses=kept)


def _placement(entry: PlacementEntry) -> PlacementEntry:
    weights = {names.server_name(name): weight for name, weight in entry.weights.items()}
    return msgspec.structs.replace(entry, weights=weights, pinned=names.server_name(entry.pinned))


def _address(entry: AddressEntry) -> AddressEntry:
    first = addresses.address(entry.ip)
    addresses.prefix_length(str(entry.mask), first)
    addresses.port(entry.port)
    last = addresses.address(entry.last, field="last") if entry.last else first
    if type(last) is not type(first) or int(last) < int(first):
        raise CommandError(
            "ip.range.invalid",
            "the range ends before it begins, or mixes families",
            field="model",
            value=f"{entry.ip}-{entry.last}",
            allowed="the last address of the range",
        )
    text = "" if last == first else str(last)
    return msgspec.structs.replace(entry, ip=str(first), last=text)


def address_of(number: int, version: int) -> str:
    """Write an address from its number."""
    return str(IPv4Address(number) if version == 4 else IPv6Address(number))


def place_of(ip: str) -> tuple[int, int]:
    """Give (version, number) of an address, which sort as addresses do."""
    parsed = ip_address(ip)
    return parsed.version, int(parsed)
