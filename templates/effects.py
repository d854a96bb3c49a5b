"""Effects: the closed set of steps that planning may ask of a box. Plain data, nothing runs here.

Paths are relative to the lane's own directory and use ``/``. A path that is absolute or contains
``..`` cannot be built.
"""

from hashlib import sha256
from typing import Literal

import msgspec

_LONGEST_IN_CANDIDATE = 255 - len("..candidate")
Owner = Literal["agent", "daemon"]
"""Who owns a file: the agent's user, or the user that the daemon runs as."""


class Effect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Base of every effect."""


def _relative(path: str) -> None:
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"not a path below the lane's directory: {path!r}")
    if "\0" in path:
        raise ValueError("a path cannot contain NUL")


class WriteFile(Effect, frozen=True):
    """Put ``content`` at ``path`` by writing a candidate, syncing it and renaming it into place.

    ``only_if_absent`` is for what belongs to others once it is there (a customer's first page): an
    existing file, link or directory at ``path`` is kept as it is, without a look at what it holds.
    Such a file has no before-image, is not taken away when the change is undone, and is no drift.
    """

    path: str
    content: bytes
    mode: int = 0o644
    owner: Owner = "agent"
    only_if_absent: bool = False

    def __post_init__(self) -> None:
        _relative(self.path)


class Symlink(Effect, frozen=True):
    """Make ``path`` a symbolic link to ``target`` (relative to the link), replaced atomically."""

    path: str
    target: str

    def __post_init__(self) -> None:
        _relative(self.path)


class MakeDirectory(Effect, frozen=True):
    """Make the directory ``path`` and its parents where they are missing."""

    path: str
    mode: int = 0o755
    owner: Owner = "agent"

    def __post_init__(self) -> None:
        _relative(self.path)


class RemovePath(Effect, frozen=True):
    """Remove the file or link ``path``; one that is not there is no error. Never recursive.

    With ``target`` it removes only a symbolic link that points exactly there: a name that another
    object has taken over meanwhile stays with its new owner, in whatever order the two are applied.
    """

    path: str
    target: str | None = None

    def __post_init__(self) -> None:
        _relative(self.path)


FileEffect = WriteFile | Symlink | MakeDirectory | RemovePath


def candidate_path(path: str) -> str:
    """Name the file that holds the candidate of ``path`` between staging and the rename.

    The digest stands for a name that leaves no room for more (255 bytes).
    """
    head, slash, name = path.rpartition("/")
    # What is no text at all is refused where the file is looked for.
    encoded = name.encode(errors="surrogatepass")
    if len(encoded) > _LONGEST_IN_CANDIDATE:
        name = sha256(encoded).hexdigest()
    return f"{head}{slash}.{name}.candidate"


class CheckProgram(Effect, frozen=True):
    """Run a checker from the box's closed program table; exit status 0 means good."""

    program: str
    arguments: tuple[str, ...]


class CheckAddress(Effect, frozen=True):
    """See that no other machine answers for ``address``: duplicate address detection."""

    address: str


class CheckBound(Effect, frozen=True):
    """See that ``address`` is on the box, so that a daemon can listen there (R341).

    Apache ends when it cannot listen on an address, and BIND leaves it out without a word.
    """

    address: str


Check = CheckProgram | CheckAddress | CheckBound


class AddressUp(Effect, frozen=True):
    """Have the box answer on ``address``, in a network of ``prefix`` bits, for this lane.

    One that the box has already stays as it is. Inverse: `AddressDown`.
    """

    address: str
    prefix: int


class AddressDown(Effect, frozen=True):
    """Have the box answer on ``address`` no more, once no lane holds it.

    Only what the agent brought up is taken down.
    """

    address: str


HostEffect = AddressUp | AddressDown


class AddZone(Effect, frozen=True):
    """Make named serve ``zone`` with ``config`` (the text inside its braces).

    An existing zone is compared and modified where it differs. Inverse: the zone's former
    configuration, or its removal.
    """

    zone: str
    config: str


class RemoveZone(Effect, frozen=True):
    """Make named stop serving ``zone``; one that is not there is no error."""

    zone: str


class ReloadZone(Effect, frozen=True):
    """Make named read the file of one zone again.

    Where named has lost the zone (someone removed it by hand), it is added with ``config``.
    """

    zone: str
    config: str


ZoneEffect = AddZone | RemoveZone | ReloadZone
ControlEffect = ZoneEffect | HostEffect


class ProbeZone(Effect, frozen=True):
    """Ask the lane's name server for the zone's SOA: it must answer authoritatively.

    ``serial`` None accepts any serial (a secondary that has not transferred yet is observed apart,
    see the wire's ``Observe``); ``gone`` expects that the zone is not served. ``address`` and
    ``port`` are asked instead of the lane's first endpoint where they are given.
    """

    zone: str
    serial: int | None = None
    gone: bool = False
    address: str = ""
    port: int = 0


class ProbeHttp(Effect, frozen=True):
    """Ask the lane's web server for ``path`` of ``host``; the status must be one of ``statuses``.

    ``port`` is for a service that listens beside its endpoints' port (TLS); 0 means the endpoint's.
    ``certificate`` is the SHA-256 of the certificate (DER, hexadecimal) that must be shown there;
    empty accepts any. A reload ends in its own time, so the interpreter asks until a deadline.
    ``address`` is asked instead of the lane's first endpoint where it is given, at that one's port
    unless ``port`` names another. ``taken_up``: an answer that does not fit says that the server
    has not taken up its configuration, for which no object is to blame.
    """

    host: str
    path: str = "/"
    statuses: tuple[int, ...] = (200,)
    tls: bool = False
    port: int = 0
    certificate: str = ""
    address: str = ""
    taken_up: bool = False


Probe = ProbeZone | ProbeHttp


class UnitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one render unit comes to, in the order the engine runs it.

    ``scratch`` files exist only during ``checks``; they may include candidates by
    `candidate_path`. ``files`` are staged as candidates first and renamed after the checks.
    ``reload`` asks for the lane's one coalesced reload, ``restart`` for a restart of the daemon.
    ``retire`` removes what nothing refers to any more, after the probes.
    """

    unit: str
    files: tuple[FileEffect, ...] = ()
    scratch: tuple[WriteFile, ...] = ()
    checks: tuple[Check, ...] = ()
    control: tuple[ControlEffect, ...] = ()
    reload: bool = False
    restart: bool = False
    probes: tuple[Probe, ...] = ()
    retire: tuple[RemovePath, ...] = ()
