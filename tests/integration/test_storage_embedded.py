"""The embedded server: who can reach it, where its programs come from, what it refuses."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from controller.principal import system
from controller.storage.binaries import Binaries, BinariesError, find_binaries, within_reach
from controller.storage.database import Database
from controller.storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from controller.storage.migrations import SchemaError, known_schema, migrate
from controller.storage.roles import RoleError
from controller.storage.system_account import SystemAccount
from controller.storage.tending import Tending

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs programs as another user")


@pytest.fixture
def state(short_directory: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="own-", dir=short_directory))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def connect_as_nobody(postgres: EmbeddedPostgres, short_directory: Path) -> str:
    """Try to connect as another user; give what psql says of it."""
    entry = pwd.getpwnam("nobody")
    nobody = SystemAccount("nobody", entry.pw_uid, entry.pw_gid)
    programs = within_reach(find_binaries(), nobody, short_directory / "programs")
    return subprocess.run(
        [programs.program("psql"), postgres.url, "-c", "SELECT 1"],
        user=nobody.uid,
        group=nobody.gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    ).stderr


@pytest.mark.root
@as_root
def test_another_local_user_cannot_connect(
    postgres: EmbeddedPostgres, short_directory: Path
) -> None:
    assert "Permission denied" in connect_as_nobody(postgres, short_directory)


@pytest.mark.root
@as_root
def test_a_user_who_reaches_the_socket_is_still_refused(
    postgres: EmbeddedPostgres, short_directory: Path
) -> None:
    """The folder's mode is one lock, the server's own check another."""
    sockets = Path(psycopg2.extensions.parse_dsn(postgres.url)["host"])
    sockets.chmod(0o711)
    (sockets / ".s.PGSQL.5432").chmod(0o777)
    try:
        said = connect_as_nobody(postgres, short_directory)
    finally:
        (sockets / ".s.PGSQL.5432").chmod(0o700)
        sockets.chmod(0o700)
    assert "Peer authentication failed" in said


@pytest.mark.root
@as_root
def test_programs_out_of_reach_are_copied_once(state: Path) -> None:
    hidden = state / "hidden"
    hidden.mkdir(mode=0o700)
    found = find_binaries()
    for tree in found.tree:
        shutil.copytree(tree, hidden / tree.name, symlinks=True)
    away = Binaries(
        hidden / found.directory.relative_to(found.tree[0].parent),
        found.version,
        tuple(hidden / tree.name for tree in found.tree),
    )
    nobody = pwd.getpwnam("nobody")
    account = SystemAccount("nobody", nobody.pw_uid, nobody.pw_gid)
    copied = within_reach(away, account, state / "programs")
    assert copied.directory.is_relative_to(state / "programs")
    for program in ("postgres", "initdb", "pg_dump"):  # they need different bundled libraries
        said = subprocess.run(
            [copied.program(program), "--version"],
            user=account.uid,
            group=account.gid,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert found.version.split(".")[0] in said
    made = copied.directory.stat()
    assert within_reach(away, account, state / "programs") == copied
    assert copied.directory.stat() == made  # a second start does not copy again


def hidden(process: psutil.Process) -> str:
    """What psutil says of a folder that the kernel does not show."""
    raise psutil.AccessDenied(process.pid)


def test_a_server_that_may_not_be_looked_at_is_used_and_never_started_twice(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel hides the folder of a process that has a capability which the asking one has not,
    as of a unit that may take ports below 1024. A second start once ended the running server.
    """
    server = EmbeddedPostgres(state, settings={"fsync": "off"})
    server.start()
    try:
        monkeypatch.setattr(psutil.Process, "cwd", hidden)
        asking = EmbeddedPostgres(state)
        assert asking.pid == server.pid is not None
        before = server.pid
        asking.start()
        assert asking.pid == before
        assert (state / "postgresql/data/postmaster.pid").read_text().startswith(f"{before}\n")
        assert "shutdown request" not in server_log(server)
    finally:
        monkeypatch.undo()
        server.stop()


def server_log(server: EmbeddedPostgres) -> str:
    (file,) = server.log_directory.iterdir()
    return file.read_text()


@pytest_twisted.ensureDeferred
async def test_a_server_that_was_killed_is_started_again_until_nobody_tends_it(state: Path) -> None:
    server = EmbeddedPostgres(state, settings={"fsync": "off"})
    server.start()
    tending = Tending(server, reactor, seconds=0.02)
    tending.start()
    try:
        killed = server.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while server.pid in (None, killed):
            await deferLater(reactor, 0.02)
        await tending.stop()
        psycopg2.connect(server.url).close()
    finally:
        server.stop()


def test_a_number_in_the_lock_file_that_is_another_program_of_the_name_is_not_believed(
    postgres: EmbeddedPostgres, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "cwd", hidden)
    data = state / "postgresql" / "data"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{postgres.pid}\n")
    assert EmbeddedPostgres(state).pid is None


@pytest.mark.root
@as_root
def test_a_state_directory_that_the_server_cannot_enter_is_refused(state: Path) -> None:
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError, match="cannot enter"):
        EmbeddedPostgres(closed / "cluster").start()


def test_a_socket_path_that_is_too_long_is_refused(state: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="too long"):
        EmbeddedPostgres(state / ("x" * 80)).start()


def test_programs_that_are_not_there_are_refused(state: Path) -> None:
    with pytest.raises(BinariesError):
        EmbeddedPostgres(state, binaries=state).start()


def test_data_of_another_major_version_is_refused(state: Path) -> None:
    data = state / "postgresql" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("12\n")
    (state / "postgresql").chmod(0o711)
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 12's"):
        EmbeddedPostgres(state).start()


def test_migrating_again_changes_nothing(database_url: str) -> None:
    assert migrate(database_url) == migrate(database_url) == known_schema()


def test_a_database_that_needs_a_newer_program_is_refused(database_url: str) -> None:
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO cluster (service_domain, compatible_from) VALUES ('x', 999)")
    connection.close()
    with pytest.raises(SchemaError, match="upgrade"):
        migrate(database_url)


def test_a_runtime_role_that_passes_by_row_security_is_refused(
    postgres: EmbeddedPostgres, database_url: str
) -> None:
    connection = psycopg2.connect(postgres.administrator_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE hs_runtime BYPASSRLS")
        try:
            with pytest.raises(RoleError, match="ALTER ROLE hs_runtime"):
                migrate(database_url)
        finally:
            cursor.execute("ALTER ROLE hs_runtime NOBYPASSRLS")
    connection.close()


@pytest.fixture
def external(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database as an operator may hand it over: its owner may create no roles."""
    connection = psycopg2.connect(postgres.administrator_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE ext_owner LOGIN")
        cursor.execute("CREATE DATABASE external OWNER ext_owner")
        yield postgres.url_of("postgres", "external") + "&options=-c%20role%3Dext_owner"
        cursor.execute("DROP DATABASE external WITH (FORCE)")
        cursor.execute("DROP ROLE ext_owner")
    connection.close()


@pytest_twisted.ensureDeferred
async def test_an_external_owner_is_told_the_sql_that_is_missing_and_it_is_enough(
    external: str, postgres: EmbeddedPostgres
) -> None:
    with pytest.raises(RoleError) as refused:
        migrate(external)
    statement = str(refused.value).partition("administrator: ")[2]
    assert statement == 'GRANT hs_runtime TO "ext_owner";'
    connection = psycopg2.connect(postgres.administrator_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()
    assert migrate(external) == known_schema()
    database = await Database.connect(external)
    assert await database.transaction(
        system("test"), lambda tx: tx.row("SELECT current_user"), name="who"
    ) == ("hs_runtime",)
    await database.close()
