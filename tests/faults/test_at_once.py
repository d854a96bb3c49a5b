"""Every command that writes, asked several times at once: one after the other, and no accident."""

from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from controller.refusal import CommandError
from tests.faults.story import STORY, Tried
from tests.integration.hosted import name_servers
from tests.integration.model import OPERATOR, Model

AT_ONCE = 3
SEVERAL = ("record", "drift", "enrolment_token", "service")
"""Relations of which one key names several rows, or what was done each time."""
Asked = tuple[str, dict[str, Any]]


async def outcome(model: Model, asked: Asked) -> str:
    """Give the id of a refusal, or nothing; whatever else goes wrong is an accident."""
    try:
        await model.run_as(OPERATOR, asked[0], **asked[1])
    except CommandError as error:
        return error.id
    return ""


def beside(number: int) -> list[Asked]:
    """Give what comes before and after a step of the story, where it needs no preparation."""
    near = (STORY[place] for place in (number - 1, number + 1) if 0 <= place < len(STORY))
    return [
        (step.command, step.fields)
        for step in near
        if isinstance(step.fields, dict) and step.before is None
    ]


async def fields_of(model: Model, step: Tried) -> dict[str, Any] | None:
    """Prepare a step; None where what was asked too early or too late has made it impossible."""
    if step.before is not None:
        await step.before(model)
    if isinstance(step.fields, dict):
        return step.fields
    try:
        return await step.fields(model)
    except CommandError:
        return None


@pytest.mark.parametrize("crowded", [False, True], ids=["the same", "and its neighbours"])
@pytest_twisted.ensureDeferred
async def test_commands_asked_at_once_end_well_or_are_refused(model: Model, crowded: bool) -> None:
    await model.cluster()
    await name_servers(model, 3)
    order = Random(7)
    for number, step in enumerate(STORY):
        fields = await fields_of(model, step)
        if fields is None:
            assert crowded, step.command
            continue
        asked = [(step.command, fields)] * AT_ONCE + (beside(number) if crowded else [])
        order.shuffle(asked)
        running = [Deferred.fromCoroutine(outcome(model, each)) for each in asked]
        told = await gatherResults(running)
        assert crowded or "" in told, (step.command, told)
    assert await come_and_gone(model) == []


async def come_and_gone(model: Model) -> list[str]:
    """Name what the history says went twice, or came twice, without the other in between."""
    rows = await model.rows(
        """SELECT relation, row_key, before IS NULL, after IS NULL FROM change_row
           WHERE (before IS NULL OR after IS NULL) AND relation <> ALL(%s)
           ORDER BY change_id, position""",
        (list(SEVERAL),),
    )
    there: dict[tuple[str, str], bool] = {}
    twice = []
    for relation, key, comes, goes in rows:
        if there.get((relation, key), goes) is comes:
            twice.append(f"{relation} {key} {'came' if comes else 'went'} twice")
        there[relation, key] = comes
    return twice
