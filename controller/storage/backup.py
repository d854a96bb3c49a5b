"""Backup and restore of a controller: database, CA, deny-list and secrets key in one file.

The file holds everything that the cluster is: whoever has it can name anybody and open every
secret. It is written with mode 0600 and must be kept like the CA's key.

Plain blocking code: it runs as a program of its own, never inside the controller.
"""

import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

import attrs
import psycopg2
from psycopg2.extensions import parse_dsn

from controller.storage.anchors import Anchor, AnchorFile
from controller.storage.archive import (
    DUMP,
    FORMAT,
    PKI,
    SECRETS_KEY,
    ArchiveError,
    Manifest,
    describe,
    is_member,
    read_archive,
    write_archive,
)
from controller.storage.binaries import Binaries
from controller.storage.migrations import known_schema, migrate, schema_of
from controller.storage.roles import ensure_runtime_role
from pki import __version__
from pki.keys import replace_durably
from pki.revocation import DENY_LIST_FILE, DenyList

__all__ = ["ArchiveError", "BackupError", "Manifest", "Place", "create", "restore"]


_LEAVING = 2.0
"""Seconds that backends of clients that have gone are given to end."""


class BackupError(Exception):
    """The backup could not be made or restored; the text says what to do. Nothing was changed."""


@attrs.frozen
class Place:
    """What is backed up and restored: the owner's connection string, and the files."""

    database_url: str = attrs.field(repr=False)
    binaries: Binaries
    pki: Path
    secrets_key: Path
    anchors: AnchorFile
    """Where the audit's head is noted: a restore says there that the chain goes on from another."""


def create(place: Place, target: Path) -> Manifest:
    """Write a backup to ``target``, which must not exist; the controller may be at work meanwhile.

    The dump is one snapshot of the database. The files are read after it, so the deny-list is
    never older than the database. Raises `BackupError`, OSError.
    """
    folder = target.absolute().parent
    if not folder.is_dir():
        raise BackupError(f"{folder} is no directory: make it first, for nobody else to read")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder) as scratch:
        dump = Path(scratch) / DUMP
        keys = place.secrets_key.read_bytes()
        _run(
            place,
            "pg_dump",
            "--format=custom",
            "--no-owner",
            "--enable-row-security",
            # A megabyte a box of what was true once: boxes fill it again.
            "--exclude-table-data=box_sample",
            f"--file={dump}",
        )
        files = {DUMP: dump}
        for path in sorted(place.pki.iterdir()):
            if path.is_file() and not path.is_symlink() and is_member(PKI + path.name):
                files[PKI + path.name] = path
        copied = {
            name: _copy(path, Path(scratch) / str(n))
            for n, (name, path) in enumerate([*files.items(), (SECRETS_KEY, place.secrets_key)])
        }
        if copied[SECRETS_KEY].read_bytes() != keys:
            raise BackupError("the key of secrets was changed meanwhile: make the backup anew")
        cluster, history, schema = _identity(place.database_url)
        manifest = Manifest(
            format=FORMAT,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            program=__version__,
            schema=schema,
            cluster=cluster,
            history=history,
            files={name: describe(path) for name, path in copied.items()},
        )
        write_archive(target, manifest, copied)
    return manifest


def restore(place: Place, source: Path) -> Manifest:
    """Put a backup in the place of what is there, and give the database a new history.

    With the new history every lane of a box that has gone further is *ahead*: nothing is applied or
    deleted there until an operator decides (`hsctl recover`). The database is replaced in one
    transaction. Web sessions and enrolment tokens do not come back; what was revoked stays revoked.
    Raises `ArchiveError`, `BackupError`, OSError.
    """
    _refuse_while_in_use(place.database_url)
    parent = place.secrets_key.absolute().parent
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=parent) as scratch:
        directory = Path(scratch)
        manifest = read_archive(source, directory)
        if manifest.schema > known_schema():
            raise BackupError(
                f"the backup is of a newer program (schema {manifest.schema}, this one knows"
                f" {known_schema()}): upgrade first"
            )
        script = directory / "database.sql"
        _run(place, "pg_restore", "--no-owner", f"--file={script}", str(directory / DUMP))
        _fit_older_servers(script)
        owner = _connect(place.database_url)
        try:
            ensure_runtime_role(owner, owner.info.dbname)
        finally:
            owner.close()
        _run(
            place,
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--single-transaction",
            "--set=ON_ERROR_STOP=1",
            f"--command={_BEFORE}",
            f"--file={script}",
            f"--command={_AFTER}",
        )
        _put_back(place, directory)
    migrate(place.database_url)
    _note_restored(place)
    return manifest


_BEFORE = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
_AFTER = """
SET row_security = on; SET hs.principal = 'provider';
UPDATE public.cluster SET history = gen_random_uuid();
UPDATE public.box SET connected = false;
DELETE FROM public.web_session;
DELETE FROM public.enrolment_token
"""


_UNKNOWN_BEFORE_17 = b"\nSET transaction_timeout = 0;\n"
_PREAMBLE_BYTES = 4096


def _fit_older_servers(script: Path) -> None:
    """Make a comment of the one setting that programs of 17 and newer write and 15 does not know.

    It is at its default anyway. Only the preamble is looked at, before any of the cluster's data.
    """
    with script.open("r+b") as file:
        place = file.read(_PREAMBLE_BYTES).find(_UNKNOWN_BEFORE_17)
        if place >= 0:
            file.seek(place + 1)
            file.write(b"-- ")


def _note_restored(place: Place) -> None:
    connection = _connect(place.database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET hs.principal = 'provider'")
            cursor.execute(
                "SELECT seq, encode(hash, 'hex') FROM change WHERE seq IS NOT NULL"
                " ORDER BY seq DESC LIMIT 1"
            )
            seq, digest = cursor.fetchone() or (0, "")
    finally:
        connection.close()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    place.anchors.append(Anchor(at, seq, digest, restored=True))


def _put_back(place: Place, directory: Path) -> None:
    place.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    denied = set(DenyList.load(place.pki / DENY_LIST_FILE))
    for path in sorted((directory / "pki").iterdir()):
        replace_durably(place.pki / path.name, path.read_bytes(), mode=0o600)
    deny_list = DenyList.load(place.pki / DENY_LIST_FILE)
    for serial in sorted(denied):
        deny_list.add(serial)
    replace_durably(place.secrets_key, (directory / SECRETS_KEY).read_bytes(), mode=0o600)


def _refuse_while_in_use(url: str) -> None:
    connection = _connect(url)
    connection.autocommit = True
    try:
        # The end of a connection reaches its backend a moment after its client has gone.
        end = monotonic() + _LEAVING
        while (others := _others(connection)) and monotonic() < end:
            sleep(0.05)
    finally:
        connection.close()
    if others:
        raise BackupError(
            f"{others} connections to the database are open: stop every controller first"
        )


def _others(connection: psycopg2.extensions.connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        (others,) = cursor.fetchone() or (0,)
    return int(others)


def _identity(url: str) -> tuple[str, str, int]:
    connection = _connect(url)
    try:
        schema = schema_of(connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT id::text, history::text FROM cluster")
            row = cursor.fetchone()
    finally:
        connection.close()
    return (*(row or ("", "")), schema)


def _connect(url: str) -> "psycopg2.extensions.connection":
    try:
        connection = psycopg2.connect(url)
    except psycopg2.OperationalError as error:
        raise BackupError(f"no connection to the database: {str(error).strip()}") from error
    connection.autocommit = True
    return connection


def _copy(source: Path, target: Path) -> Path:
    """Copy, so that what is checksummed is what is written even if the file is replaced."""
    shutil.copyfile(source, target, follow_symlinks=False)
    return target


def server_major(url: str) -> int:
    """Give the major version of the server at a connection string."""
    connection = psycopg2.connect(url)
    try:
        return int(connection.server_version) // 10000
    finally:
        connection.close()


def _run(place: Place, program: str, *arguments: str) -> None:
    settings = parse_dsn(place.database_url)
    password = settings.pop("password", "")
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        # The owner is under row security like everybody: as the provider it sees every row.
        "PGOPTIONS": "-c hs.principal=provider -c client_min_messages=warning",
        # Not in the arguments, which every user of the machine can read.
        "PGPASSWORD": password,
    }
    # pg_restore that writes a script takes no database; the others find theirs here.
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    names |= {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
    names |= {"sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
    environment |= {names[key]: value for key, value in settings.items() if key in names}
    ended = subprocess.run(
        [place.binaries.program(program), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
        env=environment,
    )
    if ended.returncode:
        words = ended.stderr.strip()[-2000:]
        if "SSL support is not compiled in" in words:
            words += "\ninstall postgresql-client in the server's version, or set postgres_binaries"
        raise BackupError(f"{program} failed: {words}")
