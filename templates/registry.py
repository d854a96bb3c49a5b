"""All service types by name, and the digest that tells whether two boxes render alike."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from templates.apache.service import APACHE
from templates.bind.service import BIND
from templates.control_panel.service import CONTROL_PANEL
from templates.iis.service import IIS
from templates.mrtg.service import MRTG
from templates.mssql.service import MSSQL
from templates.mysql.service import MYSQL
from templates.postgresql.service import POSTGRESQL
from templates.qmail.service import QMAIL
from templates.realmedia.service import REALMEDIA
from templates.service_type import KnownType, ServiceType
from templates.vps.service import VPS

SERVICE_TYPES: Mapping[str, ServiceType] = MappingProxyType(
    {known.name: known for known in (BIND, APACHE)}
)
"""Those that a box serves. Explicit on purpose: a folder that is not named here is no type."""

KNOWN_TYPES: Mapping[str, KnownType] = MappingProxyType(
    {
        known.name: known
        for known in (
            *SERVICE_TYPES.values(),
            QMAIL,
            IIS,
            MYSQL,
            POSTGRESQL,
            MSSQL,
            REALMEDIA,
            VPS,
            CONTROL_PANEL,
            MRTG,
        )
    }
)
"""All that the model knows: those, and the modelled ones that no box serves yet (A16)."""


def drift_policy(service_type: str, chosen: str | None) -> Literal["report", "repair", "keep"]:
    """Give what becomes of files that somebody else changed: as it was ``chosen`` for a logical
    server, else as its service type says.
    """
    known = KNOWN_TYPES.get(service_type)
    policy = chosen or getattr(known.settings() if known is not None else None, "drift", "")
    match policy:
        case "repair" | "keep":
            return policy
        case _:
            return "report"


def renderer_digest(service_type: ServiceType) -> str:
    """Give the digest over all code and templates that decide what bytes a box gets (hex)."""
    return _digest(service_type.name)


@cache
def _digest(name: str) -> str:
    package = files("templates")
    digest = sha256()
    for folder, label in ((package, ""), (package / name, f"{name}/")):
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_file() and entry.name.endswith((".py", ".j2")):
                content = entry.read_bytes()
                digest.update(f"{label}{entry.name}:{len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()
