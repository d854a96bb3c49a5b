"""From path, query and body to the frozen request of a command, or a refusal naming the field."""

import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from controller.commands import Command
from controller.web.problems import ProblemError, problem

_AT = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_KINDS = re.compile(r"Expected `(?P<wanted>[a-z |]+)`, got `(?P<given>[a-z]+)`")
_IN_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "an object",
    "str": "text",
}


def read_json_object(body: bytes) -> dict[str, Any]:
    """Read the body of a write: a JSON object, or nothing at all.

    Raises `ProblemError` 400 for text that is not JSON, is nested too deeply or is no object, 422
    where a name is given twice: readers differ on which of them counts.
    """
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
        json.loads(body, object_pairs_hook=_refuse_doubled)
    except RecursionError:
        raise problem(400, "request.json", "the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise problem(400, "request.json", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise problem(400, "request.json", "the body must be a JSON object")
    return value


def _refuse_doubled(pairs: list[tuple[str, Any]]) -> None:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise _given_twice(name)
        names.add(name)


def build_request(
    command: Command[Any],
    path: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    body: Mapping[str, Any],
) -> Any:
    """Make the request of ``command``.

    Path and query are text and read by the field's type; the body's types must fit as they are.
    Raises `ProblemError` 422 naming the field for anything unknown, missing, given twice or wrong.
    """
    hints = typing.get_type_hints(command.request, include_extras=True)
    fields = {field.name: field for field in attrs.fields(command.request) if field.init}
    given: dict[str, Any] = {}
    for name, text in path.items():
        given[name] = _convert(fields[name], text, hints[name], strict=False)
    for name, texts in query.items():
        _check_name(name, fields, given)
        value: Any = list(texts) if _is_list(hints[name]) else _single(name, texts)
        given[name] = _convert(fields[name], value, hints[name], strict=False)
    for name, value in body.items():
        _check_name(name, fields, given)
        given[name] = _convert(fields[name], value, hints[name], strict=True)
    for name, field in fields.items():
        if name not in given and field.default is attrs.NOTHING:
            raise problem(
                422, "request.field.missing", f"{name} is missing", field=name, allowed="a value"
            )
    try:
        return command.request(**given)
    except (ValueError, TypeError) as error:
        raise problem(422, "request.invalid", str(error)) from error


def _check_name(name: str, fields: Mapping[str, object], given: Mapping[str, object]) -> None:
    if name not in fields:
        raise problem(
            422,
            "request.field.unknown",
            "this command has no such field",
            field=name,
            allowed=", ".join(fields) or "no fields",
        )
    if name in given:
        raise _given_twice(name)


def _given_twice(name: str) -> ProblemError:
    return problem(
        422, "request.field.twice", f"{name} is given twice", field=name, allowed="one value"
    )


def _single(name: str, texts: Sequence[str]) -> str:
    if len(texts) != 1:
        raise _given_twice(name)
    return texts[0]


def _is_list(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_is_list(one) for one in typing.get_args(hint))
    return typing.get_origin(hint) in (tuple, list, frozenset, set)


def _convert(field: "attrs.Attribute[Any]", value: Any, hint: Any, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, hint, strict=strict)
    except RecursionError:
        raise problem(422, "request.field.invalid", "nested too deeply", field=field.name) from None
    except msgspec.ValidationError as error:
        raise _refused(field, value, str(error)) from None


def _refused(field: "attrs.Attribute[Any]", value: Any, message: str) -> ProblemError:
    inner = _AT.search(message)
    expected = message[: inner.start()] if inner else message
    place = field.name + inner["path"] if inner else field.name
    plain = isinstance(value, str | int | float) and not field.metadata.get("secret")
    kinds = _KINDS.fullmatch(expected)
    if kinds:
        given = _IN_WORDS.get(kinds["given"], kinds["given"])
        expected = " or ".join(_IN_WORDS.get(it, it) for it in kinds["wanted"].split(" | "))
    return problem(
        422,
        "request.field.invalid",
        f"{place} is {given}" if kinds else f"{place}: {expected}",
        field=place,
        value=str(value) if plain else "",
        allowed=expected,
    )
