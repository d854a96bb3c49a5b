"""From a path to the room that answers: one table, one spelling of each place (S2)."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal
from urllib.parse import unquote_to_bytes

import attrs

from controller.web.panel.answers import Answer
from controller.web.panel.visits import Visit

Handler = Callable[..., Awaitable[Answer]]
"""Takes the `Visit` and one text for each ``{}`` of its path."""

_LONGEST = 1024


@attrs.frozen
class Route:
    """One place: ``/boxes/{}/delete`` and who answers there."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler


@attrs.frozen
class Found:
    """The room of a request with the texts of its path."""

    handler: Handler
    texts: tuple[str, ...]

    async def answer(self, visit: Visit) -> Answer:
        """Have the room answer."""
        return await self.handler(visit, *self.texts)


class NoPlaceError(Exception):
    """Nothing is at a path; ``other`` where another method has a place there."""

    def __init__(self, *, other: bool) -> None:
        super().__init__("nothing is here")
        self.other = other


class Routes:
    """All places of the panel. A fixed word is preferred to a text at the same position."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = sorted(routes, key=lambda route: [s == "{}" for s in _parts(route.path)])

    def find(self, method: bytes, path: bytes) -> Found:
        """Give who answers; ``path`` is as it stood in the request line. Raises `NoPlaceError`."""
        segments = _segments(path)
        wanted = "GET" if method == b"HEAD" else method.decode("ascii", "replace")
        other = False
        for route in self._routes:
            texts = _match(_parts(route.path), segments)
            if texts is None:
                continue
            if route.method == wanted:
                return Found(route.handler, texts)
            other = True
        raise NoPlaceError(other=other)


def _parts(path: str) -> list[str]:
    return path.strip("/").split("/")


def _segments(path: bytes) -> list[str]:
    if len(path) > _LONGEST * 4:
        raise NoPlaceError(other=False)
    segments = []
    for raw in path[1:].split(b"/"):
        text = re.sub(rb"%(?![0-9A-Fa-f]{2})", b"/", raw)
        try:
            segment = unquote_to_bytes(text).decode("utf-8")
        except UnicodeDecodeError:
            raise NoPlaceError(other=False) from None
        if len(segment) > _LONGEST or "/" in segment or not segment.isprintable():
            raise NoPlaceError(other=False)
        segments.append(segment)
    return segments


def _match(parts: list[str], segments: list[str]) -> tuple[str, ...] | None:
    if len(parts) != len(segments):
        return None
    texts = []
    for part, segment in zip(parts, segments, strict=True):
        if part == "{}" and segment:
            texts.append(segment)
        elif part != segment:
            return None
    return tuple(texts)
