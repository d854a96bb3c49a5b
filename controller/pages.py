"""Lists a page at a time: keyset paging with opaque cursors; each page costs like the first."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any

from controller.refusal import CommandError

MAX_LIMIT = 1000


def limit(number: int) -> int:
    """Check a page's size; raises `CommandError` ``list.limit.invalid``."""
    if not 1 <= number <= MAX_LIMIT:
        raise CommandError(
            "list.limit.invalid",
            "the size of a page is out of range",
            field="limit",
            value=str(number),
            allowed=f"1 to {MAX_LIMIT}",
        )
    return number


def after_text(cursor: str) -> str:
    """Give the key that a page starts after, empty for the first page."""
    key = _read(cursor) if cursor else ""
    if not isinstance(key, str) or "\0" in key:
        raise _refused(cursor)
    return key


def after_number(cursor: str, first: int) -> int:
    """Give the number that a page starts after, ``first`` for the first page."""
    key = _read(cursor) if cursor else first
    if not isinstance(key, int) or not -(2**63) <= key < 2**63:
        raise _refused(cursor)
    return key


def page(
    items: Sequence[dict[str, Any]], size: int, key: Callable[[dict[str, Any]], str | int]
) -> dict[str, Any]:
    """Give the answer of a list from up to ``size`` + 1 items; ``next`` None on the last page."""
    shown = list(items[:size])
    following = None
    if len(items) > size:
        text = json.dumps(key(shown[-1])).encode()
        following = urlsafe_b64encode(text).rstrip(b"=").decode()
    return {"items": shown, "next": following}


def prefix_range(text: str) -> tuple[str, str]:
    """Give the range of an ordered index that holds all names beginning with ``text``."""
    return text, text + "\U0010ffff"


def contains(text: str) -> str:
    """Give the LIKE pattern of names that contain ``text``."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _read(cursor: str) -> object:
    try:
        return json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError) as error:
        raise _refused(cursor) from error


def _refused(cursor: str) -> CommandError:
    return CommandError(
        "list.cursor.invalid",
        "not a cursor of this list",
        field="cursor",
        value=cursor,
        allowed="the field next of the page before",
    )
