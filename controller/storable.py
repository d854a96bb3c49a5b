"""What no column of the database can hold: a request with it is refused before anything is asked.

PostgreSQL keeps no NUL character, in a text or in JSON; every other character is a command's own
matter.
"""

from collections.abc import Iterator
from typing import Any

import attrs

from controller.refusal import CommandError

_SHOWN = 300
"""Characters of a refused text, and of where it is, that the refusal repeats."""


def check_storable(request: Any) -> None:
    """Check every text of a command's request; raises `CommandError` ``text.nul``."""
    for field in attrs.fields(type(request)):
        for path, text in _texts(field.name, getattr(request, field.name)):
            if "\0" not in text:
                continue
            secret = bool(field.metadata.get("secret"))
            shown = "" if secret else text[:_SHOWN]
            raise CommandError(
                "text.nul",
                "a NUL character cannot be part of a text",
                field=field.name if secret else path[:_SHOWN],
                value=shown.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                allowed="text without NUL characters",
            )


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Give all texts in plain data with where each is; a key is told as where the mapping is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield path, name
            yield from _texts(f"{path}.{name}", part)
    elif isinstance(value, list | tuple | frozenset | set):
        for part in value:
            yield from _texts(path, part)
