"""Secrets in the real database, and their way into a spec."""

import os
from pathlib import Path

import msgspec
import pytest
import pytest_twisted

from controller.principal import Principal, system
from controller.storage.database import Database, Transaction
from controller.storage.key_rotation import forget, rotate
from controller.storage.secrets import SecretError, SecretReference, Secrets

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
    mine = Secrets.create(path)
    reference = await _stored(database, mine, "clear")
    await rotate(database, PROVIDER, path)
    new = Secrets.load(path)
    assert new.digest(b"clear") == reference.digest
    assert await _former(database, new) == 0
    assert await _read(database, new, reference) == "clear"


@pytest_twisted.ensureDeferred
async def test_a_rotation_is_taken_up_by_who_had_read_the_file_before(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    running = Secrets.create(path)
    reference = await _stored(database, running, "clear")
    await rotate(database, PROVIDER, path)
    await _stored(database, running, "sealed after it")
    assert await _former(database, Secrets.load(path)) == 0
    reader = Secrets.load(path)
    await rotate(database, PROVIDER, path)
    assert await _read(database, reader, reference) == "clear"


@pytest_twisted.ensureDeferred
async def test_a_key_file_that_cannot_be_read_now_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    running = Secrets.create(path)
    path.write_text("half a file")
    reference = await _stored(database, running, "clear")
    path.unlink()
    assert await _read(database, running, reference) == "clear"


@pytest_twisted.ensureDeferred
async def test_former_keys_are_forgotten_once_nothing_is_sealed_with_them(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "secrets.key"
    reference = await _stored(database, Secrets.create(path), "clear")
    former = Secrets.load(path)
    Secrets.add_key(path)
    with pytest.raises(SecretError, match="1 secrets are sealed with a former key"):
        await forget(database, PROVIDER, path)
    told: list[int] = []
    await rotate(database, PROVIDER, path, told.append)
    assert told == [1]
    assert await forget(database, PROVIDER, path) == 2
    assert await _read(database, Secrets.load(path), reference) == "clear"
    with pytest.raises(SecretError, match="a key that is not here"):
        Secrets.load(path).open(1, former.seal(1, b"")[:1] + b"gone" + bytes(40))


@pytest_twisted.ensureDeferred
async def test_a_key_file_of_another_user_is_left_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets.key"
    Secrets.create(path)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    before = path.read_bytes()
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


async def _former(database: Database, secrets: Secrets) -> int:
    return await database.transaction(PROVIDER, secrets.former, name="former")
