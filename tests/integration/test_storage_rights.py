"""What the runtime role and an account's principal may not do, whatever the SQL."""

import psycopg2
import pytest
import pytest_twisted

from controller.principal import Principal, system
from controller.storage.database import Database, Transaction

PROVIDER = system("test")
SERVER = "00000000-0000-0000-0000-000000000001"


async def furnish(tx: Transaction) -> tuple[int, int]:
    """Two accounts with a domain, an object and a change each."""
    await tx.run(
        "INSERT INTO logical_server (id, name, group_name, service_type)"
        " VALUES (%s, 'ns1', 'dns', 'bind')",
        (SERVER,),
    )
    ids = []
    for number, name in enumerate(("acme", "other"), 1):
        (account,) = await tx.row("INSERT INTO account (name) VALUES (%s) RETURNING id", (name,))
        ids.append(account)
        await tx.run(
            "INSERT INTO domain (owner_id, name, reversed) VALUES (%s, %s, %s)",
            (account, f"{name}.test", f"test.{name}"),
        )
        (change,) = await tx.row(
            "INSERT INTO change (actor, on_behalf_of, command, request)"
            " VALUES ('operator:x', %s, 'domain.add', '{}') RETURNING id",
            (account,),
        )
        await tx.run(
            "INSERT INTO change_object VALUES (%s, %s, 'zone', %s, %s, NULL, 'spec')",
            (change, SERVER, f"{name}.test", number),
        )
        await tx.run(
            "INSERT INTO change_row VALUES (%s, 1, 'domain', %s, NULL, '{}')", (change, name)
        )
        await tx.run(
            "INSERT INTO change_watch VALUES (%s, %s, %s, 1)", (change, SERVER, f"{name}.test")
        )
        await tx.run(
            "INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version,"
            " spec, owner_id, change_id) VALUES (%s, 'zone', %s, %s, 1, 'spec', %s, %s)",
            (SERVER, f"{name}.test", number, account, change),
        )
        await tx.run(
            "INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome)"
            " VALUES (gen_random_uuid(), %s, 'zone', %s, %s, 'failed')",
            (SERVER, f"{name}.test", number),
        )
    await tx.run("INSERT INTO operator (name) VALUES ('admin')")
    return ids[0], ids[1]


TENANT_TABLES = [
    "account",
    "domain",
    "desired_object",
    "object_outcome",
    "change",
    "change_object",
    "change_row",
    "change_watch",
]


@pytest.mark.parametrize("table", TENANT_TABLES)
@pytest_twisted.ensureDeferred
async def test_an_account_sees_only_its_own_rows(database: Database, table: str) -> None:
    acme, _ = await database.transaction(PROVIDER, furnish, name="furnish")

    async def count(tx: Transaction) -> int:
        (number,) = await tx.row(f"SELECT count(*) FROM {table}")
        return int(number)

    assert await database.transaction(PROVIDER, count, name="all") == 2
    me = Principal("account", "account:acme", account=acme)
    assert await database.transaction(me, count, name="own") == 1


@pytest_twisted.ensureDeferred
async def test_an_account_sees_no_operator(database: Database) -> None:
    acme, _ = await database.transaction(PROVIDER, furnish, name="furnish")
    me = Principal("account", "account:acme", account=acme)
    rows = await database.transaction(
        me, lambda tx: tx.rows("SELECT * FROM operator"), name="operators"
    )
    assert rows == []


@pytest_twisted.ensureDeferred
async def test_an_account_cannot_touch_anothers_rows(database: Database) -> None:
    acme, other = await database.transaction(PROVIDER, furnish, name="furnish")
    me = Principal("account", "account:acme", account=acme)
    touched = await database.transaction(
        me,
        lambda tx: tx.run("UPDATE domain SET version = 9 WHERE owner_id = %s", (other,)),
        name="update",
    )
    assert touched == 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        await database.transaction(
            me,
            lambda tx: tx.run(
                "INSERT INTO domain (owner_id, name, reversed) VALUES (%s, 'x.test', 'test.x')",
                (other,),
            ),
            name="insert",
        )


@pytest_twisted.ensureDeferred
async def test_the_principal_ends_with_its_transaction(database_url: str) -> None:
    database = await Database.connect(database_url, size=1)
    acme, _ = await database.transaction(PROVIDER, furnish, name="furnish")
    me = Principal("account", "account:acme", account=acme)

    async def names(tx: Transaction) -> list[tuple[str]]:
        return await tx.rows("SELECT name FROM account ORDER BY name")

    assert await database.transaction(me, names, name="own") == [("acme",)]
    assert await database.transaction(PROVIDER, names, name="all") == [("acme",), ("other",)]
    await database.close()


@pytest.mark.parametrize("table", ["change", "change_object", "change_row", "change_watch"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET {} = {}", "TRUNCATE {}"])
@pytest_twisted.ensureDeferred
async def test_the_audit_is_append_only(database: Database, table: str, verb: str) -> None:
    column = "actor" if table == "change" else "change_id"
    await database.transaction(PROVIDER, furnish, name="furnish")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        await database.transaction(
            PROVIDER, lambda tx: tx.run(verb.format(table, column, column)), name="tamper"
        )


@pytest_twisted.ensureDeferred
async def test_a_sealed_change_cannot_be_sealed_again(database: Database) -> None:
    await database.transaction(PROVIDER, furnish, name="furnish")

    async def seal(tx: Transaction) -> None:
        await tx.run("UPDATE change SET seq = id, hash = 'x'")

    await database.transaction(PROVIDER, seal, name="seal")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        await database.transaction(PROVIDER, seal, name="again")


@pytest_twisted.ensureDeferred
async def test_work_is_done_as_the_runtime_role_even_with_the_owners_url(
    database: Database,
) -> None:
    role = await database.transaction(
        PROVIDER,
        lambda tx: tx.row(
            "SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ),
        name="role",
    )
    assert role == ("hs_runtime", False, False)
    for statement in ("RESET ROLE", "ALTER TABLE account DISABLE ROW LEVEL SECURITY"):
        try:
            await database.transaction(PROVIDER, lambda tx, s=statement: tx.run(s), name="escape")
        except psycopg2.errors.InsufficientPrivilege:
            continue
        again = await database.transaction(
            PROVIDER, lambda tx: tx.row("SELECT current_user"), name="role"
        )
        assert again == ("hs_runtime",)


@pytest_twisted.ensureDeferred
async def test_children_of_a_name_are_found_by_the_index_under_row_security(
    database: Database,
) -> None:
    acme, _ = await database.transaction(PROVIDER, furnish, name="furnish")

    async def plan(tx: Transaction) -> str:
        await tx.run("SET LOCAL enable_seqscan = off")
        lines = await tx.rows(
            "EXPLAIN SELECT name FROM domain"
            " WHERE reversed > 'test.shop.' AND reversed < 'test.shop/'"
        )
        return "\n".join(line for (line,) in lines)

    for principal in (PROVIDER, Principal("account", "account:acme", account=acme)):
        text = await database.transaction(principal, plan, name="plan")
        assert "Index Cond: ((reversed > 'test.shop.'" in text
