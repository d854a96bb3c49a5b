"""Holding a change back: the request is kept, and nothing of what it would do is written."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from controller.change_plan import ChangePlan
from controller.changes import redacted
from controller.hazard_facts import RELOAD_BOXES
from controller.hazards import Approval, Hazard, accepting, told
from controller.principal import Principal
from controller.refusal import CommandError
from controller.storage import held_changes
from controller.storage.database import Transaction
from controller.storage.held_changes import HeldRow
from controller.storage.key_file import SecretError
from controller.storage.secrets import Secrets

_OTHER_FIELDS = "takes other fields now than when it was held"


@attrs.frozen
class HeldBackError(CommandError):
    """A command was not run: it meets ``hazards``, and is held as ``held`` until they are accepted.

    Nothing of what it would do was written.
    """

    held: int = 0
    hazards: tuple[Hazard, ...] = ()


@attrs.frozen
class Holding:
    """Holds changes back. ``secrets`` seals those of a request; without, none is held.

    ``reload_boxes``: on so many boxes one change may reload a daemon at once.
    """

    secrets: Secrets | None = None
    reload_boxes: int = RELOAD_BOXES

    async def hold(
        self,
        tx: Transaction,
        principal: Principal,
        command: str,
        request: Any,
        *,
        request_hash: bytes,
        reason: str,
        plan: ChangePlan,
    ) -> HeldBackError:
        """Keep a request; the same of the same one is kept once. Gives what he is told.

        Raises `CommandError` ``change.hazard`` for who may not have it held: an account, and a
        request with a secret that must leave no trace.
        """
        secret = _secret_fields(request)
        if principal.kind != "provider" or _once(request) or (secret and self.secrets is None):
            raise CommandError(
                "change.hazard",
                f"nothing was written: {told(plan.hazards)}",
                value=command,
                allowed="another way to it: this request cannot be held until somebody accepts it",
                status=409,
            )
        digest = request_hash if self.secrets is None else self.secrets.digest(request_hash)
        held_id = await held_changes.same(tx, principal.actor, digest)
        if held_id is None:
            secret_id = None
            if secret and self.secrets is not None:
                sealed = await self.secrets.store(tx, msgspec.json.encode(secret).decode())
                secret_id = sealed.id
            held_id = await held_changes.add(
                tx,
                actor=principal.actor,
                origin=principal.origin,
                command=command,
                request=_plain(redacted(request)),
                secret_id=secret_id,
                request_hash=digest,
                reason=reason,
            )
        await self.judged(tx, held_id, plan)
        return held_back(held_id, plan.hazards)

    async def judged(self, tx: Transaction, held_id: int, plan: ChangePlan) -> None:
        """Note what a held change would come to as things are now."""
        words = [part for part in plan.words if not part.startswith("is held back: ")]
        hazards = [attrs.asdict(hazard) for hazard in plan.hazards]
        await held_changes.judged(tx, held_id, hazards, words)

    async def request_of(self, tx: Transaction, held: HeldRow, kind: type[Any]) -> Any:
        """Give the request of a held change as it was asked; ``kind`` is its class.

        Raises `CommandError` ``change.held.unreadable`` where this version would read anything
        else than was asked, or its secrets cannot be opened.
        """
        fields: dict[str, Any] = {**held.request, **await self._secrets_of(tx, held)}
        try:
            asked = msgspec.convert(fields, kind)
        except msgspec.ValidationError as error:
            raise unreadable(held, _OTHER_FIELDS) from error
        # A field that the class has no more is passed over by the conversion, at any depth.
        read = _plain(attrs.asdict(asked))
        if any(name not in read or read[name] != value for name, value in fields.items()):
            raise unreadable(held, _OTHER_FIELDS)
        return asked

    async def _secrets_of(self, tx: Transaction, held: HeldRow) -> dict[str, Any]:
        """Open the values of a request's secret fields."""
        if held.secret_id is None:
            return {}
        if self.secrets is None:
            raise unreadable(held, "has secrets that this controller has no key for")
        try:
            opened = await self.secrets.read(tx, held.secret_id)
        except SecretError as error:
            raise unreadable(held, f"has secrets that cannot be opened: {error}") from error
        found: dict[str, Any] = msgspec.json.decode(opened)
        return found


def held_back(held_id: int, hazards: Sequence[Hazard]) -> HeldBackError:
    """Give what is told of a change that is held: what it would do, and how to go on."""
    return HeldBackError(
        "change.held",
        f"held back as {held_id}, nothing was written: {told(hazards)}",
        allowed=f"hsctl change approve {held_id} {accepting(hazards)}",
        status=409,
        held=held_id,
        hazards=tuple(hazards),
    )


async def held_before(tx: Transaction, held_id: int) -> CommandError:
    """Give what is told to who sends a request again that was held back."""
    row = await held_changes.find(tx, held_id)
    if row is None:
        return unknown(held_id)
    return held_back(held_id, hazards_of(row)) if row.state == "held" else ended(row)


def unreadable(row: HeldRow, why: str) -> CommandError:
    """Give the refusal for a held change that cannot be run as it was asked; ``why`` of it."""
    return CommandError(
        "change.held.unreadable",
        f"{row.command} {why}",
        field="id",
        value=str(row.id),
        allowed=f"hsctl change withdraw {row.id}, and ask again",
        status=409,
    )


def refused_now(row: HeldRow, error: CommandError) -> CommandError:
    """Give the refusal of an approval where the request itself is refused as things are now."""
    return attrs.evolve(
        error,
        message=f"held change {row.id} ({row.command}) is refused now: {error.message}",
        field="id",
        value=str(row.id),
        allowed=f"{error.allowed}; hsctl change withdraw {row.id} drops it",
        status=409,
    )


def unknown(held_id: int) -> CommandError:
    """Give the refusal for a number that no held change has."""
    return CommandError(
        "change.held.unknown",
        "no change is held under this number",
        field="id",
        value=str(held_id),
        allowed="hsctl change held lists them",
        status=404,
    )


def ended(row: HeldRow) -> CommandError:
    """Give the refusal for a change that is held no more."""
    by = f" by {row.ended_by}" if row.ended_by else ""
    return CommandError(
        "change.held.ended",
        f"{row.command} is not held any more: it was {row.state}{by}"
        if row.state != "expired"
        else f"{row.command} was held for {held_changes.KEPT_DAYS} days, and nobody approved it",
        field="id",
        value=str(row.id),
        allowed="hsctl change list shows what was done"
        if row.state == "approved"
        else "ask for it again",
        status=409,
    )


def shown_otherwise(row: HeldRow, shown: str) -> CommandError:
    """Give the refusal of an approval by who was shown other hazards than those judged last."""
    hazards = hazards_of(row)
    return CommandError(
        "change.approve.not-shown",
        f"nothing was written: it was judged again since that was shown, and now it"
        f" {told(hazards)}",
        field="shown",
        value=shown,
        allowed=f"hsctl change approve {row.id} {accepting(hazards)}",
        status=409,
    )


def not_accepted(approval: Approval, hazards: Sequence[Hazard]) -> CommandError:
    """Give the refusal of an approval that does not accept what the change comes to now."""
    return CommandError(
        "change.approve.not-accepted",
        f"nothing was written: {'; '.join(approval.objections(hazards))}",
        field="accept",
        value=", ".join(f"{id_}={number}" for id_, number in approval.accepted.items()),
        allowed=f"hsctl change approve {approval.held} {accepting(hazards)}",
        status=409,
    )


def hazards_of(row: HeldRow) -> tuple[Hazard, ...]:
    """Give the hazards that a held change was last judged to meet."""
    return tuple(msgspec.convert(hazard, Hazard) for hazard in row.hazards)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give a request's fields as they are kept: what JSON gives back of them."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields, enc_hook=str))
    return found


def _secret_fields(request: Any) -> Mapping[str, Any]:
    return {
        field.name: msgspec.to_builtins(getattr(request, field.name), enc_hook=str)
        for field in attrs.fields(type(request))
        if field.metadata.get("secret") and getattr(request, field.name)
    }


def _once(request: Any) -> bool:
    """Tell whether a request has a secret that is used once, of which nothing is ever kept."""
    return any(
        field.metadata.get("once") and getattr(request, field.name)
        for field in attrs.fields(type(request))
    )
