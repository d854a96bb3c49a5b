"""The agent's configuration, ``agent.toml``: one frozen record, read once."""

from pathlib import Path
from typing import Literal

import attrs
import msgspec

from node_agent.grants import FILE_NAME, Grants, read_grants
from node_agent.owned_file import ConfigError, read_owned

DEFAULT_PATH = Path("/etc/heliosphere/agent.toml")
SHORTEST_ROUND, LONGEST_ROUND = 60, 7 * 86400
"""Seconds that a round over all files may take."""


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    state: str
    controller: tuple[str, ...] = ()
    services: Literal["direct", "systemd"] = "direct"
    log: str = ""
    verify_every: int = 3600


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
    ``log`` None logs to standard error. ``grants`` is what may be touched here at most.
    """

    state: Path
    controllers: tuple[ControllerAddress, ...]
    services: Literal["direct", "systemd"]
    log: Path | None
    grants: Grants
    verify_every: int = 3600
    """Seconds that a round over all written files takes; 0: they are verified on demand alone."""

    @property
    def journal(self) -> Path:
        """The journal's file."""
        return self.state / "journal.sqlite"

    @property
    def lanes(self) -> Path:
        """The folder of the lanes' directories."""
        return self.state / "lservers"


def read_config(path: Path) -> Config:
    """Read ``agent.toml`` and the grants beside it; raises `ConfigError`."""
    file = read_owned(path, _File)
    try:
        controllers = tuple(ControllerAddress.parse(text) for text in file.controller)
    except ValueError as error:
        raise ConfigError(f"{path}: controller: {error}") from error
    if not file.state.startswith("/"):
        raise ConfigError(f"{path}: state = {file.state!r} must be an absolute path")
    if file.verify_every != 0 and not SHORTEST_ROUND <= file.verify_every <= LONGEST_ROUND:
        raise ConfigError(
            f"{path}: verify_every = {file.verify_every} is neither 0 nor from {SHORTEST_ROUND} to"
            f" {LONGEST_ROUND} seconds"
        )
    return Config(
        state=Path(file.state),
        controllers=controllers,
        services=file.services,
        log=Path(file.log) if file.log else None,
        grants=read_grants(path.with_name(FILE_NAME)),
        verify_every=file.verify_every,
    )
