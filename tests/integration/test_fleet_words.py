"""What boxes say, and a database that does not take it: each box for itself, and none for ever."""

from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.fleet import acknowledgement
from controller.fleet.acknowledgement import AcknowledgementWriter
from controller.fleet.words import ConditionWord, Said, Written
from controller.storage.database import Database, DatabaseUnavailableError

pytestmark = pytest.mark.timeout(60)

BOXES = tuple(f"aaaaaaaa-bbbb-4ccc-8ddd-{number:012}" for number in range(40))
ILL = BOXES[17]


class Told:
    """What became of the words, by box."""

    def __init__(self, writer: AcknowledgementWriter) -> None:
        self.writer = writer
        self.written: list[str] = []
        self.stale: list[str] = []

    def say(self, box: str) -> None:
        self.writer.say(
            Said(
                (box, "lane"),
                box,
                1,
                ConditionWord("ok", ""),
                lambda _: self.written.append(box),
                lambda: self.stale.append(box),
            )
        )

    async def all(self) -> None:
        """Wait until nothing is left to be written."""
        while self.writer._running:
            await deferLater(reactor, 0.002)


@pytest.fixture
def told(database: Database, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(acknowledgement, "RETRY_SECONDS", (0.001,))
    return Told(AcknowledgementWriter(database, reactor))


LOCKED = "DO $$ BEGIN RAISE lock_not_available; END $$"
UNKNOWN = "SELECT nothing FROM a_table_that_is_not_there"


def refusing(
    monkeypatch: pytest.MonkeyPatch, error: Exception | str, box: str, times: int = -1
) -> list[tuple[str, ...]]:
    """Have no transaction succeed that has words of ``box``, or only so many fail. Gives whose
    words were tried together."""
    left, tries = [times], []

    async def write(tx: Any, batch: Sequence[Said]) -> Written:
        tries.append(tuple(said.lane[0] for said in batch))
        if left[0] and any(said.lane[0] == box for said in batch):
            left[0] -= 1
            if isinstance(error, str):
                await tx.run(error)
            else:
                raise error
        return Written({1: {said.lane[0] for said in batch}}, {})

    monkeypatch.setattr(acknowledgement, "write", write)
    return tries


@pytest.mark.parametrize("error", [LOCKED, UNKNOWN, KeyError("a mistake of ours")])
@pytest_twisted.ensureDeferred
async def test_a_box_whose_words_cannot_be_written_holds_up_no_other(
    told: Told, monkeypatch: pytest.MonkeyPatch, error: Exception | str
) -> None:
    tries = refusing(monkeypatch, error, ILL)
    for box in (*BOXES, ILL):
        told.say(box)
    await told.all()
    assert told.written == [box for box in BOXES if box != ILL]
    assert told.stale == [ILL, ILL]
    # The second word of its session is not even tried: each may wait for a lock.
    assert tries.count((ILL,)) == acknowledgement.PATIENCE


@pytest_twisted.ensureDeferred
async def test_what_passes_costs_no_word(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, LOCKED, ILL, times=3)
    for box in BOXES:
        told.say(box)
    await told.all()
    assert told.written == list(BOXES)
    assert told.stale == []


@pytest_twisted.ensureDeferred
async def test_a_database_that_is_away_costs_no_word_however_long(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, DatabaseUnavailableError("it is away"), ILL, times=30)
    for box in BOXES:
        told.say(box)
    await told.all()
    assert told.written == list(BOXES)
    assert told.stale == []
