"""A change: what one committed command did, collected while it runs and written once.

The touched logical servers are locked in ascending id, so commit order is revision order on each
of them, and each object gets the next revision of its server. That takes one round trip; what is
written then travels with the COMMIT.
How far the boxes are with a change is read by `controller.progress`.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from controller.change_plan import ChangePlan, Foreseen, PlannedObject, PlannedRow
from controller.fleet.committed import Committed, Pending, ServerChange, Watch
from controller.hazards import Approval, Hazard
from controller.principal import Principal
from controller.progress import ChangeState, LaneProgress, change_state, change_states
from controller.refusal import CommandError
from controller.storage.database import OvertakenError, Transaction
from controller.written_objects import Standing, Wanted, Written, action_of
from templates.objects import (
    ObjectKind,
    Spec,
    encode_spec,
    undisturbed,
)
from templates.service_type import Endpoint

__all__ = [
    "ChangeState",
    "ChangeWriter",
    "ChangedRow",
    "LaneProgress",
    "change_state",
    "change_states",
    "redacted",
    "secret_field",
]

MAX_SPEC = 4 * 1024 * 1024
"""The most bytes of one object, half of a frame: a larger one could never reach its box."""


def secret_field(*, once: bool = False, **arguments: Any) -> Any:
    """Give an attrs field whose value stays out of the repr and out of the change's request.

    One that is used ``once`` leaves no trace at all: not even a digest for replays is kept.
    """
    return attrs.field(repr=False, metadata={"secret": True, "once": once}, **arguments)


def redacted(request: Any) -> dict[str, Any]:
    """Give a command's request as the change keeps it: values of secret fields left out."""
    secret = _secrets(request)
    return {
        field.name: "(secret)" if field.name in secret else getattr(request, field.name)
        for field in attrs.fields(type(request))
    }


def has_secrets(request: Any) -> bool:
    """Tell whether the change keeps less of a request than was asked."""
    return bool(_secrets(request))


def _secrets(request: Any) -> set[str]:
    return {
        field.name
        for field in attrs.fields(type(request))
        if field.metadata.get("secret") and getattr(request, field.name)
    }


@attrs.frozen
class ChangedRow:
    """A row of the model as it was and as it is; None where there was, or is, no such row."""

    relation: str
    key: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


# An object can be a zone of thousands of records: what it was is compared by its digest, and leaves
# the database only for kinds where a daemon goes through more or less for it.
_LOCK = """
SELECT 1 FROM logical_server WHERE id = ANY(ARRAY(SELECT unnest(%s::uuid[]))) ORDER BY id
FOR NO KEY UPDATE;
SELECT s.id::text, s.revision, s.name, g.kind, g.key, sha256(o.spec), o.requires,
       (SELECT nextval('change_id_seq')),
       CASE WHEN g.disturbs THEN o.spec END,
       ARRAY(SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
             WHERE l.logical_server_id = s.id ORDER BY b.name),
       CASE WHEN s.group_name = 'dns' THEN
           (SELECT jsonb_build_array(host(i.address), i.port) FROM ip_address i
            WHERE i.logical_server_id = s.id AND i.type = 'service')
       END
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bool[]) AS g(server, kind, key, disturbs)
JOIN logical_server s ON s.id = g.server
LEFT JOIN desired_object o ON o.logical_server_id = g.server AND o.kind = g.kind AND o.key = g.key
"""

_WRITE = """
WITH given AS (
    SELECT g.*, o.spec AS before
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::int[], %s::bytea[],
                %s::text[], %s::text[], %s::bigint[])
        AS g(server, kind, key, revision, kind_version, spec, requires, secrets, owner)
    LEFT JOIN desired_object o
        ON o.logical_server_id = g.server AND o.kind = g.kind AND o.key = g.key
), made AS (
    INSERT INTO change (id, actor, on_behalf_of, origin, command, request, reason, undoes)
    OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s, %s) RETURNING id
), bumped AS (
    UPDATE logical_server s SET revision = m.revision, holds = s.holds + m.more
    FROM (SELECT server, max(revision) AS revision,
                 coalesce(sum((spec IS NOT NULL)::int - (before IS NOT NULL)::int)
                          FILTER (WHERE kind IN ('zone', 'site')), 0) AS more
          FROM given GROUP BY server) m
    WHERE s.id = m.server
), objects AS (
    INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version, spec,
                                requires, secrets, owner_id, deleted, change_id)
    SELECT server, kind, key, revision, kind_version, spec, requires::jsonb, secrets::bigint[],
           owner, spec IS NULL, made.id FROM given, made
    ON CONFLICT (logical_server_id, kind, key) DO UPDATE
    SET revision = excluded.revision, kind_version = excluded.kind_version, spec = excluded.spec,
        requires = excluded.requires, secrets = excluded.secrets, owner_id = excluded.owner_id,
        deleted = excluded.deleted, change_id = excluded.change_id
), logged AS (
    INSERT INTO change_object (change_id, logical_server_id, kind, key, revision, before, after)
    SELECT made.id, server, kind, key, revision, before, spec FROM given, made
), touched AS (
    INSERT INTO change_row (change_id, position, relation, row_key, before, after)
    SELECT made.id, r.position, r.relation, r.key, r.before::jsonb, r.after::jsonb
    FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY
        AS r(relation, key, before, after, position), made
), watched AS (
    INSERT INTO change_watch (change_id, logical_server_id, zone, serial)
    SELECT made.id, w.server, w.zone, w.serial
    FROM unnest(%s::uuid[], %s::text[], %s::bigint[]) AS w(server, zone, serial), made
)
SELECT pg_notify('hs_change', made.id::text),
       pg_notify('hs_event', json_build_object('change', made.id)::text) FROM made
"""


class ChangeWriter:
    """Collects what one command touches, then writes it: ``Work.change``."""

    def __init__(
        self,
        tx: Transaction,
        principal: Principal,
        command: str,
        request: Mapping[str, Any],
        reason: str,
    ) -> None:
        self._tx = tx
        self._principal = principal
        self._command = command
        self._request = request
        self._reason = reason
        self._objects: dict[tuple[str, str, str], Wanted] = {}
        self._rows: list[ChangedRow] = []
        self._undoes: int | None = None
        self.approval: Approval | None = None
        self._watches: dict[tuple[str, str], int] = {}
        self._drawn: dict[str, str] = {}
        self.foreseen = Foreseen()
        self.rehearsal: Callable[[Any], Awaitable[None]] | None = None
        self._written: list[Written] = []
        self._names: dict[str, str] = {}
        self._boxes: dict[str, tuple[str, ...]] = {}
        self._before: dict[str, int] = {}
        self._relied: dict[str, tuple[str, Endpoint]] = {}

    async def upsert(
        self,
        lserver_id: str,
        kind: ObjectKind,
        key: str,
        spec: Spec,
        *,
        requires: Iterable[tuple[str, str]] = (),
        secrets: Iterable[int] = (),
        owner_id: int | None = None,
    ) -> None:
        """Make a logical server serve ``spec``. One that equals what is there touches nothing.

        ``secrets`` are ids whose references stand in the spec's text fields. Raises `CommandError`
        where the object is too large to reach a box.
        """
        data = encode_spec(spec)
        if len(data) > MAX_SPEC:
            raise CommandError(
                "object.too-large",
                f"{kind.name} {key} is too large for its server",
                value=str(len(data)),
                allowed=f"at most {MAX_SPEC} bytes: delegate a part to a zone of its own",
            )
        self._objects[lserver_id, kind.name, key] = Wanted(
            kind, data, tuple(requires), tuple(secrets), owner_id
        )

    async def remove(
        self, lserver_id: str, kind: ObjectKind, key: str, *, owner_id: int | None = None
    ) -> None:
        """Make a logical server serve the object no more; one that is not there touches nothing."""
        self._objects[lserver_id, kind.name, key] = Wanted(kind, None, (), (), owner_id)

    def row(
        self,
        relation: str,
        key: object,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Note a row of the model, as it was and as it is. Never with a secret in it."""
        self._rows.append(ChangedRow(relation, str(key), before, after))

    def undoing(self, change_id: int) -> None:
        """Note that this change undoes another one."""
        self._undoes = change_id

    @property
    def rows(self) -> tuple[ChangedRow, ...]:
        """The rows noted so far, in order, as a reader of the change will find them."""
        return tuple(
            ChangedRow(row.relation, row.key, _read_back(row.before), _read_back(row.after))
            for row in self._rows
        )

    def rely(self, lserver_id: str, name: str, endpoint: Endpoint) -> None:
        """Be written only if a name server still has the name and the endpoint that it was read
        with: it may have been read before others renamed it or gave it another endpoint.
        """
        self._relied[lserver_id] = name, endpoint

    async def watch(self, lserver_id: str, zone: str, serial: int) -> None:
        """Count the change as live only when ``lserver_id`` answers ``zone`` with ``serial``."""
        self._watches[lserver_id, zone] = serial

    def forget(self, lserver_id: str) -> None:
        """Drop what was collected for a logical server that goes in this very change."""
        self._objects = {key: it for key, it in self._objects.items() if key[0] != lserver_id}
        self._watches = {key: it for key, it in self._watches.items() if key[0] != lserver_id}

    def drew(self, what: str, chosen: str) -> None:
        """Note a choice that chance made, for the plan of a dry run."""
        self._drawn[what] = chosen

    def foresee(self, foreseen: Foreseen, rehearsal: Callable[[Any], Awaitable[None]]) -> None:
        """Note what jobs do once this change is made: for its plan, and its hazards.

        ``rehearsal`` does the same by a `Work` of its own: a dry run that asks boxes asks for that.
        """
        self.foreseen, self.rehearsal = foreseen, rehearsal

    def approving(
        self, approval: Approval, command: str, request: Mapping[str, Any], reason: str
    ) -> None:
        """Be the change of a command that was held back, of whose hazards some are accepted."""
        self.approval = approval
        self._command, self._request = command, request
        self._reason = "; ".join(words for words in (reason, self._reason) if words)

    async def close(self) -> int | None:
        """Write the change. Gives its id, or None where nothing was touched.

        Raises `OvertakenError` where a server that it relies on is another one by now.
        It is written with the next statement of the transaction, its COMMIT if there is no other.
        """
        change_id = await self._number()
        if not self._written and not self._rows and not self._watches:
            return None
        if change_id is None:
            (change_id,) = await self._tx.row("SELECT nextval('change_id_seq')")
        written = self._written
        self._tx.run_with_next(
            _WRITE,
            (
                [item.logical_server for item in written],
                [item.wanted.kind.name for item in written],
                [item.key for item in written],
                [item.revision for item in written],
                [item.wanted.kind.version for item in written],
                [item.wanted.spec for item in written],
                [json.dumps(item.wanted.requires) for item in written],
                [_array(item.wanted.secrets) for item in written],
                [item.wanted.owner_id for item in written],
                change_id,
                self._principal.actor,
                self._principal.account,
                self._principal.origin,
                self._command,
                json.dumps(self._request, default=str),
                self._reason,
                self._undoes,
                [row.relation for row in self._rows],
                [row.key for row in self._rows],
                [_json(row.before) for row in self._rows],
                [_json(row.after) for row in self._rows],
                [server for server, _ in self._watches],
                [zone for _, zone in self._watches],
                list(self._watches.values()),
            ),
        )
        return change_id

    async def _number(self) -> int | None:
        """Lock the touched servers and give each object that differs its own revision.

        Gives a number for the change, or None where no server was asked for anything.
        """
        if not self._objects:
            return None
        keys = sorted(self._objects)
        columns = [[key[place] for key in keys] for place in range(3)]
        disturbing = [self._objects[key].kind.disturbs is not undisturbed for key in keys]
        servers = sorted({key[0] for key in keys})
        found = await self._tx.rows(_LOCK, (servers, *columns, disturbing))
        self._before = {row[0]: int(row[1]) for row in found}
        revisions = dict(self._before)
        self._names = {row[0]: row[2] for row in found}
        self._boxes = {row[0]: tuple(row[9]) for row in found}
        present = {row[0]: (row[2], row[10]) for row in found}
        for server, (name, endpoint) in self._relied.items():
            read = name, [endpoint.address, endpoint.port]
            if present.get(server, read) != read:
                raise OvertakenError(f"{name} at {endpoint} was renamed or readdressed")
        before = {
            (row[0], row[3], row[4]): Standing(_bytes(row[5]), _bytes(row[8])) for row in found
        }
        required = {(row[0], row[3], row[4]): row[6] or [] for row in found}
        for key, wanted in self._objects.items():
            if key not in before:
                raise CommandError(
                    "lserver.unknown", "the logical server is gone", value=key[0], status=409
                )
            needs = [list(need) for need in wanted.requires]
            if before[key].is_as(wanted.spec) and required[key] == needs:
                continue
            revisions[key[0]] += 1
            self._written.append(Written(key[0], key[2], revisions[key[0]], wanted, before[key]))
        return int(found[0][7])

    def committed(self, change_id: int) -> Committed:
        """Give what was written as the change ``change_id``, for whoever brings it to the boxes."""
        objects: dict[str, list[Pending]] = {}
        for item in self._written:
            wanted = item.wanted
            objects.setdefault(item.logical_server, []).append(
                Pending(
                    wanted.kind.name,
                    item.key,
                    item.revision,
                    wanted.kind.version,
                    wanted.spec,
                    wanted.requires,
                    wanted.secrets,
                    change_id,
                )
            )
        return Committed(
            change_id,
            tuple(
                ServerChange(server, self._before[server], tuple(pending))
                for server, pending in objects.items()
            ),
            tuple(
                Watch(change_id, server, zone, serial)
                for (server, zone), serial in self._watches.items()
            ),
        )

    @property
    def planned(self) -> tuple[PlannedObject, ...]:
        """What was written for boxes, after `close`, and what their daemons go through."""
        return tuple(
            PlannedObject(
                action=item.action,
                kind=item.wanted.kind.name,
                key=item.key,
                logical_server=self._names[item.logical_server],
                boxes=self._boxes[item.logical_server],
                disturbs=item.disturbs,
            )
            for item in self._written
        )

    @property
    def reach(self) -> frozenset[str]:
        """The boxes that are told of the change, after `close`."""
        touched = {item.logical_server for item in self._written}
        return frozenset(box for server in touched for box in self._boxes[server])

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """How many objects were added to and removed from each logical server, after `close`."""
        counts = {item.logical_server: (0, 0) for item in self._written}
        for item in self._written:
            added, removed = counts[item.logical_server]
            if item.before.digest is None:
                counts[item.logical_server] = added + 1, removed
            elif item.wanted.spec is None:
                counts[item.logical_server] = added, removed + 1
        return counts

    def plan(self, hazards: tuple[Hazard, ...] = ()) -> ChangePlan:
        """Say what was written, after `close`: the answer of a dry run."""
        return ChangePlan(
            objects=self.planned,
            rows=tuple(
                PlannedRow(action_of(row.before, row.after), row.relation, row.key)
                for row in self._rows
            ),
            drawn=dict(self._drawn),
            foreseen=self.foreseen,
            hazards=hazards,
        )


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, default=str)


def _read_back(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if value is None else json.loads(json.dumps(value, default=str))


def _array(ids: Sequence[int]) -> str:
    return "{" + ",".join(map(str, ids)) + "}"


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
