"""Every version of a desired object: the command ``object.history``."""

import re
from typing import Any

import attrs
from twisted.internet.threads import deferToThread

from controller.cluster.servers.logical_servers import find_server
from controller.commands import Command, Work
from controller.history.readable import difference
from controller.moments import time_text
from controller.pages import after_text, limit, page
from controller.refusal import CommandError
from controller.runner import Afterwards

MOST_DIFFS = 50
"""Versions of a page whose differences are told."""


@attrs.frozen
class ShowHistory:
    """A page of the versions of the object ``key`` of ``kind``, newest first.

    ``lserver`` narrows it to one logical server; with ``diff`` each version says what it changed.
    """

    kind: str
    key: str = ""
    lserver: str = ""
    diff: bool = False
    limit: int = 50
    cursor: str = ""


_LIST = """
SELECT o.logical_server_id::text, coalesce(s.name, ''), o.revision, o.before, o.after,
       c.id, c.seq, c.command, c.actor, c.on_behalf_of, c.at, c.reason, c.undoes
FROM change_object o JOIN change c ON c.id = o.change_id
LEFT JOIN logical_server s ON s.id = o.logical_server_id
WHERE o.kind = %s AND o.key = %s AND (o.change_id, o.logical_server_id) < (%s, %s::uuid)
{narrowed} ORDER BY o.change_id DESC, o.logical_server_id DESC LIMIT %s
"""
_ALL = _LIST.format(narrowed="")
_ONE = _LIST.format(narrowed="AND o.logical_server_id = %s::uuid")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    before, after = row[3], row[4]
    action = "added" if before is None else "removed" if after is None else "changed"
    return {
        "logical_server": row[1],
        "revision": row[2],
        "action": action,
        "change": row[5],
        "seq": row[6],
        "command": row[7],
        "actor": row[8],
        "on_behalf_of": row[9],
        "at": time_text(row[10]),
        "reason": row[11],
        "undoes": row[12],
    }


async def history(work: Work, request: ShowHistory) -> Afterwards:
    """List the versions of an object, newest first: which change wrote each, who and when."""
    size = limit(request.limit)
    if request.diff and size > MOST_DIFFS:
        raise CommandError(
            "list.limit.invalid",
            "differences are told of fewer versions at a time",
            field="limit",
            value=str(size),
            allowed=f"1 to {MOST_DIFFS} with diff",
        )
    change, server = _after(request.cursor)
    place = (request.kind, request.key, change, server)
    if request.lserver:
        one = await find_server(work.tx, request.lserver, field="lserver")
        found = await work.tx.rows(_ONE, (*place, one.id, size + 1))
    else:
        found = await work.tx.rows(_ALL, (*place, size + 1))
    if not found and not request.cursor:
        raise CommandError(
            "object.unknown",
            "no logical server was ever told of such an object",
            field="key",
            value=f"{request.kind} {request.key}".strip(),
            allowed="a kind and a key, such as: zone shop.test, site shop.test, server",
            status=404,
        )

    def compared() -> dict[str, Any]:
        items = [{**_shown(row), "place": f"{row[5]} {row[0]}"} for row in found]
        answer = page(items, size, lambda item: str(item["place"]))
        for item, row in zip(answer["items"], found, strict=False):
            del item["place"]
            told = request.diff
            old, new = (None if spec is None else bytes(spec) for spec in (row[3], row[4]))
            item["diff"] = difference(old, new) if told else None
        return answer

    async def fetch() -> Any:
        # Large zones are compared beside the reactor.
        return await deferToThread(compared)

    return Afterwards(fetch)


def _after(cursor: str) -> tuple[int, str]:
    """Read the place that a page begins after; raises `CommandError`."""
    text = after_text(cursor) or f"{2**63 - 1} {_LAST}"
    change, _, server = text.partition(" ")
    if not (
        change.isascii() and change.isdigit() and int(change) < 2**63 and _UUID.fullmatch(server)
    ):
        raise CommandError(
            "list.cursor.invalid",
            "not a cursor of this list",
            field="cursor",
            value=cursor,
            allowed="the field next of the page before",
        )
    return int(change), server


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "object.history",
        "GET",
        "/objects/{kind}/history",
        ShowHistory,
        "provider.read",
        "Show every version of a desired object",
        history,
        "Newest first, on one logical server or on all: which change wrote each version, who and"
        " when. With `diff`, what it changed; secrets are left out.",
    ),
)
