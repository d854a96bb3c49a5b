"""The system user that the embedded PostgreSQL runs as, and what that user can reach."""

import os
import pwd
import subprocess
from pathlib import Path

import attrs

SYSTEM_USER = "heliosphere"


class SystemAccountError(Exception):
    """The system user cannot be had; the text says why."""


@attrs.frozen
class SystemAccount:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int

    def may_enter(self, directory: Path) -> bool:
        """Tell whether the user can pass through (or run) ``directory`` by its mode bits."""
        status = directory.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid == self.gid else 0o001))

    def may_run(self, program: Path) -> bool:
        """Tell whether the user can reach and run ``program``."""
        ways = (program.parents, program.resolve().parents)  # through links, and what they lead to
        return all(self.may_enter(place) for way in ways for place in way) and self.may_enter(
            program
        )


def account_exists(name: str) -> bool:
    """Tell whether the operating system knows the user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def server_account(name: str = SYSTEM_USER) -> SystemAccount:
    """Give the user to run PostgreSQL as: ourselves, or when root the system user ``name``.

    PostgreSQL refuses to run as root. The system user is created where it is missing. Raises
    `SystemAccountError`.
    """
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        return SystemAccount(me.pw_name, me.pw_uid, me.pw_gid)
    if not account_exists(name):
        command = ["/usr/sbin/useradd", "--system", "--no-create-home", "--user-group"]
        command += ["--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode and not account_exists(name):
            raise SystemAccountError(f"cannot create the user {name}: {made.stderr.strip()}")
    entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise SystemAccountError(f"the user {name} is root: PostgreSQL needs an unprivileged user")
    return SystemAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)
