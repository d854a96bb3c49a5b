"""Reading what a browser sends: queries and forms, each refused where it is no text at all."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from controller.web.channel import BODY, BoundedRequest

FORM = b"application/x-www-form-urlencoded"
_FIELDS = 200


class UnreadableError(Exception):
    """What was sent cannot be read; nothing of it was used."""


def read_query(text: bytes) -> dict[str, str]:
    """Give the fields of a query, each once; raises `UnreadableError`, for NUL characters too."""
    fields = _fields(text)
    if any("\0" in value for values in fields.values() for value in values):
        raise UnreadableError("a field holds a NUL character")
    return {name: values[0] for name, values in fields.items()}


def read_form(request: BoundedRequest, *, large: bool = False) -> Mapping[str, list[str]]:
    """Give the fields of a form. ``large`` for imports. Raises `UnreadableError`.

    Values may hold any character: the commands refuse what cannot be, field by field.
    """
    kinds = request.requestHeaders.getRawHeaders(b"content-type") or []
    if len(kinds) != 1 or kinds[0].split(b";")[0].strip().lower() != FORM:
        raise UnreadableError("this is not a form")
    if request.content is None:
        return {}
    request.content.seek(0)
    content = request.content.read()
    if len(content) > BODY and not large:
        raise UnreadableError("the form is too large")
    return _fields(content)


def _fields(text: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(
            text.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=_FIELDS,
        )
    except ValueError as error:
        raise UnreadableError("a field cannot be read") from error
