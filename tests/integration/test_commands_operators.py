"""Shutting operators out by command: at once, for every way in, written down, and never all."""

from datetime import UTC, datetime, timedelta

import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.storage import people
from controller.storage.database import Transaction
from tests.integration.model import OPERATOR, Model


async def as_host(model: Model, *names: str) -> dict[str, str]:
    """Make operators with a token each; give the tokens."""

    async def work(tx: Transaction) -> dict[str, str]:
        for name in names:
            await people.create_operator(tx, name, None)
        return {name: await people.create_token(tx, name, f"{name}'s laptop") for name in names}

    return await model.database.transaction(OPERATOR, work, name="host")


async def operator_of(model: Model, token: str) -> str | None:
    async def work(tx: Transaction) -> str | None:
        return await people.operator_of_token(tx, token)

    return await model.database.transaction(OPERATOR, work, name="token")


@pytest_twisted.async_fixture
async def tokens(model: Model) -> dict[str, str]:
    return await as_host(model, "ada", "eve")


@ensureDeferred
async def test_operators_and_tokens_are_listed_without_any_secret(
    model: Model, tokens: dict[str, str]
) -> None:
    found = await model.ask("operator.list", limit=1)
    assert [(item["name"], item["tokens"]) for item in found["items"]] == [("ada", 1)]
    rest = await model.ask("operator.list", cursor=found["next"])
    assert [item["name"] for item in rest["items"]] == ["eve"]
    listed = await model.ask("token.list")
    assert [item["operator"] for item in listed["items"]] == ["eve", "ada"]
    (own,) = (await model.ask("token.list", operator="ada"))["items"]
    assert own["label"] == "ada's laptop"
    assert not any(token in str((found, listed)) for token in tokens.values())


@ensureDeferred
async def test_a_disabled_operator_is_shut_out_and_the_change_says_so(
    model: Model, tokens: dict[str, str]
) -> None:
    done = await model.run("operator.disable", name="eve")
    assert done.result == {"name": "eve", "revoked_tokens": 1}
    assert await operator_of(model, tokens["eve"]) is None
    assert await operator_of(model, tokens["ada"]) == "ada"
    change = await model.ask("change.show", id=done.change_id)
    assert (change["actor"], change["origin"]) == (OPERATOR.actor, OPERATOR.origin)
    (row,) = change["rows"]
    assert (row["relation"], row["key"], row["after"]) == ("operator", "eve", {"disabled": True})
    assert (await model.run("operator.disable", name="eve")).change_id is None


@ensureDeferred
async def test_the_last_operator_cannot_be_shut_out(model: Model, tokens: dict[str, str]) -> None:
    await model.ask("operator.disable", name="ada")
    error = await model.refused("operator.disable", name="eve")
    assert (error.id, error.status) == ("operator.last", 409)
    assert await operator_of(model, tokens["eve"]) == "eve"
    assert (await model.refused("operator.disable", name="nobody")).id == "operator.unknown"


@ensureDeferred
async def test_an_operator_who_was_shut_out_is_let_in_again_without_tokens(
    model: Model, tokens: dict[str, str]
) -> None:
    await model.ask("operator.disable", name="eve")

    async def host(tx: Transaction) -> None:
        await people.enable_operator(tx, "eve")

    await model.database.transaction(OPERATOR, host, name="host")
    by_name = {item["name"]: item for item in (await model.ask("operator.list"))["items"]}
    assert (by_name["eve"]["disabled_at"], by_name["eve"]["tokens"]) == (None, 0)
    assert await operator_of(model, tokens["eve"]) is None


@ensureDeferred
async def test_a_revoked_token_is_refused_and_the_change_says_whose_it_was(
    model: Model, tokens: dict[str, str]
) -> None:
    (token,) = (await model.ask("token.list", operator="eve"))["items"]
    done = await model.run("token.revoke", id=token["id"])
    assert await operator_of(model, tokens["eve"]) is None
    (row,) = (await model.ask("change.show", id=done.change_id))["rows"]
    assert row["before"] == {"operator": "eve", "label": "eve's laptop", "revoked": False}
    assert (await model.run("token.revoke", id=token["id"])).change_id is None
    assert (await model.refused("token.revoke", id=10**6)).id == "token.unknown"


@ensureDeferred
async def test_a_token_that_ended_is_not_counted_as_working(
    model: Model, tokens: dict[str, str]
) -> None:
    async def ended(tx: Transaction) -> str:
        end = datetime.now(UTC) - timedelta(hours=1)
        return await people.create_token(tx, "ada", "old", expires_at=end)

    await model.database.transaction(OPERATOR, ended, name="host")
    by_name = {item["name"]: item for item in (await model.ask("operator.list"))["items"]}
    assert by_name["ada"]["tokens"] == 1


def test_no_command_makes_an_operator_or_a_token(model: Model) -> None:
    """Whoever stole a way in must not make another one by it."""
    names = {command.name for command in model.registry}
    assert {name for name in names if name.startswith(("operator.", "token."))} == {
        "operator.list",
        "operator.disable",
        "token.list",
        "token.revoke",
    }
