"""What a refused request is told: problem details (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from controller.holding import HeldBackError
from controller.refusal import CommandError

CONTENT_TYPE = "application/problem+json"
_LONGEST_VALUE = 200


@attrs.frozen
class Problem:
    """One refusal. ``id`` is stable and meant for programs, ``detail`` for people.

    ``field`` names the request's field at fault, ``value`` what was given there and ``allowed``
    what would be accepted or what to do; all three may be empty. ``headers`` go with the answer.
    """

    id: str
    title: str
    detail: str
    status: int
    field: str = ""
    value: str = ""
    allowed: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    more: Mapping[str, Any] = attrs.field(factory=dict)
    """Members of this kind of problem alone (RFC 9457, 3.2)."""

    def body(self) -> bytes:
        """Give the JSON text of this problem."""
        return msgspec.json.encode(
            {
                "type": f"urn:heliosphere:problem:{self.id}",
                "id": self.id,
                "title": self.title,
                "detail": self.detail,
                "status": self.status,
                "field": self.field,
                "value": _shown(self.value),
                "allowed": self.allowed,
                **self.more,
            }
        )


@attrs.frozen
class ProblemError(Exception):
    """Ends the work on a request with ``problem`` as its answer."""

    problem: Problem

    def __str__(self) -> str:
        return self.problem.detail


_TITLES = {
    400: "The request cannot be read",
    401: "Sign in first",
    403: "Not permitted",
    404: "Not found",
    405: "This method is not allowed here",
    409: "In conflict with what is there",
    412: "Changed since it was read",
    413: "The request is too large",
    415: "The content type is not accepted here",
    421: "This host is not served here",
    422: "A value is not valid",
    431: "The request's head is too large",
    500: "The controller failed",
    503: "The controller is busy",
}


def problem(
    status: int,
    id: str,
    detail: str,
    *,
    field: str = "",
    value: str = "",
    allowed: str = "",
    headers: Mapping[str, str] | None = None,
) -> ProblemError:
    """Give the exception that answers with ``status``. The words are those of `Problem`."""
    title = _TITLES.get(status, "Refused")
    return ProblemError(Problem(id, title, detail, status, field, value, allowed, headers or {}))


def from_command_error(error: CommandError) -> Problem:
    """Put a command's refusal into the words of HTTP."""
    more: dict[str, Any] = {}
    if isinstance(error, HeldBackError):
        more = {"held": error.held, "hazards": [attrs.asdict(each) for each in error.hazards]}
    return Problem(
        error.id,
        _TITLES.get(error.status, "Refused"),
        error.message,
        error.status,
        error.field,
        error.value,
        error.allowed,
        more=more,
    )


def _shown(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "…"
