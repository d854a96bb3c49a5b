"""The one door: every command that panel, API and hsctl may ask for stands in one registry."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar

import attrs

from controller.principal import Principal
from controller.storage.database import Transaction

RequestT = TypeVar("RequestT")

Permission = Literal["provider.read", "provider.write", "account.read", "account.write"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_NAME = re.compile(r"^[a-z]+(\.[a-z-]+)+$")


@attrs.frozen
class Work:
    """What a command's function is given: its transaction, who asks, and the change it writes.

    ``change`` is None for commands that only read.
    """

    tx: Transaction
    principal: Principal
    change: Any


@attrs.frozen
class Command(Generic[RequestT]):
    """One command: its name, request, permission, place in the API, documentation and function.

    The request is a frozen attrs class whose fields come from the path, then the query (reads) or
    the JSON body (writes). The function returns plain data (dicts, lists, text, numbers, None).
    """

    name: str
    method: Method
    path: str
    """Below ``/api/v1``, with ``{field}`` for request fields: ``/domains/{name}``."""
    request: type[RequestT]
    permission: Permission
    summary: str
    function: Callable[[Work, RequestT], Awaitable[Any]]
    description: str = ""
    response: Any = dict
    """A type that msgspec can describe, for the OpenAPI document."""

    @property
    def placed_by(self) -> frozenset[str]:
        """The fields of the request that are in the path."""
        return frozenset(re.findall(r"\{([^}]*)\}", self.path))

    def is_for(self, field: str) -> bool:
        """Whether a field says what the command is for; others are values that are given to it."""
        return self.method in ("GET", "DELETE") or not field or field in self.placed_by

    @property
    def writes(self) -> bool:
        """Whether the command makes a change."""
        return self.method != "GET"


class Registry:
    """Commands by name, in the order they were given. Built once by the composition root."""

    def __init__(self, commands: Iterable[Command[Any]]) -> None:
        self._commands: dict[str, Command[Any]] = {}
        places: set[tuple[str, str]] = set()
        for command in commands:
            if not _NAME.match(command.name):
                raise ValueError(f"not a command name: {command.name!r}")
            place = (command.method, re.sub(r"\{[^}]*\}", "{}", command.path))
            if command.name in self._commands or place in places:
                raise ValueError(f"given twice: {command.name} {place}")
            fields = {field.name for field in attrs.fields(command.request)}
            unknown = command.placed_by - fields
            if unknown:
                raise ValueError(f"{command.name}: path names unknown fields {sorted(unknown)}")
            self._commands[command.name] = command
            places.add(place)

    def __getitem__(self, name: str) -> Command[Any]:
        return self._commands[name]

    def __iter__(self) -> Iterator[Command[Any]]:
        return iter(self._commands.values())
