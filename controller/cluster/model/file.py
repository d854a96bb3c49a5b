"""The model as a TOML file: a table for each thing, so that two of them compare line by line.

Pure, and without what takes long to import: hsctl and the panel both write and read it.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = """\
# The model of a Heliosphere cluster, as `hsctl model export` wrote it.
# What is at its default is left out. Customers' accounts, domains and sites are not part of it.
"""


def written(model: Mapping[str, Any]) -> str:
    """Write a model."""
    lines = [_HEAD.rstrip()]
    lines += [f"{name} = {_value(model[name])}" for name in ("format", "service_domain")]
    for section in ("boxes", "logical_servers", "placement"):
        for name, thing in model.get(section, {}).items():
            lines += ["", *_table(f"{section}.{_key(name)}", thing)]
    return "\n".join(lines) + "\n"


def parsed(text: str) -> dict[str, Any]:
    """Read a model: TOML, or JSON where it begins so. Raises ValueError with the place."""
    found: dict[str, Any]
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        json.dumps(found, allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError:
        raise ValueError("a date or a time is no value of a model; put text in quotes") from None
    return found


def _table(path: str, thing: Mapping[str, Any]) -> Iterator[str]:
    """Write a thing: first its own fields, for what follows a table's head belongs to that."""
    yield f"[{path}]"
    tables = {name: value for name, value in thing.items() if isinstance(value, Mapping)}
    for name, value in thing.items():
        if isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            yield f"{_key(name)} = ["
            for part in value:
                yield f"    {_value(part)},"
            yield "]"
        elif name not in tables:
            yield f"{_key(name)} = {_value(value)}"
    for name, value in tables.items():
        yield ""
        yield from _table(f"{path}.{_key(name)}", value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        parts = (f"{_key(name)} = {_value(part)}" for name, part in value.items())
        return f"{{ {', '.join(parts)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    # A JSON string is a TOML one, but for DEL and what JSON writes as two surrogates.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
