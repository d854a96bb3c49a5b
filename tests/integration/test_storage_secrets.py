"""Secrets in the real database, and their way into a spec."""

from pathlib import Path

import msgspec
import pytest
import pytest_twisted

from controller.principal import Principal, system
from controller.storage.database import Database, Transaction
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
async def test_rotation_seals_anew_and_keeps_digests(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    old = Secrets.create(path)
    reference = await database.transaction(
        PROVIDER, lambda tx: old.store(tx, "clear"), name="store"
    )
    Secrets.add_key(path)
    new = Secrets.load(path)

    async def rotate(tx: Transaction) -> list[int]:
        return [await new.reseal(tx), await new.reseal(tx)]

    assert await database.transaction(PROVIDER, rotate, name="rotate") == [1, 0]
    assert new.digest(b"clear") == reference.digest

    async def read(tx: Transaction) -> None:
        assert await new.read(tx, reference.id) == "clear"
        with pytest.raises(SecretError):
            await old.read(tx, reference.id)

    await database.transaction(PROVIDER, read, name="read")
