"""Every command that writes, tried dry and then for real: no row moves, and the plan comes true."""

import re
from collections import Counter
from typing import Any

import psycopg2
import pytest_twisted

from controller.change_plan import ChangePlan
from tests.faults.story import STORY
from tests.integration.hosted import name_servers
from tests.integration.model import OPERATOR, Model


def dump(url: str) -> dict[str, str]:
    """Give a digest of every row of each table, as the database's owner sees them."""
    connection = psycopg2.connect(url, options="-c hs.principal=provider")
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT string_agg(format('SELECT %L, md5(string_agg(t::text, E''\\n'' ORDER BY"
                " t::text)) FROM %I t', relname, relname), ' UNION ALL ') FROM pg_class"
                " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
            )
            ((statement,),) = cursor.fetchall()
            cursor.execute(statement)
            return dict(cursor.fetchall())
    finally:
        connection.close()


def asked_of_the_fleet(model: Model) -> list[Any]:
    fleet = model.fleet
    return [
        len(each)
        for each in (
            fleet.revoked, fleet.retried, fleet.asked, fleet.adopted, fleet.questions,
            fleet.monitored,
        )
    ]  # fmt: skip


def action(before: Any, after: Any) -> str:
    if before is None:
        return "add"
    return "change" if after is not None else "remove"


def named(key: str) -> str:
    """Leave out numbers that a sequence gave: a dry run has used them up."""
    return re.sub(r"\b\d+\b(?![./:])", "N", key) if key.isdecimal() else key


async def what_came(model: Model, change: int | None) -> tuple[Counter[Any], Counter[Any]]:
    objects = await model.rows(
        """SELECT o.kind, o.key, s.name, o.before, o.after FROM change_object o
           LEFT JOIN logical_server s ON s.id = o.logical_server_id WHERE o.change_id = %s""",
        (change,),
    )
    rows = await model.rows(
        "SELECT relation, row_key, before, after FROM change_row WHERE change_id = %s", (change,)
    )
    return (
        Counter((action(b, a), kind, key, server) for kind, key, server, b, a in objects),
        Counter((action(b, a), relation, named(key)) for relation, key, b, a in rows),
    )


def what_was_planned(plan: ChangePlan) -> tuple[Counter[Any], Counter[Any]]:
    return (
        Counter((o.action, o.kind, o.key, o.logical_server) for o in plan.objects),
        Counter((row.action, row.relation, named(row.key)) for row in plan.rows),
    )


@pytest_twisted.ensureDeferred
async def test_a_dry_run_moves_no_row_and_its_plan_comes_true(
    model: Model, database_url: str
) -> None:
    await model.cluster()
    await name_servers(model, 3)
    assert {step.command for step in STORY} == {
        command.name for command in model.registry if command.writes
    }, "each command that writes has its place in the story"
    for step in STORY:
        if step.before is not None:
            await step.before(model)
        fields = step.fields if isinstance(step.fields, dict) else await step.fields(model)
        before, asked = dump(database_url), asked_of_the_fleet(model)
        dry = await model.run_as(OPERATOR, step.command, dry_run=True, **fields)
        after = dump(database_url)
        assert after == before, (step.command, [t for t in after if after[t] != before[t]])
        assert asked_of_the_fleet(model) == asked, step.command
        assert (dry.change_id, dry.plan is None) == (None, False), step.command
        done = await model.run_as(OPERATOR, step.command, **fields)
        assert dry.plan is not None
        assert what_was_planned(dry.plan) == await what_came(model, done.change_id), step.command
