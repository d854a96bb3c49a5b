"""The daemons' programs for the boxes of a local cluster."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "named": ("/usr/sbin/named",),
    "named-checkconf": ("/usr/bin/named-checkconf", "/usr/sbin/named-checkconf"),
    "apache2": ("/usr/sbin/apache2", "/usr/sbin/httpd"),
}
_MODULES = (Path("/usr/lib/apache2/modules"), Path("/usr/lib64/httpd/modules"))
_PROFILES = Path("/sys/kernel/security/apparmor/profiles")
_USERS: Mapping[str, str] = {"named": "bind", "apache2": "www-data"}


class MissingProgramError(Exception):
    """A daemon is not installed; ``args[0]`` is the line that installs it."""


def daemon_programs(copies: Path) -> dict[str, str]:
    """Find the programs; raises `MissingProgramError`.

    AppArmor's profile of named forbids a state directory of our own, and goes by the program's
    path: where it is enforced, a copy below ``copies`` is run, and the system's profile is left as
    it is. A production install adds its directories to the profile instead.
    """
    table = {}
    for name, candidates in _NEEDED.items():
        found = next((path for path in candidates if Path(path).exists()), None)
        if found is None:
            raise MissingProgramError("apt-get install -y --no-install-recommends bind9 apache2")
        table[name] = found
    if _confined("named"):
        copies.mkdir(exist_ok=True, mode=0o755)
        copy = copies / "named"
        shutil.copy2(table["named"], copy)
        table["named"] = str(copy)
    return table


def _confined(name: str) -> bool:
    try:
        profiles = _PROFILES.read_text().splitlines()
    except OSError:
        # An ordinary user may not read the list: the profile's own file says enough.
        return Path(f"/etc/apparmor.d/usr.sbin.{name}").exists() and _PROFILES.parent.exists()
    return any(name in line and "(enforce)" in line for line in profiles)


def apache_modules() -> str | None:
    """Where httpd's loadable modules are."""
    return next((str(path) for path in _MODULES if path.is_dir()), None)


def daemon_users() -> dict[str, str]:
    """Give the accounts that the daemons drop to: as root their own, else none."""
    return dict(_USERS) if os.geteuid() == 0 else {}
