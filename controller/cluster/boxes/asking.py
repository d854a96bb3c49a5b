"""Asking a box from a command, after its transaction: the answer, or a refusal with the way out."""

from collections.abc import Mapping
from typing import TypeVar

from controller.cluster.ports import FleetPort
from controller.fleet.questions import BoxAwayError, NoAnswerError
from controller.refusal import CommandError
from node_agent.wire.codec import printable
from node_agent.wire.questions import LONGEST_TEXT, AnyAsk, Declined, Found

ANSWER_SECONDS = 15.0
"""How long a box may take to answer, where nothing else is said."""

FoundT = TypeVar("FoundT", bound=Found)

_WAYS_OUT = {
    "not-granted": "name it in [services] of grants.toml on {name} and restart hs-agent",
    "unknown": "hsctl pserver services {name} shows what there is",
    "failed": "the words are the box's own: mend it there, then try again",
    "unavailable": "try again; the box could not start what it needed",
    "busy": "ask again in a moment",
}


async def ask_box(
    fleet: FleetPort,
    box_id: str,
    name: str,
    ask: AnyAsk,
    wanted: type[FoundT],
    *,
    seconds: float = ANSWER_SECONDS,
    ways: Mapping[str, str] | None = None,
) -> FoundT:
    """Ask a box and give its answer; raises `CommandError` where there is none of that kind.

    ``ways`` are ways out by the reason of a refusal, where they are others than those of services.
    """
    try:
        found = await fleet.ask(box_id, ask, seconds)
    except BoxAwayError:
        raise box_away(name, True) from None
    except NoAnswerError as error:
        raise CommandError(
            "pserver.silent",
            str(error),
            field="name",
            value=name,
            allowed=f"try again; hsctl pserver show {name} tells how the box is",
            status=503,
        ) from None
    if isinstance(found, wanted):
        return found
    if isinstance(found, Declined):
        raise CommandError(
            "pserver.declined",
            shown(found.words, 1000) or "the box declined",
            field="name",
            value=name,
            allowed={**_WAYS_OUT, **(ways or {})}[found.reason].format(name=name),
            status=409,
        )
    raise CommandError("pserver.answer", "the box answered something else", value=name, status=503)


def box_away(name: str, ever: bool) -> CommandError:
    """Say that a box is not connected; ``ever``: it was, once."""
    way = (
        f"start hs-agent on it; hsctl pserver show {name} says when it was last seen"
        if ever
        else f"run its enrolment line on it: hsctl pserver enroll {name} gives a new one"
    )
    return CommandError(
        "pserver.away",
        "the box is not connected, so it cannot be asked",
        field="name",
        value=name,
        allowed=way,
        status=409,
    )


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """Give a box's text as it may be shown, on one line."""
    return printable(text.replace("\n", "; ").replace("\t", "    "), longest)
