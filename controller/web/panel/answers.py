"""What a room answers with: plain values that `controller.web.panel.panel` writes out."""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode

import attrs

Room = Literal[
    "home",
    "boxes",
    "box-add",
    "servers",
    "server-add",
    "ssl",
    "service",
    "accounts",
    "domains",
    "changes",
    "held",
    "faults",
    "health",
    "operators",
    "",
]
Hears = Literal["box", "change"]


@attrs.frozen
class Page:
    """A page: its template with its values, the room it stands in, and the way back up.

    ``crumbs`` are (words, path) above the page; ``hears`` are the events after which its live part
    is fetched again; one that is ``fetched`` hears nothing, and is a part of other pages.
    """

    template: str
    title: str
    room: Room
    values: Mapping[str, Any] = attrs.field(factory=dict)
    crumbs: tuple[tuple[str, str], ...] = ()
    hears: tuple[Hears, ...] = ()
    fetched: bool = False
    status: int = 200


@attrs.frozen
class Redirect:
    """See ``to``, a path of ours made by `local`."""

    to: str


@attrs.frozen
class Download:
    """A text to save under ``name``."""

    name: str
    text: str


Answer = Page | Redirect | Download


def local(*segments: str, **query: str | int | None) -> str:
    """Give a path of the panel: every segment is one segment, whatever stands in it (S28)."""
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
