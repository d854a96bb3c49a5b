"""One request of a signed-in operator: what was sent, and the commands that it may run."""

import re
from collections.abc import Mapping, Sequence
from secrets import token_urlsafe
from typing import Any, Protocol

import attrs

from controller.commands import Command, Registry
from controller.holding import HeldBackError
from controller.principal import Principal
from controller.refusal import CommandError
from controller.web.api import Runner
from controller.web.decoding import build_request
from controller.web.problems import ProblemError

Texts = Mapping[str, Sequence[str]]
Field = str | Sequence[str] | Mapping[str, str] | Mapping[str, int] | None
"""What a room gives for one field of a command."""

PREVIEW = "preview"
"""The button that asks what a form would do."""
AGAIN = "again"
"""The button that leads from a preview back to the form as it was filled in."""
CONFIRMED = "confirmed"
"""The field by which a form says that its warnings were shown."""
_ONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


@attrs.frozen
class Refusal:
    """Why a form was refused: the field at fault or empty, what is wrong, what is allowed."""

    message: str
    field: str = ""
    allowed: str = ""
    status: int = 422


class RefusedError(Exception):
    """A command was refused; nothing was written."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class PreviewedError(Exception):
    """A form was sent to see what it would do: ``done`` is the dry run of its command."""

    def __init__(self, command: Command[Any], request: Any, done: "Done") -> None:
        super().__init__(command.name)
        self.command = command
        self.request = request
        self.done = done


class HeldError(Exception):
    """A command was held back, as the change of that number, until its hazards are accepted."""

    def __init__(self, held: int) -> None:
        super().__init__(held)
        self.held = held


class Done(Protocol):
    """What a write gives."""

    @property
    def result(self) -> Any:
        """Plain data."""

    @property
    def change_id(self) -> int | None:
        """The change that was written."""

    @property
    def plan(self) -> Any:
        """What a dry run would do."""


def warnings_of(done: Done) -> list[str]:
    """Give the warnings of what was done, or would be."""
    result = done.result
    return list(result.get("warnings") or ()) if isinstance(result, dict) else []


def read_warnings(done: Done) -> str:
    """Give the text by which a form says that these very warnings were shown; empty for none."""
    return " ".join(f"{words}." for words in warnings_of(done))


@attrs.frozen
class Form:
    """The values of a form: as sent, or as first shown; with the refusal it met, if it did."""

    texts: Texts = attrs.field(factory=dict)
    refusal: Refusal | None = None
    known: frozenset[str] = frozenset()
    once: str = attrs.field(factory=lambda: token_urlsafe(18), repr=False)
    """Sent back with the form: what is submitted twice by mistake is done once."""

    @classmethod
    def of(cls, *fields: str, **values: str) -> "Form":
        """Give a form to be filled in; ``fields`` are those that can be marked."""
        return cls({name: [value] for name, value in values.items()}, known=frozenset(fields))

    def text(self, name: str) -> str:
        """Give a field's first value, empty where it was not sent."""
        values = self.texts.get(name, ())
        return values[0].strip() if values else ""

    def texts_of(self, name: str) -> list[str]:
        """Give all values of a field."""
        return list(self.texts.get(name, ()))

    def lines(self, name: str) -> list[str]:
        """Give the lines of a field that hold something."""
        return [line.strip() for line in self.text(name).splitlines() if line.strip()]

    def error(self, name: str) -> Refusal | None:
        """Give the refusal of a field."""
        return self.refusal if self.refusal and self.refusal.field == name else None

    @property
    def general(self) -> Refusal | None:
        """The refusal that belongs to no field of this form."""
        if self.refusal is None or self.refusal.field in self.known:
            return None
        return self.refusal

    def refused(self, refusal: Refusal, *fields: str) -> "Form":
        """Give this form as it is shown again, values kept; a refusal without words is none."""
        return Form(self.texts, refusal if refusal.message else None, frozenset(fields))


@attrs.frozen
class Visit:
    """One request. ``live`` asks only for the part of a page that follows events."""

    principal: Principal
    operator: str
    runner: Runner
    registry: Registry
    query: Mapping[str, str]
    form: Form
    live: bool = False

    async def ask(self, name: str, /, **fields: Field) -> Any:
        """Run a command that reads. Raises `CommandError`, `ProblemError`."""
        request = self._request(name, fields)
        return (await self.runner.run(self.principal, name, request)).result

    @property
    def previews(self) -> bool:
        """Whether the form was sent to see what it would do."""
        return bool(self.form.text(PREVIEW))

    @property
    def returns(self) -> bool:
        """Whether the form was sent to be shown again, to be changed."""
        return bool(self.form.text(AGAIN))

    async def write(self, name: str, /, **fields: Field) -> Done:
        """Run a command that writes, once however often the form is sent.

        A field that is None is left out; a mapping is given as it stands; all others are text, read
        by the field's type. Raises `RefusedError` where the command refuses, `PreviewedError` where
        the form asks for no more than a preview, and `HeldError` where a hazard holds it back.
        """
        if self.returns:
            raise RefusedError(Refusal("", status=200))
        return await self._write(name, fields, dry_run=self.previews)

    async def look(self, name: str, /, **fields: Field) -> Done:
        """Give the dry run of a command that writes, for a room that decides by it.

        Raises `RefusedError`.
        """
        return await self._write(name, fields, dry_run=True, for_room=True)

    async def _write(
        self, name: str, fields: Mapping[str, Field], *, dry_run: bool, for_room: bool = False
    ) -> Done:
        once = self.form.text("once")
        key = once if _ONCE.fullmatch(once) else None
        try:
            request = self._request(name, fields)
            if dry_run:
                done = await self._run(name, request, None, True, diff=not for_room)
                if for_room:
                    return done
                raise PreviewedError(self.registry[name], request, done)
            try:
                return await self._run(name, request, key, False)
            except CommandError as error:
                if error.id != "idempotency.key.reused":
                    raise
            # The browser's Back showed the form of an earlier request: this is another one.
            return await self._run(name, request, None, False)
        except HeldBackError as error:
            raise HeldError(error.held) from error
        except CommandError as error:
            raise RefusedError(
                Refusal(error.message, error.field, error.allowed, error.status)
            ) from error
        except ProblemError as error:
            told = error.problem
            raise RefusedError(
                Refusal(told.detail, told.field, told.allowed, told.status)
            ) from error

    async def _run(
        self, name: str, request: Any, key: str | None, dry_run: bool, *, diff: bool = False
    ) -> Done:
        return await self.runner.run(
            self.principal, name, request, idempotency_key=key, dry_run=dry_run, diff=diff
        )

    def _request(self, name: str, fields: Mapping[str, Field]) -> Any:
        whole = {field: value for field, value in fields.items() if isinstance(value, Mapping)}
        texts = {
            field: [value] if isinstance(value, str) else list(value)
            for field, value in fields.items()
            if value is not None and field not in whole
        }
        return build_request(self.registry[name], {}, texts, whole)
