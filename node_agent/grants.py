"""What the box's owner allows, whatever a controller says: ``grants.toml``, read once.

It is the box's own limit. A controller whose operator, or whose intruder, asks for more is refused
here, and the refusal is told like any other outcome.
"""

import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import attrs
import msgspec

from node_agent.managed import may_be_managed
from node_agent.owned_file import ConfigError, read_owned
from templates.effects import AddressUp, CheckProgram, UnitPlan

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FILE_NAME = "grants.toml"
"""Beside ``agent.toml``."""


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    service_types: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None
    directories: tuple[str, ...] = ()
    programs: dict[str, str] = {}
    users: dict[str, str] = {}
    modules: dict[str, str] = {}
    services: dict[str, str] = {}


@attrs.frozen
class Grants:
    """What may be touched on this box beside the agent's own state directory."""

    service_types: frozenset[str] | None = None
    """Types of logical servers that may be worked here; None: all that the agent knows."""
    addresses: tuple[Network, ...] | None = None
    """Networks whose addresses may be brought up; None: any."""
    directories: tuple[PurePosixPath, ...] = ()
    """Directories outside the lanes' own that a configuration may name, with all below them."""
    programs: Mapping[str, PurePosixPath] = attrs.Factory(dict)
    """The closed table of programs, by the names that service types use."""
    users: Mapping[str, str] = attrs.Factory(dict)
    """The account that a daemon drops to, by its program."""
    modules: Mapping[str, PurePosixPath] = attrs.Factory(dict)
    """The directory of a daemon's loadable modules, by its program."""
    services: Mapping[str, str] = attrs.Factory(dict)
    """Services that may be managed from afar, and their systemd units."""

    def allows_type(self, name: str) -> bool:
        """Tell whether logical servers of this type may be worked here."""
        return self.service_types is None or name in self.service_types

    def refusal(self, plan: UnitPlan, directories: Iterable[str] = ()) -> str:
        """Say what of a plan is not granted, in words for a person; empty where all of it is.

        ``directories`` are those that the planned configuration names outside the lane's own.
        """
        for effect in (*plan.checks, *plan.control):
            if isinstance(effect, CheckProgram) and effect.program not in self.programs:
                return _words(f"the program {effect.program}", "[programs]")
            if isinstance(effect, AddressUp) and not self.allows_address(effect.address):
                return _words(f"the address {effect.address}", "addresses")
        for directory in directories:
            if not self._allows_directory(PurePosixPath(directory)):
                return _words(f"the directory {directory}", "directories")
        return ""

    def allows_address(self, text: str) -> bool:
        """Tell whether the address may be brought up on this box."""
        address = ipaddress.ip_address(text)
        return self.addresses is None or any(address in network for network in self.addresses)

    def _allows_directory(self, directory: PurePosixPath) -> bool:
        return ".." not in directory.parts and any(
            directory.is_relative_to(granted) for granted in self.directories
        )


def _words(what: str, table: str) -> str:
    return f"not granted: this box's owner allows no use of {what} ({table} of {FILE_NAME})"


def read_grants(path: Path) -> Grants:
    """Read ``grants.toml``; raises `ConfigError`. Where there is none, no program may be run."""
    if not path.exists():
        return Grants()
    file = read_owned(path, _File)
    directories = {f"directories {place}": place for place in file.directories}
    for name, place in {**file.programs, **file.modules, **directories}.items():
        if not place.startswith("/") or ".." in PurePosixPath(place).parts:
            raise ConfigError(f"{path}: {name} = {place!r} must be an absolute path")
    for name, unit in file.services.items():
        if not may_be_managed(name, unit):
            raise ConfigError(
                f"{path}: services: {name} = {unit!r} is not a name in lower case with a"
                " unit NAME.service that is not one of heliosphere-"
            )
    return Grants(
        service_types=None if file.service_types is None else frozenset(file.service_types),
        addresses=None if file.addresses is None else _networks(path, file.addresses),
        directories=tuple(map(PurePosixPath, file.directories)),
        programs={name: PurePosixPath(value) for name, value in file.programs.items()},
        users=file.users if os.geteuid() == 0 else {},
        modules={name: PurePosixPath(value) for name, value in file.modules.items()},
        services=file.services,
    )


def _networks(path: Path, texts: Iterable[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigError(f"{path}: addresses: {error}") from error


def told(grants: Grants) -> dict[str, str]:
    """Give the grants for a person: each table's name, and what stands in it."""
    types, networks = grants.service_types, grants.addresses
    return {
        "service types": "all that the agent knows" if types is None else _listed(types),
        "addresses": "any" if networks is None else _listed(map(str, networks)),
        "directories": _listed(map(str, grants.directories)),
        "programs": _listed(f"{name} = {path}" for name, path in grants.programs.items()),
        "users": _listed(f"{name} = {user}" for name, user in grants.users.items()),
        "modules": _listed(f"{name} = {path}" for name, path in grants.modules.items()),
        "services": _listed(f"{name} = {unit}" for name, unit in grants.services.items()),
    }


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(texts)) or "none"
