"""What a box answers to a page: that of a box that is away is a page all the same."""

from typing import Any

import attrs

from controller.refusal import CommandError
from controller.web.panel.visits import Visit


@attrs.frozen
class Told:
    """What a box answered, or why it did not."""

    answer: Any
    trouble: CommandError | None


async def ask_box(visit: Visit, command: str, /, **fields: str | None) -> Told:
    """Run a command that asks a box; raises `CommandError` only where there is no such thing."""
    try:
        return Told(await visit.ask(command, **fields), None)
    except CommandError as error:
        if error.status == 404:
            raise
        return Told(None, error)
