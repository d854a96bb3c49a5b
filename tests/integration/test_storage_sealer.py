"""The hash chain over the audit."""

from pathlib import Path

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controller.principal import system
from controller.storage.anchoring import Anchoring
from controller.storage.anchors import AnchorFile
from controller.storage.chain import Head, Verified, read_links, verify_links
from controller.storage.database import Database, Transaction
from controller.storage.sealer import CHANNEL, Sealer, seal_batch

PROVIDER = system("test")
SERVER = "00000000-0000-0000-0000-000000000001"


async def write_changes(tx: Transaction, number: int = 5) -> None:
    for n in range(number):
        (change,) = await tx.row(
            "INSERT INTO change (actor, command, request)"
            " VALUES ('operator:x', 'a.b', '{\"a\": 1}') RETURNING id"
        )
        await tx.run(
            "INSERT INTO change_object VALUES (%s, %s, 'zone', %s, 1, NULL, 'spec')",
            (change, SERVER, f"z{n}"),
        )
        await tx.run("INSERT INTO change_row VALUES (%s, 1, 'domain', 'x', NULL, '{}')", (change,))
        await tx.run("INSERT INTO change_watch VALUES (%s, %s, 'z', 1)", (change, SERVER))
    await tx.rows("SELECT pg_notify('hs_change', '1')")


async def verify_chain(database: Database) -> Verified:
    async def work(tx: Transaction) -> Verified:
        return verify_links(Head(), await read_links(tx, 0, 1000), 1000)

    return await database.transaction(PROVIDER, work, name="verify")


async def broken_at(database: Database) -> int | None:
    finding = (await verify_chain(database)).finding
    return None if finding is None else finding.seq


def tamper(url: str, statement: str) -> None:
    """Do what only the database's superuser can."""
    connection = psycopg2.connect(url.replace("hs_owner@", "postgres@"))
    with connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE change DISABLE TRIGGER change_sealed")
        cursor.execute(statement)
    connection.close()


@pytest_twisted.ensureDeferred
async def test_sealing_numbers_without_gaps_and_verifies(database: Database) -> None:
    await database.transaction(PROVIDER, write_changes, name="write")
    assert await database.transaction(PROVIDER, seal_batch, name="seal") == 5
    assert await database.transaction(PROVIDER, seal_batch, name="seal") == 0
    await database.transaction(PROVIDER, write_changes, name="write")
    assert await database.transaction(PROVIDER, seal_batch, name="seal") == 5
    rows = await database.transaction(
        PROVIDER, lambda tx: tx.rows("SELECT seq FROM change ORDER BY id"), name="seqs"
    )
    assert [seq for (seq,) in rows] == list(range(1, 11))
    report = await verify_chain(database)
    assert (len(report.fitting), report.finding, report.head.seq) == (10, None, 10)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change SET actor = 'operator:y' WHERE seq = 3",
        "UPDATE change SET request = '{}' WHERE seq = 3",
        "UPDATE change SET at = at + interval '1 second' WHERE seq = 3",
        "UPDATE change_object SET after = 'other' WHERE change_id = 3",
        "DELETE FROM change_object WHERE change_id = 3",
        "UPDATE change_row SET after = '{\"a\": 2}' WHERE change_id = 3",
        "UPDATE change_watch SET serial = 2 WHERE change_id = 3",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_changed_row_is_found(
    database: Database, database_url: str, statement: str
) -> None:
    await database.transaction(PROVIDER, write_changes, name="write")
    await database.transaction(PROVIDER, seal_batch, name="seal")
    tamper(database_url, statement)
    assert await broken_at(database) == 3


@pytest_twisted.ensureDeferred
async def test_a_removed_change_is_found(database: Database, database_url: str) -> None:
    await database.transaction(PROVIDER, write_changes, name="write")
    await database.transaction(PROVIDER, seal_batch, name="seal")
    tamper(
        database_url,
        "DELETE FROM change_watch WHERE change_id = 3; DELETE FROM change_row WHERE change_id = 3;"
        "DELETE FROM change_object WHERE change_id = 3; DELETE FROM change WHERE id = 3",
    )
    assert await broken_at(database) == 3


@pytest_twisted.ensureDeferred
async def test_two_sealers_never_seal_at_once(database: Database) -> None:
    await database.transaction(PROVIDER, write_changes, name="write")
    hold: Deferred[None] = Deferred()
    locked: Deferred[None] = Deferred()

    async def sealing(tx: Transaction) -> None:
        await seal_batch(tx)
        locked.callback(None)
        await hold

    first = Deferred.fromCoroutine(database.transaction(PROVIDER, sealing, name="first"))
    await locked
    assert await database.transaction(PROVIDER, seal_batch, name="second") == 0
    hold.callback(None)
    await first
    assert (await verify_chain(database)).head.seq == 5


@pytest_twisted.ensureDeferred
async def test_the_sealer_has_the_head_noted(database: Database, tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "audit-anchors")
    await database.transaction(PROVIDER, write_changes, name="write")
    sealer = Sealer(database, reactor, Anchoring(database, file, reactor))
    sealed: Deferred[str] = Deferred()
    await database.listen(CHANNEL, sealed.callback)
    await sealer.start()
    await sealed.addTimeout(30, reactor)
    await sealer.stop()  # ends when the note is written
    head = (await verify_chain(database)).head
    assert [(note.seq, note.hash) for note in file.read().anchors] == [(5, head.hash.hex())]


@pytest_twisted.ensureDeferred
async def test_a_note_that_cannot_be_written_does_not_keep_changes_from_being_sealed(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "audit-anchors").mkdir()
    await database.transaction(PROVIDER, write_changes, name="write")
    anchoring = Anchoring(database, AnchorFile(tmp_path / "audit-anchors"), reactor)
    sealer = Sealer(database, reactor, anchoring)
    sealed: Deferred[str] = Deferred()
    await database.listen(CHANNEL, sealed.callback)
    await sealer.start()
    await sealed.addTimeout(30, reactor)
    await sealer.stop()
    assert (await verify_chain(database)).head.seq == 5


@pytest_twisted.ensureDeferred
async def test_the_sealer_seals_what_it_is_told_of(database: Database) -> None:
    sealer = Sealer(database, reactor)
    await sealer.start()
    sealed: Deferred[str] = Deferred()
    await database.listen(CHANNEL, sealed.callback)
    await database.transaction(PROVIDER, write_changes, name="write")
    assert await sealed.addTimeout(30, reactor) == "5"
    await sealer.stop()
