"""A request that is sent twice is done once."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from controller.principal import system
from controller.refusal import CommandError
from controller.storage import idempotency
from controller.storage.database import Database, Rollback, Transaction
from controller.storage.idempotency import Replay

PROVIDER = system("test")


async def add_once(tx: Transaction, request: bytes = b"request") -> Replay | str:
    replay = await idempotency.claim(tx, "operator:x", "key", request)
    if replay is not None:
        return replay
    await tx.run("INSERT INTO account (name) VALUES ('a' || gen_random_uuid())")
    idempotency.record(tx, "operator:x", "key", change_id=5, response={"id": 1})
    return "done"


async def count(tx: Transaction) -> int:
    (number,) = await tx.row("SELECT count(*) FROM account")
    return int(number)


@pytest_twisted.ensureDeferred
async def test_twenty_at_once_do_it_once(database: Database) -> None:
    answers = await gatherResults(
        [
            Deferred.fromCoroutine(database.transaction(PROVIDER, add_once, name="add"))
            for _ in range(20)
        ]
    )
    assert answers.count("done") == 1
    assert answers.count(Replay(5, {"id": 1})) == 19
    assert await database.transaction(PROVIDER, count, name="count") == 1


@pytest_twisted.ensureDeferred
async def test_the_same_key_for_another_request_is_a_conflict(database: Database) -> None:
    await database.transaction(PROVIDER, add_once, name="add")
    with pytest.raises(CommandError) as refused:
        await database.transaction(PROVIDER, lambda tx: add_once(tx, b"other"), name="other")
    assert (refused.value.id, refused.value.status) == ("idempotency.key.reused", 409)


@pytest_twisted.ensureDeferred
async def test_a_rolled_back_request_leaves_its_key_free(database: Database) -> None:
    async def dry_run(tx: Transaction) -> None:
        await add_once(tx)
        raise Rollback(None)

    await database.transaction(PROVIDER, dry_run, name="dry")
    assert await database.transaction(PROVIDER, add_once, name="add") == "done"


@pytest_twisted.ensureDeferred
async def test_keys_belong_to_their_actor(database: Database) -> None:
    await database.transaction(PROVIDER, add_once, name="add")
    assert (
        await database.transaction(
            PROVIDER,
            lambda tx: idempotency.claim(tx, "operator:y", "key", b"other"),
            name="claim",
        )
        is None
    )


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "a\0b"])
@pytest_twisted.ensureDeferred
async def test_a_strange_key_is_refused(database: Database, key: str) -> None:
    with pytest.raises(CommandError):
        await database.transaction(
            PROVIDER, lambda tx: idempotency.claim(tx, "operator:x", key, b""), name="claim"
        )


@pytest_twisted.ensureDeferred
async def test_old_keys_are_forgotten(database: Database) -> None:
    await database.transaction(PROVIDER, add_once, name="add")

    async def age(tx: Transaction) -> int:
        await tx.run("UPDATE idempotency SET at = at - interval '8 days'")
        return await idempotency.purge(tx)

    assert await database.transaction(PROVIDER, age, name="age") == 1
