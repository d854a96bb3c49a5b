"""The server groups with what each holds: the command ``group.list`` (A16)."""

from typing import Any

import attrs

from controller.cluster.servers.groups import GROUPS, TITLES, WEB_GROUPS
from controller.commands import Command, Work
from controller.pages import after_text, limit, page
from templates.registry import KNOWN_TYPES, SERVICE_TYPES
from templates.service_type import KnownType
from templates.settings import settings_of


@attrs.frozen
class ListGroups:
    """A page of server groups."""

    limit: int = 100
    cursor: str = ""


_COUNTS = """
SELECT g.name,
       (SELECT count(*) FROM box b WHERE g.name = ANY(b.groups)),
       (SELECT count(*) FROM logical_server s WHERE s.group_name = g.name),
       (SELECT count(*) FROM logical_server s WHERE s.group_name = g.name AND s.signup)
FROM unnest(%s::text[]) AS g(name)
"""


async def list_groups(work: Work, request: ListGroups) -> dict[str, Any]:
    """List the server groups: types with what can be set, boxes and logical servers counted."""
    size = limit(request.limit)
    wanted = sorted(name for name in GROUPS if name > after_text(request.cursor))[: size + 1]
    counted = {row[0]: row[1:] for row in await work.tx.rows(_COUNTS, (wanted,))}
    items = []
    for name in wanted:
        boxes, servers, taking = counted[name]
        types = [known for known in KNOWN_TYPES.values() if known.group == name]
        items.append(
            {
                "name": name,
                "title": TITLES[name],
                "addresses": "shared and dedicated" if name in WEB_GROUPS else "service",
                "types": [_type(known) for known in types],
                "boxes": boxes,
                "logical_servers": servers,
                "open_for_signup": taking,
            }
        )
    return page(items, size, lambda item: str(item["name"]))


def _type(known: KnownType) -> dict[str, Any]:
    return {
        "name": known.name,
        "modelled": known.name not in SERVICE_TYPES,
        "platforms": sorted(known.platforms),
        "default_port": known.default_port,
        "settings": [
            {
                "name": setting.name,
                "title": setting.title,
                "help": setting.help,
                "allowed": setting.allowed,
                "default": setting.default,
            }
            for setting in settings_of(known.settings).values()
        ],
    }


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "group.list",
        "GET",
        "/groups",
        ListGroups,
        "provider.read",
        "List the server groups with their types and what they hold",
        list_groups,
        "A type that is modelled has rules, addresses and settings, but no box runs it yet.",
    ),
)
