"""The agent's configuration, ``agent.toml``: one frozen record, read once."""

import os
import tomllib
from pathlib import Path, PurePosixPath
from typing import Literal

import attrs
import msgspec

from node_agent.managed import may_be_managed

DEFAULT_PATH = Path("/etc/heliosphere/agent.toml")


class ConfigError(Exception):
    """The configuration cannot be used; ``args[0]`` names the file, the field and what to do."""


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    state: str
    controller: tuple[str, ...] = ()
    services: Literal["direct", "systemd"] = "direct"
    log: str = ""
    programs: dict[str, str] = {}
    users: dict[str, str] = {}
    modules: dict[str, str] = {}
    services_managed: dict[str, str] = {}


@attrs.frozen
class ControllerAddress:
    """Where a controller listens for agents."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "ControllerAddress":
        """Read ``host:port``; an IPv6 address stands in brackets. Raises ValueError."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host, int(port))


@attrs.frozen
class Config:
    """What the operator of the box decided.

    ``state`` holds the journal, the certificate and the lanes. ``services`` says who runs daemons.
    ``log`` None logs to standard error.
    """

    state: Path
    controllers: tuple[ControllerAddress, ...]
    services: Literal["direct", "systemd"]
    log: Path | None
    programs: dict[str, PurePosixPath]
    users: dict[str, str]
    modules: dict[str, PurePosixPath]
    services_managed: dict[str, str] = attrs.Factory(dict)
    """Names of services that a controller may manage here, and their systemd units."""

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.state / "journal.sqlite"

    @property
    def lanes(self) -> Path:
        """The folder of the lanes' directories."""
        return self.state / "lservers"


def read_config(path: Path) -> Config:
    """Read ``agent.toml``; raises `ConfigError`.

    A file that others may write is refused: it names the programs that we run (S12).
    """
    try:
        status = path.stat()
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(data, _File)
        controllers = tuple(ControllerAddress.parse(text) for text in file.controller)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path} may be written by others: chown it to yourself, chmod go-w")
    state = Path(file.state)
    for name, program in {**file.programs, **file.modules, "state": file.state}.items():
        if not program.startswith("/"):
            raise ConfigError(f"{path}: {name} = {program!r} must be an absolute path")
    for name, unit in file.services_managed.items():
        if not may_be_managed(name, unit):
            raise ConfigError(
                f"{path}: services_managed: {name} = {unit!r} is not a name in lower case with a"
                " unit NAME.service that is not one of heliosphere-"
            )
    return Config(
        state=state,
        controllers=controllers,
        services=file.services,
        log=Path(file.log) if file.log else None,
        programs={name: PurePosixPath(value) for name, value in file.programs.items()},
        users=file.users if os.geteuid() == 0 else {},
        modules={name: PurePosixPath(value) for name, value in file.modules.items()},
        services_managed=file.services_managed,
    )
