"""A preview: what a form would do, in words, with the way back to it and the way on."""

from collections.abc import Iterator
from typing import Any

import attrs

from controller.changes import redacted
from controller.web.panel.answers import Page, Room
from controller.web.panel.menu import place_of
from controller.web.panel.visits import (
    AGAIN,
    CONFIRMED,
    PREVIEW,
    Form,
    PreviewedError,
    read_warnings,
    warnings_of,
)

BACK = "from"
"""The field with the page that a form was sent from, for forms whose values no page shows again."""
_NOT_CARRIED = frozenset(("csrf", PREVIEW, AGAIN, BACK, CONFIRMED))
_MOST = 20
_ROOMS: dict[str, Room] = {
    "boxes": "boxes",
    "servers": "servers",
    "model": "servers",
    "accounts": "accounts",
    "domains": "domains",
    "ssl": "ssl",
    "service": "service",
    "held": "held",
    "operators": "operators",
}


def preview_page(told: PreviewedError, form: Form, path: str, back: str) -> Page:
    """Give the page for a form that was sent to ``path`` from the page ``back``.

    It carries the form's fields along, so that sending it on is sending the form. A secret is never
    written into a page: where one was given, the way on leads through the form.
    """
    done = told.done
    secrets = _secrets(told.request)
    lines = [
        f"{each.action} {each.kind} {each.key or each.logical_server} on {each.logical_server}"
        for each in done.plan.objects
    ]
    room = _ROOMS.get(path.split("/")[1], "")
    entry = place_of(room).entry
    return Page(
        "preview",
        "Preview",
        room,
        {
            "command": told.command.name,
            "request": redacted(told.request),
            "words": done.plan.words,
            "warnings": warnings_of(done),
            "objects": lines[:_MOST],
            "left_out": max(len(lines) - _MOST, 0),
            "differences": done.plan.differences or (),
            "fields": list(_carried(form, secrets, read_warnings(done), back)),
            "complete": not any(getattr(told.request, name) for name in secrets),
            "removes": told.command.method == "DELETE",
            "path": path,
        },
        crumbs=((entry.words, entry.path),) if entry else (),
    )


def _carried(
    form: Form, secrets: frozenset[str], warnings: str, back: str
) -> Iterator[tuple[str, str]]:
    for name in form.texts:
        if name not in _NOT_CARRIED and name not in secrets:
            yield from ((name, value) for value in form.texts_of(name))
    if warnings:
        yield CONFIRMED, warnings
    yield BACK, back


def _secrets(request: Any) -> frozenset[str]:
    fields = attrs.fields(type(request))
    return frozenset(field.name for field in fields if field.metadata.get("secret"))
