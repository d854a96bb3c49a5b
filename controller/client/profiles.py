"""Profiles: the clusters that hsctl knows, in one file that only its owner can read.

``$HSCTL_CONFIG``, or ``~/.config/heliosphere/hsctl.toml``::

    default = "local"

    [profiles.local]
    url = "https://127.0.0.1:8443"
    token = "hs_..."
    ca = "-----BEGIN CERTIFICATE-----..."     # or the path of a file
"""

import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from controller.client.errors import UnreachableError, UsageError

_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


@attrs.frozen
class Profile:
    """How to reach one cluster: a token, or an operator's certificate and key (paths)."""

    name: str
    url: str
    ca: str
    """PEM, or the path of a file with it."""
    token: str = attrs.field(default="", repr=False)
    certificate: str = ""
    key: str = ""
    config: str = ""
    """The controller.toml of a cluster that runs on this machine, for backups."""


@attrs.frozen
class Profiles:
    """All profiles; ``default`` is empty where none is chosen."""

    default: str
    by_name: Mapping[str, Profile]


def profiles_path() -> Path:
    """Give the path of the profiles' file."""
    given = os.environ.get("HSCTL_CONFIG")
    return Path(given) if given else Path.home() / ".config" / "heliosphere" / "hsctl.toml"


def load(path: Path | None = None) -> Profiles:
    """Read the profiles; none where there is no file.

    Raises `UnreachableError` for a file that others can read, and for one that makes no sense.
    """
    path = path or profiles_path()
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise UnreachableError(f"{path} holds tokens and others can read it: chmod 600")
            document = tomllib.load(file)
    except FileNotFoundError:
        return Profiles("", {})
    except OSError as error:
        raise UnreachableError(f"{path}: {error.strerror}") from error
    except RecursionError as error:
        raise UnreachableError(f"{path}: nested too deeply") from error
    except ValueError as error:  # no TOML, no text, or a number that is too long
        raise UnreachableError(f"{path}: {error}") from error
    tables = document.get("profiles", {})
    default = document.get("default", "")
    try:
        known = {name: Profile(name=name, **table) for name, table in tables.items()}
    except (TypeError, AttributeError) as error:
        raise UnreachableError(f"{path}: a profile has url, token and ca") from error
    fields = [value for profile in known.values() for value in attrs.astuple(profile)]
    if not all(isinstance(value, str) for value in [default, *fields]):
        raise UnreachableError(f"{path}: a profile's fields are texts")
    return Profiles(default, known)


def refuse_open_key(profile: Profile) -> None:
    """Refuse an operator's key that others can read (S14). Raises `UnreachableError`, OSError."""
    path = profile.key or profile.certificate
    if stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        raise UnreachableError(f"{path} holds a private key and others can read it: chmod 600")


def chosen(name: str | None) -> Profile:
    """Give the profile called ``name``, or the default one.

    Raises `UnreachableError` where there is none: nobody is signed in.
    """
    profiles = load()
    wanted = name or os.environ.get("HSCTL_PROFILE") or profiles.default
    if not wanted:
        raise UnreachableError("not signed in: hsctl login URL, or hsctl local up")
    if wanted not in profiles.by_name:
        known = ", ".join(profiles.by_name) or "none"
        raise UnreachableError(f"there is no profile {wanted!r} (known: {known})")
    return profiles.by_name[wanted]


def save(profile: Profile, *, make_default: bool = False, path: Path | None = None) -> None:
    """Write ``profile``, beside the others. It becomes the default when there is none yet.

    With ``make_default`` it becomes the default anyway. The file is replaced whole, 0600.
    """
    if not _NAME.match(profile.name):
        raise UsageError(f"not a name for a profile: {profile.name!r} (letters, digits, _ and -)")
    check_url(profile.url)
    path = path or profiles_path()
    profiles = load(path)
    default = profile.name if make_default or not profiles.default else profiles.default
    _write(path, Profiles(default, {**profiles.by_name, profile.name: profile}))


def forget(name: str, *, path: Path | None = None) -> None:
    """Remove a profile, if it is there."""
    path = path or profiles_path()
    profiles = load(path)
    if name in profiles.by_name:
        rest = {other: it for other, it in profiles.by_name.items() if other != name}
        _write(path, Profiles("" if profiles.default == name else profiles.default, rest))


def check_url(url: str) -> None:
    """Refuse what is not ``https://HOST[:PORT]``. Raises `UsageError`."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and parts.hostname and parts.port != 0
        good = good and parts.path in ("", "/") and not (parts.query or parts.username)
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"not the address of a controller: {url} (https://HOST:PORT)")


def _write(path: Path, profiles: Profiles) -> None:
    lines = [f"default = {_quoted(profiles.default)}"]
    for name, profile in sorted(profiles.by_name.items()):
        lines += ["", f"[profiles.{name}]"]
        lines += [
            f"{field} = {_quoted(value)}"
            for field, value in attrs.asdict(profile).items()
            if field != "name" and value
        ]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".hsctl-")  # made 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _quoted(text: str) -> str:
    # JSON's strings are TOML's, but for the pairs that JSON makes of characters beyond 16 bits.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
