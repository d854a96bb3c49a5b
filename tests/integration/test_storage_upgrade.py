"""A database of the first release, full of what a cluster has, is brought to the present schema."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import psycopg2
import pytest
import pytest_twisted
from psycopg2.extensions import parse_dsn

from controller.runner import CommandRunner
from controller.storage import migrations
from controller.storage.database import Database
from controller.storage.embedded import EmbeddedPostgres
from controller.storage.migrations import known_schema, migrate
from controller.storage.roles import OWNER_ROLE
from tests.integration.model import Model

FIRST = "0001.first-light.sql"
OLD = "test_upgrade"


@pytest.fixture
def old_url(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The owner's connection string of a database that has the first schema and no more."""
    schema = Path(migrations.__file__).parent / "schema"
    (tmp_path / FIRST).write_text((schema / FIRST).read_text())
    _run(postgres.administrator_url, f"CREATE DATABASE {OLD} OWNER {OWNER_ROLE}")
    url = postgres.url_of(OWNER_ROLE, OLD)
    with monkeypatch.context() as first:
        first.setattr("controller.storage.migrations.resources.files", lambda _: tmp_path)
        assert migrate(url) == 1
    yield url
    _run(postgres.administrator_url, f"DROP DATABASE {OLD} WITH (FORCE)")


def _run(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as a superuser; give the rows of the last."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def _tables(url: str) -> list[str]:
    """Give the tables that are the product's own and hold data."""
    found = _run(
        url,
        """SELECT table_name FROM information_schema.tables
           WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
             AND table_name NOT LIKE '\\_yoyo%' AND table_name <> 'yoyo_lock' ORDER BY 1""",
    )
    return [name for (name,) in found]


def _columns(url: str, table: str) -> list[str]:
    found = _run(
        url,
        f"""SELECT column_name FROM information_schema.columns
            WHERE table_schema = 'public' AND table_name = '{table}' AND is_generated = 'NEVER'
            ORDER BY ordinal_position""",
    )
    return [f'"{name}"' for (name,) in found]


@attrs.frozen
class Kept:
    """What a table held: its columns as a list of texts, and the rows."""

    texts: str
    rows: list[tuple[Any, ...]]


def _as_superuser(server: EmbeddedPostgres, database: str) -> str:
    return server.administrator_url.replace("/postgres?", f"/{database}?")


def _copied(source: str, target: str) -> dict[str, Kept]:
    """Copy all rows, as far as the target has their columns; give them as text by table."""
    told = {}
    reading, writing = psycopg2.connect(source), psycopg2.connect(target)
    try:
        with reading.cursor() as read, writing.cursor() as write:
            write.execute("SET session_replication_role = replica")
            for table in _tables(target):
                columns = _columns(target, table)
                texts = ", ".join(f"{name}::text" for name in columns)
                read.execute(f"SELECT {texts} FROM {table} ORDER BY 1, 2")
                told[table] = Kept(texts, read.fetchall())
                write.execute(f"DELETE FROM {table}")
                places = ", ".join(["%s"] * len(columns))
                insert = (
                    f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"
                    f" VALUES ({places})"
                )
                for row in told[table].rows:
                    write.execute(insert, row)
                if '"id"' in columns:
                    write.execute(
                        "SELECT setval(s, 1000000) FROM (SELECT pg_get_serial_sequence(%s, 'id')"
                        " AS s) s WHERE s IS NOT NULL",
                        (table,),
                    )
        writing.commit()
    finally:
        reading.close()
        writing.close()
    return told


@pytest_twisted.ensureDeferred
async def test_a_full_database_of_the_first_release_is_migrated_and_used_on(
    model: Model, postgres: EmbeddedPostgres, database_url: str, old_url: str
) -> None:
    await model.shop()
    for name, values in (("www2", ("192.0.2.7",)), ("www3", ("192.0.2.8",))):
        await model.ask("record.add", domain="shop.test", name=name, type="A", values=values)
    await model.ask(
        "ip.add", lserver="web1.example.net", first="203.0.113.9", mask="32", type="dedicated"
    )
    old = _as_superuser(postgres, OLD)
    before = _copied(_as_superuser(postgres, parse_dsn(database_url)["dbname"]), old)
    assert all(before[table].rows for table in ("box", "lane", "site", "change", "desired_object"))
    assert migrate(old_url) == known_schema()
    assert migrate(old_url) == known_schema()
    for table, kept in before.items():
        assert _run(old, f"SELECT {kept.texts} FROM {table} ORDER BY 1, 2") == kept.rows, table
    held = "SELECT name, holds FROM logical_server ORDER BY name"
    assert _run(old, held) == await model.rows(held)
    connected = await Database.connect(old_url)
    try:
        upgraded = attrs.evolve(
            model, database=connected, runner=CommandRunner(connected, model.registry)
        )
        findings = [await one.ask("health.list") for one in (upgraded, model)]
        assert findings[0]["items"] == findings[1]["items"]
        assert await upgraded.ask("model.export") == await model.ask("model.export")
        await upgraded.ask("pserver.edit", name="web1", description="as it was")
        await upgraded.ask("domain.add", name="other.test", account="acme")
        await upgraded.ask("domain.delete", name="shop.test")
        listed = await upgraded.ask("ip.list", type="dedicated", free=True)
        assert [item["ip"] for item in listed["items"]] == ["203.0.113.9"]
    finally:
        await connected.close()
