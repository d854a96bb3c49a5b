"""Backup and restore with the real programs on a real PostgreSQL."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from controller.principal import system
from controller.storage import backup, key_file
from controller.storage.anchors import Anchor, AnchorFile
from controller.storage.archive import ArchiveError
from controller.storage.backup import BackupError, Place
from controller.storage.binaries import find_binaries
from controller.storage.chain import Head, head_of
from controller.storage.database import Database, Transaction
from controller.storage.sealer import seal_batch
from controller.storage.secrets import Secrets
from pki.revocation import DENY_LIST_FILE, DenyList

PROVIDER = system("test")
OF_A_CUSTOMER = "SET transaction_timeout = 0;"
CLEAR = "a planted secret that must never be seen"


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    """A controller's files and its database, empty but for the cluster's row."""
    pki = tmp_path / "pki"
    pki.mkdir()
    (pki / "ca.pem").write_text("certificate")
    (pki / "ca-key.pem").write_text("key")
    DenyList(pki / DENY_LIST_FILE).add(7)
    Secrets.create(tmp_path / "secrets.key")
    anchors = AnchorFile(tmp_path / "audit-anchors")
    return Place(database_url, find_binaries(), pki, tmp_path / "secrets.key", anchors)


async def furnish(tx: Transaction) -> None:
    await tx.run("INSERT INTO cluster (service_domain) VALUES ('hs.test')")
    await tx.run("INSERT INTO account (name) VALUES ('acme')")
    await tx.run(
        "INSERT INTO box (name, address, groups, connected) VALUES ('web1', '10.0.0.1', '{}', true)"
    )
    await tx.run(
        "INSERT INTO enrolment_token (digest, box_id, expires_at)"
        " SELECT 'x', id, now() + interval '1 hour' FROM box"
    )
    await tx.run(
        "INSERT INTO box_sample SELECT id, 10, 0, now(), 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 FROM box"
    )


async def work(place: Place, function: Callable[[Transaction], object]) -> object:
    """Run one transaction and hang up, so that nothing stands in a restore's way."""
    database = await Database.connect(place.database_url)
    try:
        return await database.transaction(PROVIDER, function, name="work")
    finally:
        await database.close()


@pytest_twisted.ensureDeferred
async def test_a_restore_brings_everything_back_under_a_new_history(
    place: Place, tmp_path: Path
) -> None:
    secrets = Secrets.load(place.secrets_key)
    await work(place, furnish)
    reference = await work(place, lambda tx: secrets.store(tx, CLEAR))
    manifest = await deferToThread(backup.create, place, tmp_path / "one.backup")
    assert (tmp_path / "one.backup").stat().st_mode & 0o777 == 0o600

    await work(place, lambda tx: tx.run("DELETE FROM account"))
    await work(place, lambda tx: tx.run("DELETE FROM secret"))
    (place.pki / "ca.pem").write_text("another")
    DenyList.load(place.pki / DENY_LIST_FILE).add(8)  # revoked after the backup
    place.secrets_key.unlink()

    await deferToThread(backup.restore, place, tmp_path / "one.backup")
    assert (place.pki / "ca.pem").read_text() == "certificate"
    assert set(DenyList.load(place.pki / DENY_LIST_FILE)) == {7, 8}

    async def look(tx: Transaction) -> None:
        assert await tx.rows("SELECT name FROM account") == [("acme",)]
        (history,) = await tx.row("SELECT history FROM cluster")
        assert history != manifest.history
        assert await tx.rows("SELECT connected FROM box") == [(False,)]
        assert await tx.rows("SELECT 1 FROM enrolment_token") == []
        assert await tx.rows("SELECT 1 FROM box_sample") == []
        assert await Secrets.load(place.secrets_key).read(tx, reference.id) == CLEAR

    await work(place, look)
    # The restored database is whole: rights, row security, sequences, and a backup of its own.
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        await work(place, lambda tx: tx.run("DELETE FROM change"))
    await work(place, lambda tx: tx.run("INSERT INTO account (name) VALUES ('next')"))
    await deferToThread(backup.create, place, tmp_path / "two.backup")
    await deferToThread(backup.restore, place, tmp_path / "two.backup")
    assert await work(place, lambda tx: tx.row("SELECT count(*) FROM account")) == (2,)


@pytest_twisted.ensureDeferred
async def test_a_restore_notes_from_which_change_the_chain_goes_on(
    place: Place, tmp_path: Path
) -> None:
    async def change(tx: Transaction) -> Head:
        await tx.run("INSERT INTO change (actor, command, request) VALUES ('a', 'a.b', '{}')")
        await seal_batch(tx)
        return await head_of(tx)

    await work(place, furnish)
    kept = await work(place, change)
    await deferToThread(backup.create, place, tmp_path / "one.backup")
    lost = await work(place, change)
    assert isinstance(kept, Head)
    assert isinstance(lost, Head)
    place.anchors.append(Anchor("before", lost.seq, lost.hash.hex()))
    await deferToThread(backup.restore, place, tmp_path / "one.backup")
    (note,) = place.anchors.read().standing
    assert (note.seq, note.hash, note.restored) == (1, kept.hash.hex(), True)


@pytest_twisted.ensureDeferred
async def test_a_secret_is_never_in_clear_in_a_dump(place: Place, tmp_path: Path) -> None:
    secrets = Secrets.load(place.secrets_key)
    await work(place, furnish)
    await work(place, lambda tx: secrets.store(tx, CLEAR, name="transfer-key"))
    binaries = place.binaries
    script = tmp_path / "dump.sql"
    await deferToThread(backup.create, place, tmp_path / "one.backup")
    with tarfile.open(tmp_path / "one.backup") as tar:
        tar.extract("database.dump", tmp_path)
    backup._run(
        Place(place.database_url, binaries, place.pki, place.secrets_key, place.anchors),
        "pg_restore",
        f"--file={script}",
        str(tmp_path / "database.dump"),
    )
    text = script.read_text()
    assert "transfer-key" in text  # the row is there
    assert CLEAR not in text
    assert CLEAR.encode().hex() not in text


@pytest_twisted.ensureDeferred
async def test_a_dump_of_newer_programs_says_nothing_that_an_older_server_refuses(
    place: Place, tmp_path: Path
) -> None:
    """PostgreSQL 15 and 16, for which the embedded one's programs are newer."""
    await work(place, furnish)
    await work(place, lambda tx: tx.run("UPDATE account SET name = %s", (OF_A_CUSTOMER,)))
    await deferToThread(backup.create, place, tmp_path / "one.backup")
    with tarfile.open(tmp_path / "one.backup") as tar:
        tar.extract("database.dump", tmp_path)
    script = tmp_path / "dump.sql"
    backup._run(place, "pg_restore", f"--file={script}", str(tmp_path / "database.dump"))
    before = script.read_text()
    backup._fit_older_servers(script)
    lines = script.read_text().splitlines()
    assert "SET transaction_timeout = 0;" in before.splitlines()
    assert "SET transaction_timeout = 0;" not in lines
    assert len(script.read_text()) == len(before)
    assert any(OF_A_CUSTOMER in line for line in lines)


@pytest_twisted.ensureDeferred
async def test_a_restore_is_refused_while_a_controller_is_connected(
    place: Place, tmp_path: Path
) -> None:
    await work(place, furnish)
    await deferToThread(backup.create, place, tmp_path / "one.backup")
    database = await Database.connect(place.database_url)
    with pytest.raises(BackupError, match="stop every controller"):
        await deferToThread(backup.restore, place, tmp_path / "one.backup")
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_backup_never_replaces_another(place: Place, tmp_path: Path) -> None:
    await work(place, furnish)
    (tmp_path / "one.backup").write_text("mine")
    with pytest.raises(FileExistsError):
        await deferToThread(backup.create, place, tmp_path / "one.backup")
    assert (tmp_path / "one.backup").read_text() == "mine"


@pytest_twisted.ensureDeferred
async def test_a_backup_during_which_the_key_of_secrets_was_changed_is_refused(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = backup._run

    def rotated_meanwhile(*given: Any) -> Any:
        done = run(*given)
        key_file.write(place.secrets_key, key_file.new())
        return done

    monkeypatch.setattr(backup, "_run", rotated_meanwhile)
    with pytest.raises(backup.BackupError, match="make the backup anew"):
        await deferToThread(backup.create, place, tmp_path / "one.backup")
    assert not (tmp_path / "one.backup").exists()


@pytest_twisted.ensureDeferred
async def test_a_backup_into_no_directory_is_refused_with_its_name(
    place: Place, tmp_path: Path
) -> None:
    with pytest.raises(backup.BackupError, match="away is no directory: make it first"):
        await deferToThread(backup.create, place, tmp_path / "away" / "one.backup")


def _rewritten(source: Path, target: Path, member: tarfile.TarInfo, content: bytes) -> None:
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for entry in old:
            new.addfile(entry, old.extractfile(entry))
        new.addfile(member, io.BytesIO(content))


def _files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def _link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("pki/link")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/absolute"),
        tarfile.TarInfo("pki/../../outside"),
        tarfile.TarInfo("pki/ca.pem"),
        tarfile.TarInfo("database.dump"),
        _link(tarfile.SYMTYPE),
        _link(tarfile.LNKTYPE),
        _link(tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name} {member.type!r}",
)
@pytest_twisted.ensureDeferred
async def test_a_hostile_archive_is_refused_and_nothing_is_touched(
    place: Place, tmp_path: Path, member: tarfile.TarInfo
) -> None:
    await work(place, furnish)
    good, bad = tmp_path / "good.backup", tmp_path / "bad.backup"
    await deferToThread(backup.create, place, good)
    _rewritten(good, bad, member, b"")
    before = _files(tmp_path)
    with pytest.raises(ArchiveError, match=f"unexpected '{member.name}'"):
        await deferToThread(backup.restore, place, bad)
    assert _files(tmp_path) == before
    assert await work(place, lambda tx: tx.row("SELECT count(*) FROM account")) == (1,)


@pytest_twisted.ensureDeferred
async def test_a_damaged_archive_is_refused(place: Place, tmp_path: Path) -> None:
    await work(place, furnish)
    await deferToThread(backup.create, place, tmp_path / "one.backup")
    data = bytearray((tmp_path / "one.backup").read_bytes())
    middle = data.index(b"PGDMP") + 200
    data[middle] ^= 1
    (tmp_path / "one.backup").write_bytes(data)
    with pytest.raises(ArchiveError, match="checksum"):
        await deferToThread(backup.restore, place, tmp_path / "one.backup")
