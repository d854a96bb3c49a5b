"""Bring a database to this program's schema, and refuse one that has gone beyond it."""

from importlib import resources
from typing import Any

import psycopg2
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import parse_uri
from yoyo.migrations import Migration, MigrationList, default_migration_table

from controller.storage.roles import RUNTIME_ROLE, ensure_runtime_role

_LOCK = 0x68735F6D  # 'hs_m': the advisory lock that lets one program migrate at a time
_YOYO_TABLES = ("_yoyo_migration", "_yoyo_log", "_yoyo_version", "yoyo_lock")


class SchemaError(Exception):
    """The database's schema and this program do not go together."""


class _Backend(PostgresqlBackend):  # type: ignore[misc]
    """yoyo's backend on a libpq connection string, so that socket directories need no rewriting."""

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__(parse_uri("postgresql:///"), default_migration_table)

    def connect(self, dburi: Any) -> Any:
        connection = psycopg2.connect(self._url)
        connection.autocommit = True
        return connection


def known_schema() -> int:
    """Give the number of the newest migration that this program carries."""
    names = [entry.name for entry in resources.files("controller.storage.schema").iterdir()]
    return max(_number(name) for name in names if name.endswith(".sql"))


def migrate(owner_url: str) -> int:
    """Apply what is missing, under an advisory lock, each migration whole or not at all.

    Gives the schema number that the database then has. Raises `SchemaError` where the database
    needs a newer program, `controller.storage.roles.RoleError` where roles are missing. Blocks: it
    runs before the reactor does.
    """
    with _Backend(owner_url) as backend:
        connection = backend.connection
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        ensure_runtime_role(connection, connection.info.dbname)
        check_compatible(connection)
        backend.init_database()
        backend.break_lock()  # left by a program that was killed; the advisory lock is the real one
        backend.ensure_internal_schema_updated()
        with resources.as_file(resources.files("controller.storage.schema")) as directory:
            files = sorted(directory.glob("*.sql"))
            known = MigrationList(
                [Migration(file.stem, str(file), str(directory)) for file in files]
            )
            for migration in backend.to_apply(known):
                with backend.transaction():
                    backend.execute("SET LOCAL hs.principal = 'provider'")
                    # Not yoyo's apply_one: it marks in a transaction of its own, so that a program
                    # killed in between would apply the same migration twice.
                    migration.process_steps(backend, "apply")
                    backend.mark_one(migration, log=False)
        # yoyo's own tables came before the schema's general grant to the runtime role.
        for table in _YOYO_TABLES:
            backend.execute(f"REVOKE ALL ON {table} FROM {RUNTIME_ROLE}")
        return schema_of(connection)


def check_compatible(connection: Any) -> None:
    """Raise `SchemaError` where the database's floor is above what this program knows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.cluster') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return
        cursor.execute("SELECT compatible_from FROM cluster")
        row = cursor.fetchone()
    if row is not None and row[0] > known_schema():
        raise SchemaError(
            f"this database needs a program that knows schema {row[0]}; this one knows schema"
            f" {known_schema()}: upgrade Heliosphere on this machine"
        )


def schema_of(connection: Any) -> int:
    """Give the number of the newest migration that a database has."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT migration_id FROM {default_migration_table}")  # noqa: S608
        return max(_number(name) for (name,) in cursor.fetchall())


def _number(name: str) -> int:
    return int(name.partition(".")[0])
