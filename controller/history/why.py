"""The command ``pserver.why``: which object, which change, who and when, for a line of a file.

The controller knows what a box was told, and renders it as the box does. So no box is asked, no
file is read, and nothing but what the product itself writes is ever told: a path that it does not
write is said to be so.
"""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.threads import deferToThread

from controller.cluster.boxes.boxes import find_box
from controller.commands import Command, Work
from controller.history.lines import Written, brought_by, lane_context, owner_of, written
from controller.moments import time_text
from controller.refusal import CommandError
from controller.runner import Afterwards
from controller.storage.database import Transaction
from controller.storage.key_file import SecretError
from controller.storage.secrets import Secrets, references
from templates.objects import ObjectId, SpecError, decode_spec
from templates.registry import SERVICE_TYPES
from templates.service_type import SERVER_ID, LaneContext, Origin, ServiceType

MOST_VERSIONS = 500
"""Versions of an object that are looked at for a line."""
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of their specifications together, at most, but always two."""


@attrs.frozen
class AskWhy:
    """A line of a file on a box; ``line`` 0 asks for the file as a whole."""

    name: str
    file: str
    line: int = 0


@attrs.frozen
class _Lane:
    id: str
    server: str
    type: ServiceType
    settled: int


@attrs.frozen
class _Version:
    """One version of an object, with the change that wrote it."""

    revision: int
    spec: bytes | None
    change: Mapping[str, Any]


@attrs.frozen
class _Known:
    """All that is needed to say whose a file is: the objects of its unit, decoded."""

    lane: _Lane
    context: LaneContext
    path: str
    objects: Mapping[ObjectId, Any]
    file: Written


_LANES = """
SELECT s.id::text, s.name, s.service_type, l.settled_revision
FROM lane l JOIN logical_server s ON s.id = l.logical_server_id WHERE l.box_id = %s
"""

_OBJECTS = """
SELECT kind, key, spec, secrets FROM desired_object
WHERE logical_server_id = %s AND NOT deleted AND kind = %s AND {which}
"""
_BY_KEY = _OBJECTS.format(which="key = %s")
_BY_BEGINNING = _OBJECTS.format(which="key >= %s AND key < %s")
_BY_ACCOUNT = _OBJECTS.format(which="key IN (SELECT name FROM domain WHERE owner_id = %s)")

_VERSIONS = """
SELECT o.revision, o.after, c.id, c.command, c.actor, c.on_behalf_of, c.at, c.reason
FROM change_object o JOIN change c ON c.id = o.change_id
WHERE o.logical_server_id = %s AND o.kind = %s AND o.key = %s
AND o.revision < %s ORDER BY o.revision DESC LIMIT %s
"""
_A_READ = 20

_APPLIED = """
SELECT o.revision <= l.settled_revision AND e.outcome IS NULL
       OR coalesce(a.revision >= o.revision, false), coalesce(e.message, '')
FROM desired_object o JOIN lane l ON l.logical_server_id = o.logical_server_id AND l.box_id = %s
LEFT JOIN object_outcome e ON e.box_id = l.box_id AND e.logical_server_id = l.logical_server_id
     AND e.kind = o.kind AND e.key = o.key
LEFT JOIN applied_early a ON a.box_id = l.box_id AND a.logical_server_id = l.logical_server_id
     AND a.kind = o.kind AND a.key = o.key
WHERE o.logical_server_id = %s AND o.kind = %s AND o.key = %s
"""


@attrs.frozen
class Why:
    """The command; ``secrets`` are put in where a file's name comes from one."""

    secrets: Secrets

    async def why(self, work: Work, request: AskWhy) -> Afterwards:
        """Say where a line comes from."""
        if request.line < 0:
            raise CommandError(
                "why.line.invalid",
                "lines are counted from 1",
                field="line",
                value=str(request.line),
                allowed="1 and more, 0 for the file as a whole",
            )
        box = await find_box(work.tx, request.name)
        known = await self._known(work.tx, box.id, box.name, request.file)
        lines = known.file.lines
        if lines is not None and request.line > len(lines):
            raise CommandError(
                "why.line.beyond",
                f"what was written there has {len(lines)} lines",
                field="line",
                value=str(request.line),
                allowed=f"1 to {len(lines)}",
            )
        whole = lines is None or not request.line
        name = next(iter(known.objects))
        if not whole:
            name = owner_of(known.lane.type, known.context, known.objects, known.path, request.line)
        versions, complete = await self._versions(work.tx, known.lane, name, whole=whole)
        applied, message = await work.tx.row(_APPLIED, (box.id, known.lane.id, name.kind, name.key))
        answer = {
            "pserver": box.name,
            "file": request.file,
            "line": request.line or None,
            "logical_server": known.lane.server,
            "kind": name.kind,
            "key": name.key,
            "others": [f"{each.kind} {each.key}" for each in known.objects if each != name][:20],
            "applied": applied,
            "message": message,
        }
        if whole or lines is None:
            words = "" if lines is not None or not request.line else _UNTOLD
            return _at_once({**answer, "text": None, **_told(versions[0], True, words)})
        text = lines[request.line - 1]

        def look() -> dict[str, Any]:
            place, exact = brought_by(
                known.lane.type,
                known.context,
                name,
                [version.spec for version in versions],
                (known.path, text),
                complete=complete,
            )
            words = "" if exact else _OLDER
            return {**answer, "text": text, **_told(versions[place], exact, words)}

        async def fetch() -> Any:
            # Rendering many versions of a large zone takes its time: beside the reactor.
            return await deferToThread(look)

        return Afterwards(fetch)

    async def _known(self, tx: Transaction, box_id: str, box: str, file: str) -> _Known:
        """Find whose the file is; raises `CommandError` where nothing here writes it."""
        lanes = {
            row[0]: _Lane(row[0], row[1], SERVICE_TYPES[row[2]], row[3])
            for row in await tx.rows(_LANES, (box_id,))
            if row[2] in SERVICE_TYPES
        }
        parts = posixpath.normpath(file).split("/")
        for place, part in enumerate(parts):
            if part not in lanes or not file.startswith("/"):
                continue
            lane, path = lanes[part], "/".join(parts[place + 1 :])
            context = await self._context(tx, lane, "/".join(parts[: place + 1]))
            for origin in lane.type.origins(path) if path else ():
                known = await self._written(tx, lane, origin, path, context)
                if known is not None:
                    return known
        raise CommandError(
            "why.not-ours",
            f"nothing that {box} was told writes this file",
            field="file",
            value=file,
            allowed="the absolute path of a file below the folder of a logical server on the box, "
            "which is named by its id: " + (", ".join(sorted(lanes)) or "there is none"),
            status=404,
        )

    async def _context(self, tx: Transaction, lane: _Lane, root: str) -> LaneContext:
        found = await tx.rows(_BY_KEY, (lane.id, *_name(SERVER_ID)))
        server = bytes(found[0][2]) if found else None
        return lane_context(lane.type, lane.id, server, root)

    async def _written(
        self, tx: Transaction, lane: _Lane, origin: Origin, path: str, context: LaneContext
    ) -> _Known | None:
        """Give the unit that writes ``path``, if one of ``origin`` does."""
        if origin.account is not None:
            rows = await tx.rows(_BY_ACCOUNT, (lane.id, origin.kind, origin.account))
        elif origin.begins:
            last = origin.key + "\U0010ffff"
            rows = await tx.rows(_BY_BEGINNING, (lane.id, origin.kind, origin.key, last))
        else:
            rows = await tx.rows(_BY_KEY, (lane.id, origin.kind, origin.key))
        kind = lane.type.kinds[origin.kind]
        units: dict[str, dict[ObjectId, Any]] = {}
        for name, key, spec, ids in rows:
            try:
                clear = await self.secrets.inline(tx, bytes(spec), ids)
                decoded = decode_spec(kind, kind.version, clear)
            except (SecretError, SpecError):
                continue
            units.setdefault(kind.unit(key, decoded), {})[ObjectId(name, key)] = decoded
        for objects in units.values():
            file = written(lane.type, context, objects, path)
            if file is not None:
                return _Known(lane, context, path, objects, file)
        return None

    async def _versions(
        self, tx: Transaction, lane: _Lane, name: ObjectId, *, whole: bool
    ) -> tuple[Sequence[_Version], bool]:
        """Give the versions of an object, newest first, and whether those are all."""
        versions: list[_Version] = []
        size, before = 0, 2**63 - 1
        while len(versions) < MOST_VERSIONS:
            rows = await tx.rows(
                _VERSIONS, (lane.id, *_name(name), before, 1 if whole else _A_READ)
            )
            for row in rows:
                spec = None if row[1] is None else bytes(row[1])
                size += len(spec or b"")
                if size > MOST_BYTES and len(versions) > 1:
                    return versions, False
                try:
                    clear = spec and await self.secrets.inline(tx, spec, _references(name, spec))
                except SecretError:
                    return versions, False
                versions.append(_version(row, clear))
            if whole or len(rows) < _A_READ:
                return versions, True
            before = versions[-1].revision
        return versions, False

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "pserver.why",
                "GET",
                "/pservers/{name}/why",
                AskWhy,
                "provider.read",
                "Tell where a line of a file on a box comes from",
                self.why,
                "Which object, and which change brought the line, who and when. No file is read on"
                " the box: what it was told is rendered anew. Lines of files that may hold a"
                " secret, and of a server's own configuration, are not looked into.",
            ),
        )


_UNTOLD = (
    "single lines of this file are not looked into: it holds a secret, or what differs from box "
    "to box; this is the newest change to its object"
)
_OLDER = "the line may be older: earlier versions cannot be looked into"


def _name(object_id: ObjectId) -> tuple[str, str]:
    return object_id.kind, object_id.key


def _references(name: ObjectId, spec: bytes) -> list[int]:
    """Give the ids of the secrets that a specification refers to; records never do."""
    return references(spec) if name.kind != "zone" else []


def _version(row: tuple[Any, ...], spec: bytes | None) -> _Version:
    return _Version(
        row[0],
        spec,
        {
            "id": row[2],
            "command": row[3],
            "actor": row[4],
            "on_behalf_of": row[5],
            "at": time_text(row[6]),
            "reason": row[7],
        },
    )


def _told(version: _Version, exact: bool, words: str) -> dict[str, Any]:
    return {
        "revision": version.revision,
        "change": version.change,
        "exact": exact,
        "words": words,
    }


def _at_once(answer: dict[str, Any]) -> Afterwards:
    async def fetch() -> Any:
        return answer

    return Afterwards(fetch)
