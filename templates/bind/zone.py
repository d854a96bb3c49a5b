"""The render unit ``zone:NAME`` of BIND: one zone, as its master or as a secondary."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from templates.bind.layout import journal_file, master_file, secondary_file
from templates.bind.objects import MasterZone, SecondaryZone
from templates.bind.zone_data import zone_data, zone_origin
from templates.bind.zone_file import master_file_text
from templates.effects import (
    AddZone,
    ControlEffect,
    FileEffect,
    MakeDirectory,
    ProbeZone,
    ReloadZone,
    RemovePath,
    RemoveZone,
    UnitPlan,
    WriteFile,
)
from templates.render import render
from templates.service_type import Endpoint, LaneContext, PlanRefusedError, Unit

_HALF = 2**31
_REMEMBERED = 256
"""Configurations kept written: a change of a record compares the same one with itself."""


def plan_zone(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan one zone.

    Records alone: the file and a reload of this zone. Another configuration or role: the same
    `AddZone` that a new zone gets, which compares and modifies. ``before`` equal to ``after`` is a
    repair and brings everything anew.
    """
    keys = {name.key for unit in (before, after) for name in unit.objects}
    if not keys:
        return UnitPlan(unit=after.name)
    if len(keys) != 1:
        raise PlanRefusedError(f"{after.name}: one zone was expected, not {sorted(keys)}")
    zone = keys.pop()
    zone_origin(zone)
    former = next(iter(before.objects.values()), None)
    spec = next(iter(after.objects.values()), None)
    if spec is None:
        return _removal(after.name, zone, former)
    known = former if former != spec else None
    if isinstance(spec, SecondaryZone):
        return _secondary(context, after.name, zone, known, spec)
    return _master(context, after.name, zone, known, spec)


def _master(context: LaneContext, unit: str, zone: str, known: Any, spec: MasterZone) -> UnitPlan:
    path = master_file(zone)
    content = master_file_text(zone, zone_data(zone, spec)).encode()
    files: tuple[FileEffect, ...] = (WriteFile(path, content),)
    configuration = _master_configuration(context, zone, spec)
    control: tuple[ControlEffect, ...] = (AddZone(zone, configuration),)
    retire: tuple[RemovePath, ...] = ()
    if isinstance(known, MasterZone):
        if configuration == _master_configuration(context, zone, known):
            control = (ReloadZone(zone, configuration),)
    else:
        files = (MakeDirectory(path.rpartition("/")[0]), *files)
        if isinstance(known, SecondaryZone):
            retire = _leftovers(secondary_file(zone))
    return UnitPlan(
        unit=unit,
        files=files,
        control=control,
        probes=(ProbeZone(zone, spec.serial),),
        retire=retire,
    )


def _secondary(
    context: LaneContext, unit: str, zone: str, known: Any, spec: SecondaryZone
) -> UnitPlan:
    """Nothing is probed: whether the master answers yet is no matter of this lane."""
    if not spec.masters:
        raise PlanRefusedError(f"{zone}: a secondary needs a master")
    path = secondary_file(zone)
    files: tuple[FileEffect, ...] = ()
    if not isinstance(known, SecondaryZone):
        files = (MakeDirectory(path.rpartition("/")[0], mode=0o750, owner="daemon"),)
    configuration = render(
        "bind/secondary.conf.j2",
        masters=_peers(zone, spec.masters),
        addresses=_addresses(spec.masters),
        file=str(context.root / path),
        key=_key(context, zone),
    ).strip()
    return UnitPlan(
        unit=unit,
        files=files,
        control=(AddZone(zone, configuration),),
        retire=_leftovers(master_file(zone)) if isinstance(known, MasterZone) else (),
    )


def _removal(unit: str, zone: str, former: Any) -> UnitPlan:
    path = secondary_file(zone) if isinstance(former, SecondaryZone) else master_file(zone)
    return UnitPlan(
        unit=unit,
        control=(RemoveZone(zone),),
        probes=(ProbeZone(zone, gone=True),),
        retire=_leftovers(path),
    )


def _master_configuration(context: LaneContext, zone: str, spec: MasterZone) -> str:
    file = str(context.root / master_file(zone))
    return _master_text(file, _peers(zone, spec.secondaries), _key(context, zone))


@lru_cache(maxsize=_REMEMBERED)
def _master_text(file: str, secondaries: tuple[Endpoint, ...], key: str) -> str:
    return render(
        "bind/master.conf.j2",
        file=file,
        secondaries=secondaries,
        addresses=_addresses(secondaries),
        key=key,
    ).strip()


def _leftovers(path: str) -> tuple[RemovePath, ...]:
    return (RemovePath(path), RemovePath(journal_file(path)))


def _key(context: LaneContext, zone: str) -> str:
    if context.server is None:
        raise PlanRefusedError(f"{zone}: the server itself has no configuration yet")
    name: str = context.server.transfer_key.name
    return name


@lru_cache(maxsize=_REMEMBERED)
def _peers(zone: str, peers: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    for peer in peers:
        try:
            ipaddress.ip_address(peer.address)
        except ValueError as error:
            raise PlanRefusedError(f"{zone}: {error}") from error
        if not 1 <= peer.port <= 65535:
            raise PlanRefusedError(f"{zone}: {peer.port!a} is not a port")
    return peers


def _addresses(peers: Iterable[Endpoint]) -> list[str]:
    return sorted({peer.address for peer in peers})


def check_succession(before: Unit, after: Unit) -> None:
    """Serials only grow (RFC 1982), else no secondary would take the change.

    Raises `PlanRefusedError`.
    """
    for id_, spec in after.objects.items():
        known = before.objects.get(id_)
        if not isinstance(known, MasterZone) or not isinstance(spec, MasterZone):
            continue
        same = (known.soa, known.records, known.serial) == (spec.soa, spec.records, spec.serial)
        if not same and not 0 < (spec.serial - known.serial) % 2**32 < _HALF:
            raise PlanRefusedError(
                f"{id_.key}: serial {spec.serial} does not follow {known.serial}"
            )
