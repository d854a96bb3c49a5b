"""What an import has to do: the commands that make one model of another. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from controller.cluster.addresses.addresses import MAX_RANGE
from controller.cluster.model.document import (
    AddressEntry,
    BoxEntry,
    Document,
    PlacementEntry,
    ServerEntry,
    address_of,
    place_of,
)
from controller.cluster.placement.placement import AT_RANDOM
from controller.cluster.servers import groups
from controller.cluster.servers.settings import merged, read_settings
from controller.refusal import CommandError
from templates.settings import settings_of


@attrs.frozen
class Step:
    """One command that the import runs, and the thing that it is about."""

    command: str
    about: str
    fields: Mapping[str, Any]


@attrs.frozen
class ImportPlan:
    """The commands in their order; ``left`` are things of the cluster that the document lacks."""

    steps: tuple[Step, ...]
    left: tuple[str, ...]


@attrs.frozen
class _Kind:
    """What addresses of one server share where they are added together."""

    type: str
    mask: int
    port: int
    tag: int | None


_Endpoint = tuple[int, int, int]
"""Version, number and port of an address."""


def plan_import(present: Document, wanted: Document, *, prune: bool) -> ImportPlan:
    """Give the commands that make ``present`` have all that ``wanted`` says.

    Nothing is taken away unless ``prune``, which removes what ``wanted`` lacks. Commands come in an
    order in which each meets what it needs. Raises `CommandError` ``model.conflict`` for a
    difference that no command can make up for, and what reading a setting raises.
    """
    _check_service_domain(present, wanted)
    _check_addresses(wanted.logical_servers)
    doomed = [name for name in present.logical_servers if name not in wanted.logical_servers]
    gone = [name for name in present.boxes if name not in wanted.boxes]
    servers = [
        _Server.of(name, present.logical_servers.get(name), entry)
        for name, entry in wanted.logical_servers.items()
    ]
    kept = {server.name: server for server in servers}
    extra = {server.name: server.extra for server in servers if server.extra}
    steps: list[Step] = []
    for name, box in wanted.boxes.items():
        steps += _box_first(name, present.boxes.get(name), box)
    if prune:
        for name in doomed:
            steps += _removed(_endpoints(present.logical_servers[name]))
        for name in extra:
            steps += _removed(kept[name].extra)
    for part in (_Server.made, _Server.moved, _Server.addressed, _Server.set, _Server.switched):
        for server in servers:
            steps += part(server)
    steps += _placed(present.placement, wanted.placement, prune=prune)
    if prune:
        steps += [Step("lserver.delete", name, {"name": name}) for name in doomed]
    for name, box in wanted.boxes.items():
        steps += _box_last(name, present.boxes.get(name), box)
    if prune:
        steps += [Step("pserver.delete", name, {"name": name}) for name in gone]
        return ImportPlan(tuple(steps), ())
    left = [f"pserver {name}" for name in gone] + [f"lserver {name}" for name in doomed]
    left += [f"placement of {name}" for name in present.placement if name not in wanted.placement]
    left += [f"{len(found)} addresses of {name}" for name, found in extra.items()]
    return ImportPlan(tuple(steps), tuple(left))


def _placed(
    present: Mapping[str, PlacementEntry], wanted: Mapping[str, PlacementEntry], *, prune: bool
) -> Iterator[Step]:
    """Give what is chosen anew for the placement in groups, once all servers are there."""
    for group, entry in wanted.items():
        if present.get(group, _AT_RANDOM) != entry:
            fields = {"policy": entry.policy, "weights": entry.weights, "pinned": entry.pinned}
            yield Step("placement.set", group, {"group": group, **fields})
    for group in present:
        if prune and group not in wanted:
            yield Step("placement.set", group, {"group": group, "policy": _AT_RANDOM.policy})


_AT_RANDOM = PlacementEntry(AT_RANDOM.name)


def _check_service_domain(present: Document, wanted: Document) -> None:
    if wanted.service_domain not in ("", present.service_domain):
        raise _conflict(
            "service_domain",
            f"this cluster's service domain is {present.service_domain}",
            wanted.service_domain,
            f"{present.service_domain}, or a model without service_domain",
        )


def _conflict(place: str, message: str, value: object, allowed: str) -> CommandError:
    return CommandError(
        "model.conflict",
        message,
        field=f"model.{place}",
        value=str(value),
        allowed=allowed,
        status=409,
    )


def _box_first(name: str, present: BoxEntry | None, wanted: BoxEntry) -> Iterator[Step]:
    """Give what must be done to a box before its logical servers come."""
    ip, _, mask = wanted.ip.partition("/")
    common = {"os_family": wanted.os_family, "description": wanted.description}
    if present is None:
        fields = {"name": name, "ip": ip, "mask": mask, "groups": list(wanted.groups), **common}
        yield Step("pserver.add", name, fields)
        return
    changed: dict[str, Any] = {}
    if present.ip != wanted.ip:
        changed |= {"ip": ip, "mask": mask}
    if more := [group for group in wanted.groups if group not in present.groups]:
        changed["groups"] = [*present.groups, *more]
    for field, value in common.items():
        if getattr(present, field) != value:
            changed[field] = value
    if changed:
        yield Step("pserver.edit", name, {"name": name, **changed})
    if wanted.intent == "open" != present.intent:
        yield Step("pserver.intent", name, {"name": name, "intent": "open"})


def _box_last(name: str, present: BoxEntry | None, wanted: BoxEntry) -> Iterator[Step]:
    """Give what is done to a box when its logical servers are there, or gone."""
    if present is not None and set(present.groups) - set(wanted.groups):
        yield Step("pserver.edit", name, {"name": name, "groups": list(wanted.groups)})
    if wanted.monitoring != (True if present is None else present.monitoring):
        fields = {"name": name, "monitoring": wanted.monitoring}
        yield Step("pserver.monitoring", name, fields)
    if wanted.intent not in ("open", None if present is None else present.intent):
        yield Step("pserver.intent", name, {"name": name, "intent": wanted.intent})


@attrs.frozen
class _Server:
    """A logical server as it is, None where it is new, and as it shall be."""

    name: str
    present: ServerEntry | None
    wanted: ServerEntry
    pserver: str
    early: Mapping[str, Any]
    """Settings that a new server begins with."""
    late: Mapping[str, Any]
    """Settings that are set when all servers are there: those that name others, and changes."""
    missing: Mapping[_Endpoint, _Kind]
    extra: Mapping[_Endpoint, _Kind]
    edited: tuple[Step, ...]

    @classmethod
    def of(cls, name: str, present: ServerEntry | None, wanted: ServerEntry) -> "_Server":
        """Compare; raises `CommandError`."""
        known = groups.service_type(wanted.group, wanted.type)
        place = f"logical_servers.{name}"
        if not isinstance(wanted.pserver, str):
            raise _conflict(
                f"{place}.pserver",
                "a logical server on several boxes cannot be imported",
                ", ".join(wanted.pserver),
                "one box",
            )
        if present is not None:
            for field in ("group", "type"):
                if getattr(present, field) != getattr(wanted, field):
                    raise _conflict(
                        f"{place}.{field}",
                        f"the {field} of a logical server cannot change",
                        getattr(wanted, field),
                        f"{getattr(present, field)}, or another name",
                    )
        settings = merged(known, {}, read_settings(known, wanted.settings, balanced=False))
        if present is None:
            named = {k for k, one in settings_of(known.settings).items() if one.server_group}
            early = {key: value for key, value in settings.items() if key not in named}
            late = {key: value for key, value in settings.items() if key in named}
        else:
            early = {}
            late = {k: v for k, v in settings.items() if present.settings.get(k) != v}
            late |= {key: "" for key in present.settings if key not in settings}
        before = {} if present is None else _endpoints(present)
        after = _endpoints(wanted)
        edited = tuple(
            _edit(place, endpoint, before[endpoint], kind)
            for endpoint, kind in after.items()
            if before.get(endpoint, kind) != kind
        )
        return cls(
            name,
            present,
            wanted,
            wanted.pserver,
            early,
            late,
            {endpoint: kind for endpoint, kind in after.items() if endpoint not in before},
            {endpoint: kind for endpoint, kind in before.items() if endpoint not in after},
            edited,
        )

    def made(self) -> Iterable[Step]:
        """Add it, or change its description."""
        if self.present is None:
            fields = {
                "name": self.name,
                "group": self.wanted.group,
                "type": self.wanted.type,
                "pserver": self.pserver,
                "description": self.wanted.description,
                "settings": dict(self.early),
            }
            yield Step("lserver.add", self.name, fields)
        elif self.present.description != self.wanted.description:
            fields = {"name": self.name, "description": self.wanted.description}
            yield Step("lserver.edit", self.name, fields)

    def moved(self) -> Iterable[Step]:
        """Put it onto its box."""
        if self.present is not None and self.present.pserver != self.pserver:
            yield Step("lserver.move", self.name, {"name": self.name, "to": self.pserver})

    def addressed(self) -> Iterable[Step]:
        """Add its addresses, the ones that others stand on first, and change what differs."""
        found = sorted(ranges(self.missing), key=lambda one: one[1].type == "dedicated")
        for first, kind, count in found:
            version, number, port = first
            fields: dict[str, Any] = {
                "lserver": self.name,
                "first": address_of(number, version),
                "mask": str(kind.mask),
                "type": kind.type,
                "tag": kind.tag,
                "port": port,
            }
            if count > 1:
                fields["last"] = address_of(number + count - 1, version)
            yield Step("ip.add", f"{fields['first']} of {self.name}", fields)
        yield from self.edited

    def set(self) -> Iterable[Step]:
        """Change its settings."""
        if self.late:
            fields = {"name": self.name, "settings": dict(self.late)}
            yield Step("lserver.set", self.name, fields)

    def switched(self) -> Iterable[Step]:
        """Open or close it for signup."""
        if self.wanted.signup != (self.present is not None and self.present.signup):
            fields = {"name": self.name, "signup": self.wanted.signup}
            yield Step("lserver.signup", self.name, fields)


def _endpoints(server: ServerEntry) -> dict[_Endpoint, _Kind]:
    """Give every address of a server, ranges taken apart."""
    found: dict[_Endpoint, _Kind] = {}
    for entry in server.addresses:
        version, first = place_of(entry.ip)
        last = place_of(entry.last)[1] if entry.last else first
        kind = _kind(entry)
        found |= {(version, number, entry.port): kind for number in range(first, last + 1)}
    return found


def _check_addresses(servers: Mapping[str, ServerEntry]) -> None:
    """Check that the addresses of a document can be taken apart, and that each is there once."""
    seen: list[tuple[int, int, int, int, str]] = []
    count = 0
    for name, server in servers.items():
        for entry in server.addresses:
            version, first = place_of(entry.ip)
            last = place_of(entry.last)[1] if entry.last else first
            count += last - first + 1
            if count > _MOST:
                raise _conflict(
                    f"logical_servers.{name}.addresses",
                    "the range is too long, or the ranges together are",
                    entry.last,
                    f"{_MOST} addresses in one model; more of them by hsctl ip add",
                )
            seen.append((entry.port, version, first, last, name))
    seen.sort()
    for one, next_ in pairwise(seen):
        if one[:2] == next_[:2] and next_[2] <= one[3]:
            _, version, first, _, name = next_
            raise _conflict(
                f"logical_servers.{name}.addresses",
                f"the model has the address twice: {one[4]} has it too",
                address_of(first, version),
                "each address and port once",
            )


_MOST = 1 << 19
"""Addresses of one document: they are compared in the controller's own process, one by one."""


def _kind(entry: AddressEntry) -> _Kind:
    tag = groups.DEFAULT_TAG if entry.type == "shared" and entry.tag is None else entry.tag
    return _Kind(entry.type, entry.mask, entry.port, tag)


def _edit(place: str, endpoint: _Endpoint, present: _Kind, wanted: _Kind) -> Step:
    version, number, port = endpoint
    ip = address_of(number, version)
    if present.type != wanted.type:
        raise _conflict(
            f"{place}.addresses",
            f"{ip} is a {present.type} address: the type of an address cannot change",
            wanted.type,
            f"{present.type}; or delete the address first (hsctl ip delete {ip})",
        )
    fields: dict[str, Any] = {"ip": ip, "port": port}
    if present.mask != wanted.mask:
        fields["mask"] = str(wanted.mask)
    if present.tag != wanted.tag:
        fields["tag"] = wanted.tag
    return Step("ip.edit", ip, fields)


def _removed(endpoints: Mapping[_Endpoint, _Kind]) -> Iterator[Step]:
    """Delete addresses: dedicated ones by the range, their number confirmed, others one by one."""
    for first, kind, count in ranges(endpoints):
        version, number, port = first
        if kind.type == "dedicated" and count > 1:
            fields: dict[str, Any] = {
                "ip": address_of(number, version),
                "port": port,
                "last": address_of(number + count - 1, version),
                "confirm": count,
            }
            yield Step("ip.delete", f"{fields['ip']}-{fields['last']}", fields)
            continue
        for each in range(number, number + count):
            ip = address_of(each, version)
            yield Step("ip.delete", ip, {"ip": ip, "port": port})


def ranges(endpoints: Mapping[_Endpoint, _Kind]) -> Sequence[tuple[_Endpoint, _Kind, int]]:
    """Put dedicated addresses that follow each other together: (first, kind, how many)."""
    found: list[tuple[_Endpoint, _Kind, int]] = []
    for endpoint, kind in sorted(endpoints.items(), key=lambda one: (one[0][2], one[0])):
        if found and kind.type == "dedicated":
            (version, number, port), former, count = found[-1]
            follows = endpoint == (version, number + count, port)
            if follows and former == kind and count < MAX_RANGE:
                found[-1] = ((version, number, port), kind, count + 1)
                continue
        found.append((endpoint, kind, 1))
    return found
