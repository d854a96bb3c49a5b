"""From a request line to the command it asks for: one table, made from the registry.

The table knows one spelling of each place. Doubled slashes, dot segments, encoded slashes, path
parameters and trailing slashes name nothing, so there is no second way to a command that a check
could overlook (S2).
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from controller.commands import Command
from controller.web.problems import problem

PREFIX = b"/api/v1/"
_LONGEST_SEGMENT = 1024


@attrs.frozen
class Route:
    """The command of a request and the request fields that its path holds, as text."""

    command: Command[Any]
    fields: dict[str, str]


@attrs.frozen
class _Place:
    """One path of the API: its segments (a field's name where ``{name}`` stands) and commands."""

    segments: tuple[str, ...]
    is_field: tuple[bool, ...]
    commands: dict[str, Command[Any]]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        fields = {}
        for given, own, is_field in zip(segments, self.segments, self.is_field, strict=True):
            if is_field:
                fields[own] = given
            elif given != own:
                return None
        return fields


class RouteTable:
    """All places of the API. A fixed word is preferred to a field at the same position."""

    def __init__(self, commands: Iterable[Command[Any]]) -> None:
        places: dict[tuple[str, ...], _Place] = {}
        for command in commands:
            parts = command.path.strip("/").split("/")
            names = tuple(re.sub(r"^\{(.*)\}$", r"\1", part) for part in parts)
            is_field = tuple(part.startswith("{") for part in parts)
            key = tuple(
                "{}" if field else part for part, field in zip(parts, is_field, strict=True)
            )
            place = places.setdefault(key, _Place(names, is_field, {}))
            if place.segments != names:
                raise ValueError(f"{command.path}: the same place has other field names elsewhere")
            place.commands[command.method] = command
        self._by_length: dict[int, list[_Place]] = {}
        for place in sorted(places.values(), key=lambda place: place.is_field):
            self._by_length.setdefault(len(place.segments), []).append(place)

    def find(self, method: bytes, path: bytes) -> Route:
        """Give the route of a request; ``path`` is as it stood in the request line, no query.

        Raises `ProblemError`: 404 where nothing is, 405 (with Allow) for another method.
        """
        segments = _segments(path)
        for place in self._by_length.get(len(segments), ()):
            fields = place.match(segments)
            if fields is None:
                continue
            wanted = "GET" if method == b"HEAD" else method.decode("ascii", "replace")
            command = place.commands.get(wanted)
            if command is None:
                allowed = ", ".join(allowed_methods(place.commands))
                raise problem(
                    405,
                    "request.method",
                    "this method does nothing here",
                    allowed=allowed,
                    headers={"Allow": allowed},
                )
            return Route(command, fields)
        raise problem(404, "request.path", "there is nothing at this path")


def allowed_methods(commands: Iterable[str]) -> list[str]:
    """Give the methods to name in Allow: HEAD goes wherever GET goes."""
    methods = set(commands)
    return sorted(methods | {"HEAD"}) if "GET" in methods else sorted(methods)


def _segments(path: bytes) -> list[str]:
    nothing = problem(404, "request.path", "there is nothing at this path")
    if not path.startswith(PREFIX):
        raise nothing
    segments = []
    for part in path[len(PREFIX) :].split(b"/"):
        try:
            text = unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError:
            raise nothing from None
        if not text or len(text) > _LONGEST_SEGMENT or text in (".", "..") or "/" in text:
            raise nothing
        segments.append(text)
    return segments
