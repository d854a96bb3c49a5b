"""Server groups (A16), and the rules of who may stand where. Pure."""

from collections.abc import Sequence
from types import MappingProxyType

from controller.refusal import CommandError
from templates.registry import KNOWN_TYPES
from templates.service_type import KnownType

TITLES = MappingProxyType(
    {
        "web": "Web hosting",
        "mail": "Mail",
        "dns": "DNS",
        "mysql": "MySQL",
        "windows": "Windows web hosting",
        "postgresql": "PostgreSQL",
        "mssql": "MS SQL",
        "realmedia": "Real media",
        "vps": "Virtual private servers",
        "control-panel": "Control panel",
        "mrtg": "MRTG",
    }
)
"""Every server group with the words for it."""

GROUPS = tuple(TITLES)

WEB_GROUPS = frozenset({"web", "windows"})
"""Groups whose servers have shared and dedicated addresses; all others have one service address."""

DEFAULT_TAG = 2
"""The tag of a server's default shared address (R335)."""


def groups(given: Sequence[str]) -> list[str]:
    """Read the groups of a box (R243), each once; raises `CommandError`."""
    wanted = list(dict.fromkeys(name.strip().lower() for name in given))
    unknown = [name for name in wanted if name not in GROUPS]
    if unknown or not wanted:
        raise CommandError(
            "pserver.groups.invalid",
            "not a server group" if unknown else "a box needs at least one server group",
            field="groups",
            value=", ".join(unknown),
            allowed=", ".join(GROUPS),
        )
    return wanted


def known_group(name: str, *, error_id: str = "group.invalid") -> str:
    """Give the server group ``name``; raises `CommandError`."""
    if name not in GROUPS:
        raise CommandError(
            error_id,
            "not a server group",
            field="group",
            value=name,
            allowed=", ".join(GROUPS),
        )
    return name


def service_type(group: str, name: str) -> KnownType:
    """Give the service type ``name`` of ``group`` (R265, R266); raises `CommandError`."""
    known_group(group, error_id="lserver.group.invalid")
    offered = sorted(kind.name for kind in KNOWN_TYPES.values() if kind.group == group)
    if name not in offered:
        raise CommandError(
            "lserver.type.invalid",
            f"not a service type of the group {group}",
            field="type",
            value=name,
            allowed=", ".join(offered) or "no type of this group is known here yet",
        )
    return KNOWN_TYPES[name]
