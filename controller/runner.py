"""Running a command: permission, idempotency, one transaction, its change; the dry run of it.

Panel, API and hsctl come through here, so what one of them may do, or is refused, all are.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from itertools import chain
from typing import Any, TypeVar

import attrs
import msgspec
import psycopg2.errors
from twisted.logger import Logger

from controller.change_plan import ChangePlan
from controller.changes import ChangeWriter, has_secrets, redacted
from controller.commands import Command, Permission, Registry, Work
from controller.crash_points import CrashSite, pass_by
from controller.fleet.committed import Handover
from controller.fleet.differences import Concerned, Differences
from controller.hazard_facts import facts_of
from controller.hazards import Approval, judge
from controller.holding import Holding, held_before, not_accepted
from controller.principal import Principal, system
from controller.refusal import CommandError
from controller.standing import standing
from controller.storable import check_storable
from controller.storage import idempotency
from controller.storage.database import (
    CommitUnknownError,
    Database,
    DatabaseUnavailableError,
    OvertakenError,
    Rollback,
    Transaction,
)
from controller.storage.link import STATEMENT_MILLISECONDS
from controller.uniqueness import taken

_log = Logger()
_IN_VAIN = (psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled, OvertakenError)
"""PostgreSQL gave up: on waiting for another transaction, or on a statement that took too long. Or
others were faster each time that a command was run again."""
_UNSEALED = Holding()
_Found = TypeVar("_Found")


@attrs.frozen
class CommandResult:
    """A command's answer; ``change_id`` None where nothing was touched or nothing was kept.

    ``since``: where nothing was touched, the change by which it is so, live or not.
    """

    result: Any
    change_id: int | None
    plan: ChangePlan | None = None
    since: int | None = None


@attrs.frozen
class OneTime:
    """An answer that is given once: a replay of its idempotency key answers ``kept`` instead."""

    answer: Any = attrs.field(repr=False)
    kept: Any


@attrs.frozen
class _Hazardous:
    """How a transaction ended that met hazards nobody accepted, or not as they are now."""

    plan: ChangePlan
    approval: Approval | None


@attrs.frozen
class Note:
    """What became of something asked for, as a change of the controller's own."""

    command: str
    request: Mapping[str, Any]
    relation: str
    key: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@attrs.frozen
class Afterwards:
    """An answer that is fetched from outside once the transaction has ended, so that no row is
    locked and no connection taken while a box is asked. A dry run, and a replay, answer ``kept``.

    ``fetch`` may raise `CommandError` where the command reads; one that writes has made its change
    by then and answers whatever came of it. ``note`` gives what the audit keeps of that answer.
    """

    fetch: Callable[[], Awaitable[Any]]
    kept: Any = None
    note: Callable[[Any], Note] | None = None


def _allowed(principal: Principal, permission: Permission) -> bool:
    return principal.kind == "provider" or permission.startswith("account.")


def _permit(principal: Principal, command: Command[Any], *, diff: bool) -> None:
    if not _allowed(principal, command.permission):
        raise CommandError(
            "permission.denied", f"{command.name} is not permitted", value=command.name, status=403
        )
    if diff and principal.kind != "provider":
        raise CommandError(
            "permission.denied",
            "what stands on a box is shown to operators alone",
            field="diff",
            status=403,
        )


class CommandRunner:
    """Runs the commands of a registry on a database.

    ``handover`` is given each change right after its commit, before whoever asked is answered.
    ``differences`` asks boxes what a dry run would change on them; where there is none, none does.
    ``holding`` keeps those that a hazard holds back.
    """

    def __init__(
        self,
        database: Database,
        registry: Registry,
        handover: Handover | None = None,
        differences: Differences | None = None,
        holding: Holding = _UNSEALED,
        *,
        at: CrashSite = pass_by,
    ) -> None:
        self._database = database
        self._registry = registry
        self._handover = handover
        self._differences = differences
        self._holding = holding
        self._at = at

    async def run(
        self,
        principal: Principal,
        name: str,
        request: Any,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        diff: bool = False,
        reason: str = "",
    ) -> CommandResult:
        """Run the command ``name`` with ``request``, a record of the command's request class.

        A write is one transaction, and its change is part of it. ``dry_run`` does the same and
        rolls it back; its answer holds the plan. With ``diff``, the boxes concerned are then asked
        what would change on them, and the plan has their answers. ``idempotency_key`` makes a
        repeated write answer what the first one did. Raises `CommandError` where it is refused:
        nothing was written then; `HeldBackError` where it meets hazards that nobody has accepted.
        """
        command: Command[Any] = self._registry[name]
        _permit(principal, command, diff=diff)
        check_storable(request)
        try:
            if not command.writes:
                return await self._read(principal, command, request)
            return await self._write(
                principal,
                command,
                request,
                key=None if dry_run else idempotency_key,
                dry_run=dry_run,
                diff=diff,
                reason=reason,
            )
        except CommandError as error:
            if error.status == 404 and not command.is_for(error.field):
                raise attrs.evolve(error, status=422) from error
            raise

    async def _write(
        self,
        principal: Principal,
        command: Command[Any],
        request: Any,
        *,
        key: str | None,
        dry_run: bool,
        diff: bool,
        reason: str,
    ) -> CommandResult:
        name = command.name
        begun: list[int] = []
        concerned: tuple[Concerned, ...] = ()

        digest = _fingerprint(name, request)

        async def work(tx: Transaction) -> CommandResult | _Hazardous:
            nonlocal concerned
            if key is not None:
                replay = await _replayed(tx, principal, key, digest)
                if replay is not None:
                    return replay
                self._at("claimed")
            change = ChangeWriter(tx, principal, name, redacted(request), reason)
            answer = await command.function(Work(tx, principal, change), request)
            kept = answer.kept if isinstance(answer, OneTime | Afterwards) else answer
            answer = answer.answer if isinstance(answer, OneTime) else answer
            change_id = await change.close()
            hazards = judge(await facts_of(tx, change, reload_boxes=self._holding.reload_boxes))
            if dry_run:
                await tx.rows("SELECT 1")  # what is carried must be written to be refused
                plan = change.plan(hazards)
                concerned = await self._concerned(tx, change, plan) if diff else ()
                raise Rollback(CommandResult(kept, None, plan))
            if hazards and (change.approval is None or change.approval.objections(hazards)):
                await tx.rows("SELECT 1")
                raise Rollback(_Hazardous(change.plan(hazards), change.approval))
            if change_id is not None:
                begun.append(change_id)
                self._hand_over(tx, change, change_id)
            if key is not None:
                idempotency.record(tx, principal.actor, key, change_id=change_id, response=kept)
            self._at("written")
            return CommandResult(answer, change_id)

        try:
            done = await self._database.transaction(principal, work, name=name)
        except psycopg2.errors.UniqueViolation as error:
            raise taken(error, request) from error
        except _IN_VAIN as error:
            raise _ended_in_vain(error) from error
        finally:
            if self._handover is not None:
                for change_id in begun:
                    self._handover.ended(change_id)
        if isinstance(done, _Hazardous):
            done = await self._held(
                principal, name, request, done, key=key, digest=digest, reason=reason
            )
        if dry_run and diff and done.plan is not None:
            return attrs.evolve(done, plan=await self._with_differences(done.plan, concerned))
        self._at("answering")
        done = await self._fetched(done)
        if done.change_id is None and not dry_run:
            return attrs.evolve(done, since=await self._since(principal, name, request))
        return done

    async def _concerned(
        self, tx: Transaction, change: ChangeWriter, plan: ChangePlan
    ) -> tuple[Concerned, ...]:
        """Give the lanes whose boxes are asked what would change on them, also by jobs."""
        if self._differences is None:
            return ()
        committed, planned = [change.committed(0)], [*plan.objects]
        if change.rehearsal is not None:
            jobs = ChangeWriter(tx, tx.principal, "", {}, "")
            await change.rehearsal(Work(tx, tx.principal, jobs))
            await jobs.close()
            committed.append(jobs.committed(0))
            planned += jobs.planned
        added = {(it.kind, it.key) for it in planned if it.action == "add"}
        found = [await self._differences.concerned(tx, each, added) for each in committed]
        return tuple(chain.from_iterable(found))

    async def _with_differences(
        self, plan: ChangePlan, concerned: Sequence[Concerned]
    ) -> ChangePlan:
        """Ask the boxes, now that nothing is locked any more."""
        told = () if self._differences is None else await self._differences.ask(concerned)
        return attrs.evolve(plan, differences=told)

    def _hand_over(self, tx: Transaction, change: ChangeWriter, change_id: int) -> None:
        """Have a change taken to its boxes right after its commit."""
        tx.after_commit(partial(self._at, "committed"))
        if self._handover is not None:
            self._handover.committing(change_id)
            tx.after_commit(partial(self._handover.committed, change.committed(change_id)))

    async def _held(
        self,
        principal: Principal,
        name: str,
        request: Any,
        met: "_Hazardous",
        *,
        key: str | None,
        digest: bytes,
        reason: str,
    ) -> CommandResult:
        """Keep a request that meets hazards, or what an approval of it left open, and refuse it.

        That is a transaction of its own: the command's was rolled back, with all that it wrote.
        Gives the answer where the same request under the same key got through meanwhile.
        """

        async def work(tx: Transaction) -> CommandError | CommandResult:
            if met.approval is not None:
                await self._holding.judged(tx, met.approval.held, met.plan)
                return not_accepted(met.approval, met.plan.hazards)
            if key is not None:
                replay = await _replayed(tx, principal, key, digest)
                if replay is not None:
                    return replay
            held = await self._holding.hold(
                tx, principal, name, request, request_hash=digest, reason=reason, plan=met.plan
            )
            if key is not None:
                idempotency.record_held(tx, principal.actor, key, held.held)
            return held

        told = await self._database.transaction(principal, work, name="change.hold")
        if isinstance(told, CommandError):
            raise told
        return told

    async def _read(
        self, principal: Principal, command: Command[Any], request: Any
    ) -> CommandResult:
        async def work(tx: Transaction) -> Any:
            return await command.function(Work(tx, principal, None), request)

        result = await self._reading(principal, command.name, work)
        return await self._fetched(CommandResult(result, None))

    async def _since(self, principal: Principal, name: str, request: Any) -> int | None:
        """Give the change by which all is as ``request`` wants it; None where that is not known."""
        if has_secrets(request):
            return None  # two requests that differ in them look alike in the changes

        async def work(tx: Transaction) -> int | None:
            return await standing(tx, name, redacted(request))

        return await self._reading(principal, name, work)

    async def _reading(
        self, principal: Principal, name: str, work: Callable[[Transaction], Awaitable[_Found]]
    ) -> _Found:
        try:
            return await self._database.transaction(principal, work, name=name, reads=True)
        except _IN_VAIN as error:
            raise _ended_in_vain(error) from error

    async def _fetched(self, done: CommandResult) -> CommandResult:
        """Give the result with what was to be fetched after the transaction."""
        wanted = done.result
        if not isinstance(wanted, Afterwards):
            return done
        answer = await wanted.fetch()
        if wanted.note is not None:
            await self._note(wanted.note(answer))
        return attrs.evolve(done, result=answer)

    async def _note(self, note: Note) -> None:
        """Write what became of it; the change that asked stands alone where that is impossible."""
        principal = system("fleet")

        async def work(tx: Transaction) -> None:
            change = ChangeWriter(tx, principal, note.command, note.request, "")
            change.row(note.relation, note.key, note.before, note.after)
            await change.close()

        try:
            await self._database.transaction(principal, work, name=note.command)
        except (DatabaseUnavailableError, CommitUnknownError) as error:
            _log.error("{command} was not noted: {error}", command=note.command, error=error)


async def _replayed(
    tx: Transaction, principal: Principal, key: str, digest: bytes
) -> CommandResult | None:
    """Give what a request with this key was answered, or None: it is the first.

    Raises what it was told where it was held back.
    """
    replay = await idempotency.claim(tx, principal.actor, key, digest)
    if replay is None:
        return None
    if replay.held_id is not None:
        raise await held_before(tx, replay.held_id)
    return CommandResult(replay.response, replay.change_id)


def _fingerprint(name: str, request: Any) -> bytes:
    """Give a digest that is equal for equal requests. A secret that is used once is not in it."""
    given = attrs.asdict(request, filter=lambda field, _: not field.metadata.get("once"))
    return sha256(msgspec.json.encode([name, given], order="deterministic")).digest()


def _ended_in_vain(error: psycopg2.Error | OvertakenError) -> CommandError:
    if isinstance(error, OvertakenError):
        return CommandError(
            "database.busy",
            "others go on changing what this one needs",
            allowed="ask again in a moment: nothing was written",
            status=503,
        )
    if isinstance(error, psycopg2.errors.LockNotAvailable):
        return CommandError(
            "database.busy",
            "another command holds what this one needs, and goes on holding it",
            allowed="ask again in a moment: nothing was written",
            status=503,
        )
    return CommandError(
        "database.slow",
        f"the database took longer than {STATEMENT_MILLISECONDS // 1000} s for a part of this",
        allowed="ask for less at once, or when it has less to do: nothing was written",
        status=503,
    )
