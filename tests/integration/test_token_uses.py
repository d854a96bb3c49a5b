"""When a token was last used: noted once an hour, and nobody waits for it."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from controller.storage import people
from controller.storage.database import Database, Transaction
from controller.storage.token_uses import NOTED_EVERY, TokenUses
from tests.integration.model import OPERATOR

NOTE = people.note_use


async def made(database: Database) -> str:
    async def make(tx: Transaction) -> str:
        await people.create_operator(tx, "ann", "x")
        return await people.create_token(tx, "ann", "script")

    return await database.transaction(OPERATOR, make, name="test")


async def used(database: Database) -> bool:
    async def look(tx: Transaction) -> bool:
        (entry,) = await people.list_tokens(tx, "ann")
        return entry.used_at is not None

    return await database.transaction(OPERATOR, look, name="test")


class Notes:
    """Stands in the way of what is noted, and tells when it has come."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.words = ""
        self._come: Deferred[None] = Deferred()
        patch.setattr(people, "note_use", self._note)

    async def _note(self, tx: Transaction, digest: bytes) -> None:
        self.count += 1
        try:
            if self.words:
                raise LookupError(self.words)
            await NOTE(tx, digest)
        finally:
            self._come.callback(None)
            self._come = Deferred()

    async def next(self) -> None:
        await self._come


@pytest_twisted.ensureDeferred
async def test_a_use_is_noted_and_not_again_within_an_hour(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, clock, notes = await made(database), Clock(), Notes(monkeypatch)
    uses = TokenUses(database, clock)
    noted = Deferred.fromCoroutine(notes.next())
    assert await uses.operator_of(token) == "ann"
    await noted
    while not await used(database):  # its COMMIT
        await deferLater(reactor, 0.01)
    clock.advance(NOTED_EVERY - 1)
    assert await uses.operator_of(token) == "ann"
    assert notes.count == 1
    clock.advance(1)
    noted = Deferred.fromCoroutine(notes.next())
    assert await uses.operator_of(token) == "ann"
    await noted
    assert notes.count == 2


@pytest_twisted.ensureDeferred
async def test_a_token_that_does_not_work_is_not_noted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, notes = await made(database), Notes(monkeypatch)
    uses = TokenUses(database, Clock())
    assert await uses.operator_of(token[:-1]) is None
    await database.transaction(OPERATOR, lambda tx: people.revoke_token(tx, "ann", 1), name="test")
    assert await uses.operator_of(token) is None
    assert (notes.count, await used(database)) == (0, False)


@pytest_twisted.ensureDeferred
async def test_a_use_that_cannot_be_noted_keeps_nobody_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, notes = await made(database), Notes(monkeypatch)
    notes.words = "no room"
    noted = Deferred.fromCoroutine(notes.next())
    assert await TokenUses(database, Clock()).operator_of(token) == "ann"
    await noted
    assert not await used(database)
