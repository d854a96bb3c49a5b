"""What no column of the database can hold: a request with it is refused before anything is asked.

PostgreSQL keeps no NUL character, in a text or in JSON; every other character is a command's own
matter.
"""

from collections.abc import Iterator
from typing import Any

import attrs

from controller.refusal import CommandError

_SHOWN = 300
"""Characters of a refused text that the refusal repeats."""


def check_storable(request: Any) -> None:
    """Check every text of a command's request; raises `CommandError` ``text.nul``."""
    for field in attrs.fields(type(request)):
        for text in _texts(getattr(request, field.name)):
            if "\0" not in text:
                continue
            shown = "" if field.metadata.get("secret") else text[:_SHOWN]
            raise CommandError(
                "text.nul",
                "a NUL character cannot be part of a text",
                field=field.name,
                value=shown.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                allowed="text without NUL characters",
            )


def _texts(value: Any) -> Iterator[str]:
    """Give all texts in plain data, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(name)
            yield from _texts(part)
    elif isinstance(value, list | tuple | frozenset | set):
        for part in value:
            yield from _texts(part)
