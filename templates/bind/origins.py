"""Whose a file of a BIND lane may be, by its path. Pure."""

import re

from templates.bind.layout import SHORTENED
from templates.bind.objects import SERVER, ZONE
from templates.service_type import Origin

_ZONE = re.compile(r"zones/[0-9a-f]{2}/([^/]+)\.zone")
_SHORTENED = re.compile(rf"(.{{{SHORTENED}}})-[0-9a-f]{{64}}")


def origins(path: str) -> tuple[Origin, ...]:
    """Give what may have written ``path``; what named itself keeps is below state."""
    found = _ZONE.fullmatch(path)
    if found is None:
        return () if path.startswith("state/") else (Origin(SERVER.name),)
    shortened = _SHORTENED.fullmatch(found[1])
    if shortened is not None:
        return (Origin(ZONE.name, shortened[1], begins=True),)
    return (Origin(ZONE.name, found[1]),)
