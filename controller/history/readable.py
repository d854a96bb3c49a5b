"""Specifications of objects as text that a person compares, secrets left out. Pure."""

import difflib
import json
import re
from typing import Any

import msgspec

_SECRET = re.compile(r"secret:[0-9]+:[0-9a-f]{64}")
MOST_LINES = 400
"""Lines of one difference, at most; the rest is counted."""


def readable(spec: bytes | None) -> list[str]:
    """Give a specification line by line: each field, and each item of a list, on a line."""
    if spec is None:
        return []
    lines = []
    for name, value in msgspec.msgpack.decode(spec).items():
        lines += _lines(name, value)
    return lines


def difference(before: bytes | None, after: bytes | None) -> str:
    """Give what differs as a unified diff without a header, empty where nothing is told."""
    compared = difflib.unified_diff(readable(before), readable(after), lineterm="", n=1)
    lines = [line for line in compared if not line.startswith(("---", "+++"))]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES} more lines"]
    return "\n".join(lines)


def _lines(name: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in _lines(f"{name}.{key}", item)]
    if isinstance(value, list):
        return [f"{name}: {_text(item)}" for item in value]
    return [f"{name} = {_text(value)}"]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, str) and _SECRET.fullmatch(value):
        return "(secret)"
    return json.dumps(value, ensure_ascii=False)
