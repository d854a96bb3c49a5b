"""Secrets in the real database, and their way into a spec."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from controller.principal import Principal, system
from controller.refusal import CommandError
from controller.storage import key_file
from controller.storage.database import Database, Transaction
from controller.storage.key_file import SecretError
from controller.storage.key_rotation import Rotated, forget, rotate
from controller.storage.secrets import SecretReference, Secrets

PROVIDER = system("test")


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.create(tmp_path / "secrets.key")


@pytest_twisted.ensureDeferred
async def test_a_reference_is_replaced_where_it_stands(
    database: Database, secrets: Secrets
) -> None:
    async def inlined(tx: Transaction) -> object:
        reference = await secrets.store(tx, "clear", name="transfer-key")
        assert await secrets.find(tx, "transfer-key") == reference
        spec = {"keys": [{"name": "k", "secret": reference.text}], "n": 1, "raw": b"\x00"}
        data = await secrets.inline(tx, msgspec.msgpack.encode(spec), [reference.id])
        return msgspec.msgpack.decode(data)

    assert await database.transaction(PROVIDER, inlined, name="inline") == {
        "keys": [{"name": "k", "secret": "clear"}],
        "n": 1,
        "raw": b"\x00",
    }


@pytest_twisted.ensureDeferred
async def test_a_text_that_only_looks_like_a_reference_stays(
    database: Database, secrets: Secrets
) -> None:
    async def inlined(tx: Transaction) -> None:
        mine = await secrets.store(tx, "mine")
        other = await secrets.store(tx, "other")
        forged = SecretReference(mine.id, bytes(32)).text
        spec = msgspec.msgpack.encode([forged, other.text, f"x{mine.text}"])
        data = await secrets.inline(tx, spec, [mine.id])
        assert msgspec.msgpack.decode(data) == [forged, other.text, f"x{mine.text}"]

    await database.transaction(PROVIDER, inlined, name="inline")


@pytest_twisted.ensureDeferred
async def test_a_missing_secret_is_an_error(database: Database, secrets: Secrets) -> None:
    with pytest.raises(SecretError):
        await database.transaction(
            PROVIDER, lambda tx: secrets.inline(tx, b"\xc0", [404]), name="inline"
        )


@pytest_twisted.ensureDeferred
async def test_a_sealed_row_moved_to_another_id_does_not_open(
    database: Database, secrets: Secrets
) -> None:
    async def swap(tx: Transaction) -> None:
        mine = await secrets.store(tx, "mine")
        other = await secrets.store(tx, "other")
        await tx.run(
            "UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE id = %s) WHERE id = %s",
            (other.id, mine.id),
        )
        with pytest.raises(SecretError):
            await secrets.read(tx, mine.id)

    await database.transaction(PROVIDER, swap, name="swap")


@pytest_twisted.ensureDeferred
async def test_an_account_cannot_read_anothers_secret(database: Database, secrets: Secrets) -> None:
    reference = await database.transaction(
        PROVIDER, lambda tx: secrets.store(tx, "mine", owner_id=1), name="store"
    )
    with pytest.raises(LookupError):
        await database.transaction(
            Principal("account", "account:2", account=2),
            lambda tx: secrets.read(tx, reference.id),
            name="read",
        )


@pytest_twisted.ensureDeferred
async def test_a_rotation_seals_anew_and_keeps_digests(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    reference = await _stored(database, Secrets.create(path), "clear")
    assert await rotate(database, PROVIDER, path) == Rotated(1, ())
    new = Secrets.load(path)
    assert new.digest(b"clear") == reference.digest
    assert await _former(database, path) == 0
    assert await _read(database, new, reference) == "clear"


@pytest_twisted.ensureDeferred
async def test_a_rotation_is_taken_up_by_who_had_read_the_file_before(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    sealing = Secrets.create(path)
    reading = Secrets.load(path)
    reference = await _stored(database, sealing, "clear")
    await rotate(database, PROVIDER, path)
    await _stored(database, sealing, "sealed after it")
    assert await _former(database, path) == 0
    assert await forget(database, PROVIDER, path) == 1
    assert await _read(database, reading, reference) == "clear"


@pytest.mark.parametrize(
    "spoilt",
    [
        b"half a file",
        b'{"digest": "", "keys": {}}',
        b'{"digest": "%(digest)s", "keys": {}}',
        b'{"digest": "%(digest)s", "keys": {"zz": "%(digest)s"}}',
        b'{"digest": "%(digest)s", "keys": {"0badcafe": "c2hvcnQ="}}',
        b'{"digest": "%(other)s", "keys": {"0badcafe": "%(digest)s"}}',
        None,
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_key_file_that_is_none_of_ours_changes_nothing_for_who_runs(
    database: Database, tmp_path: Path, spoilt: bytes | None
) -> None:
    path = tmp_path / "secrets.key"
    running = Secrets.create(path)
    own = path.read_bytes()
    reference = await _stored(database, running, "clear")
    path.unlink()
    if spoilt is not None:
        digest, other = json.loads(own)["digest"].encode(), base64.b64encode(bytes(32))
        path.write_bytes(spoilt % {b"digest": digest, b"other": other})
        path.chmod(0o600)
    with pytest.raises(CommandError) as caught:
        await _stored(database, running, "later")
    assert (caught.value.id, caught.value.status) == ("secret.no-key", 503)
    assert await _read(database, running, reference) == "clear"
    path.write_bytes(own)
    path.chmod(0o600)
    later = await _stored(database, running, "later")
    assert await _read(database, Secrets.load(path), later) == "later"


@pytest_twisted.ensureDeferred
async def test_a_key_file_whose_mode_was_wrong_is_read_once_it_is_right(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    running = Secrets.create(path)
    reference = await _stored(database, running, "clear")
    await rotate(database, PROVIDER, path)
    path.chmod(0o644)
    with pytest.raises(SecretError):
        await _read(database, running, reference)
    path.chmod(0o600)
    assert await _read(database, running, reference) == "clear"


@pytest_twisted.ensureDeferred
async def test_former_keys_are_forgotten_once_nothing_is_sealed_with_them(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    reference = await _stored(database, Secrets.create(path), "clear")
    key_file.write(path, key_file.read(path).with_another())
    with pytest.raises(SecretError, match="1 of the secrets are sealed with a former key"):
        await forget(database, PROVIDER, path)
    await rotate(database, PROVIDER, path)
    assert await forget(database, PROVIDER, path) == 2
    assert await _read(database, Secrets.load(path), reference) == "clear"


@pytest.mark.parametrize("first", [rotate, forget])
@pytest.mark.parametrize("second", [rotate, forget])
@pytest_twisted.ensureDeferred
async def test_of_two_at_once_one_waits_and_no_key_is_lost(
    database: Database, tmp_path: Path, first: Any, second: Any
) -> None:
    path = tmp_path / "secrets.key"
    mine = Secrets.create(path)
    references = [await _stored(database, mine, "clear") for _ in range(20)]
    asked = [Deferred.fromCoroutine(each(database, PROVIDER, path)) for each in (first, second) * 3]
    await gatherResults(asked)
    for reference in references:
        assert await _read(database, Secrets.load(path), reference) == "clear"


@pytest_twisted.ensureDeferred
async def test_what_was_sealed_before_a_rotation_and_stored_after_it_is_sealed_anew(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets.key"
    slow = Secrets.create(path)
    await _stored(database, slow, "an earlier one")
    sealed: Deferred[None] = Deferred()
    go: Deferred[None] = Deferred()
    run = Transaction.run

    async def waiting(self: Transaction, sql: str, parameters: Any = ()) -> int:
        if sql.startswith("INSERT INTO secret"):
            monkeypatch.setattr(Transaction, "run", run)
            sealed.callback(None)
            await go
        return await run(self, sql, parameters)

    monkeypatch.setattr(Transaction, "run", waiting)
    storing = Deferred.fromCoroutine(_stored(database, slow, "clear"))
    await sealed
    await rotate(database, PROVIDER, path)
    assert await forget(database, PROVIDER, path) == 1
    go.callback(None)
    assert await _read(database, Secrets.load(path), await storing) == "clear"


@pytest_twisted.ensureDeferred
async def test_one_that_cannot_be_opened_keeps_no_other_from_being_sealed_anew(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    secrets = Secrets.create(path)

    async def spoil(tx: Transaction) -> int:
        spoilt = await secrets.store(tx, "spoilt", name="a-name")
        await tx.run("UPDATE secret SET sealed = sealed || decode('00', 'hex')")
        return spoilt.id

    spoilt = await database.transaction(PROVIDER, spoil, name="spoil")
    good = await _stored(database, secrets, "clear")
    assert await rotate(database, PROVIDER, path) == Rotated(1, (f"{spoilt} a-name",))
    assert await forget(database, PROVIDER, path) == 1
    assert await _read(database, Secrets.load(path), good) == "clear"


@pytest_twisted.ensureDeferred
async def test_a_key_file_that_opens_nothing_is_left_alone(
    database: Database, tmp_path: Path
) -> None:
    await _stored(database, Secrets.create(tmp_path / "own.key"), "clear")
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    before = path.read_bytes()
    with pytest.raises(SecretError, match="open none of 1 secrets"):
        await rotate(database, PROVIDER, path)
    assert path.read_bytes() == before


@pytest_twisted.ensureDeferred
async def test_keys_are_not_forgotten_by_a_database_that_knows_none_of_them(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    key_file.write(path, key_file.read(path).with_another())
    before = path.read_bytes()
    with pytest.raises(SecretError, match="no secret here is sealed with a key"):
        await forget(database, PROVIDER, path)
    with pytest.raises(SecretError, match="open none of 0 secrets"):
        await rotate(database, PROVIDER, path)
    assert path.read_bytes() == before


@pytest_twisted.ensureDeferred
async def test_the_file_behind_a_link_is_the_one_that_is_changed(
    database: Database, tmp_path: Path
) -> None:
    path, behind = tmp_path / "secrets.key", tmp_path / "volume"
    behind.mkdir()
    await _stored(database, Secrets.create(behind / "real.key"), "clear")
    path.symlink_to(behind / "real.key")
    (behind / ".real.key.0123456789abcdef").write_text("of a rotation that was killed")
    (behind / ".real.key.old").write_text("of a person")
    await rotate(database, PROVIDER, path)
    assert path.is_symlink()
    assert {each.name for each in behind.iterdir()} == {"real.key", ".real.key.old"}
    assert len(key_file.read(behind / "real.key").keys) == 2


@pytest_twisted.ensureDeferred
async def test_a_key_file_of_another_user_is_left_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    before, other = path.read_bytes(), os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    for change in (rotate, forget):
        with pytest.raises(SecretError, match="the controller's user"):
            await change(database, PROVIDER, path)
    assert path.read_bytes() == before


async def _stored(database: Database, secrets: Secrets, clear: str) -> SecretReference:
    return await database.transaction(PROVIDER, lambda tx: secrets.store(tx, clear), name="store")


async def _read(database: Database, secrets: Secrets, reference: SecretReference) -> str:
    return await database.transaction(
        PROVIDER, lambda tx: secrets.read(tx, reference.id), name="read"
    )


async def _former(database: Database, path: Path) -> int:
    """Count what a former key sealed."""

    async def count(tx: Transaction) -> int:
        rows = await tx.rows("SELECT sealed FROM secret")
        newest = Secrets.load(path)
        return sum(not newest.is_newest(sealed) for (sealed,) in rows)

    return await database.transaction(PROVIDER, count, name="former")
