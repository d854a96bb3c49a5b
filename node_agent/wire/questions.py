"""What a controller may ask a box, and what the box answers: closed sets of tagged records.

A question is answered once, within its deadline, on the session that it came on. All of an answer
is a box's own word, bounded in number and length where it is made and again where it is read.
"""

from typing import Literal

import msgspec

MOST_PACKAGES = 500
"""Packages of one answer, at most."""
MOST_SERVICES = 200
MOST_LINES = 1000
"""Lines of one log, at most."""
MOST_LOG_BYTES = 256 * 1024
MOST_DIFFERENCES = 1000
"""Lines of one diff, at most."""
MOST_REPAIRED = 500
"""Files of one answer about a repair, at most."""
MOST_PREVIEWED, MOST_PREVIEWED_BYTES = 50, 256 * 1024
"""Objects of one preview, and bytes of their specifications, at most."""
MOST_PREVIEW_FILES, MOST_PREVIEW_LINES, MOST_PREVIEW_BYTES = 200, 5000, 1024 * 1024
"""Files that one preview shows, and lines and bytes of all its diffs, at most."""
MOST_EFFECTS = 1000
"""Effects that one preview names, at most."""
LONGEST_TEXT = 300
"""Characters of a name, a version or a state, at most."""

ServiceAction = Literal["start", "stop", "restart", "enable", "disable"]
ServiceState = Literal["running", "stopped", "failed", "unknown"]


class Ask(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag=True,
    tag_field="type",
    kw_only=True,
):
    """Base of every question's content."""


class AskPackages(Ask, frozen=True):
    """Installed packages whose name contains ``search``, by name, those after ``after``.

    ``after`` is the last name and version that is known, with a tab between.
    """

    search: str = ""
    after: str = ""
    limit: int = 100


class AskServices(Ask, frozen=True):
    """The services that may be managed here, with their state."""


class AskAction(Ask, frozen=True):
    """Do this to a service."""

    service: str
    action: ServiceAction


class AskLog(Ask, frozen=True):
    """The last lines that a service logged."""

    service: str
    lines: int = 100


class AskVerify(Ask, frozen=True):
    """Look at all files of a lane now."""

    lane: str


class AskDifference(Ask, frozen=True):
    """How one file of a lane that the agent wrote differs from what it would write."""

    lane: str
    path: str


class AskRepair(Ask, frozen=True):
    """Bring back files of a lane that somebody changed: one of them, or all (an empty ``path``).

    ``preview``: only tell what would be done.
    """

    lane: str
    path: str = ""
    preview: bool = False


class PreviewedObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A desired object as it would be sent; ``spec`` None asks for its removal."""

    kind: str
    key: str
    kind_version: int
    spec: bytes | None
    requires: tuple[tuple[str, str], ...] = ()


class AskPreview(Ask, frozen=True):
    """What a lane would do if these objects came now, in this order. Protocol 2.

    Nothing is stored, written or run for it.
    """

    lane: str
    objects: tuple[PreviewedObject, ...]


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One installed package."""

    name: str
    version: str


class ServiceFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One service: a logical server's daemon (``lane``), or one that the box's owner named."""

    name: str
    kind: Literal["lane", "system"]
    state: ServiceState
    boots: Literal["enabled", "disabled", "unknown"]
    """Whether it is started when the box boots."""
    detail: str = ""
    actions: tuple[ServiceAction, ...] = ()
    """What may be asked of it now."""


class Found(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag=True,
    tag_field="type",
    kw_only=True,
):
    """Base of every answer's content."""


class Packages(Found, frozen=True):
    """Answer to `AskPackages`; ``more``: there are others after the last of these."""

    packages: tuple[Package, ...]
    more: bool


class Services(Found, frozen=True):
    """Answer to `AskServices`."""

    services: tuple[ServiceFacts, ...]


class ActionDone(Found, frozen=True):
    """Answer to `AskAction`: it is done, and this is the state since."""

    service: ServiceFacts


class LogLines(Found, frozen=True):
    """Answer to `AskLog`; ``cut``: there was more than could be told."""

    lines: tuple[str, ...]
    cut: bool


class Verified(Found, frozen=True):
    """Answer to `AskVerify`; not ``ended``: it goes on, and what is found is told as it is."""

    files: int
    drifted: int
    ended: bool


class Difference(Found, frozen=True):
    """Answer to `AskDifference`: a unified diff, secrets taken out.

    ``words`` says what no line can; ``cut``: there was more than could be told.
    """

    path: str
    words: str
    lines: tuple[str, ...]
    cut: bool


class RepairedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One file of a repair: ``would`` is the word of a preview."""

    path: str
    outcome: Literal["repaired", "refused", "would"]
    words: str = ""


class Repaired(Found, frozen=True):
    """Answer to `AskRepair`: the first ``files`` of ``total``; ``reload``: of the daemon."""

    files: tuple[RepairedFile, ...]
    total: int
    reload: bool


class PreviewedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file, link or directory that would not look as it does now.

    ``mode`` and ``owner`` (user and group, ``UID:GID``) are those of a file or directory as it
    would be, ``target`` is that of a link. ``lines`` are a unified diff with the secrets taken out,
    its first two lines naming the file as ``patch -p1`` reads it. ``words`` say what no line can;
    ``cut``: there is more than is shown.
    """

    path: str
    action: Literal["create", "change", "remove"]
    kind: Literal["file", "link", "directory"] = "file"
    mode: int = 0
    owner: str = ""
    target: str = ""
    words: str = ""
    lines: tuple[str, ...] = ()
    cut: bool = False


class PreviewedRefusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """An object that would not be applied, and why."""

    kind: str
    key: str
    outcome: Literal["quarantined", "waiting", "failed", "held"]
    words: str = ""


class Preview(Found, frozen=True):
    """Answer to `AskPreview`: what would be done, in the order it would be done.

    ``pending`` counts objects that the box holds already and has not applied: what they would
    change is not shown. ``cut``: there are more files or effects than are told.
    """

    files: tuple[PreviewedFile, ...]
    effects: tuple[str, ...]
    refused: tuple[PreviewedRefusal, ...]
    pending: int
    cut: bool


class Declined(Found, frozen=True):
    """Answer to anything: no, and why, in words for a person.

    ``not-granted``: the box's owner has not named it. ``unknown``: this box has no such thing.
    ``failed``: it was tried and refused. ``unavailable``: nobody answered. ``busy``: ask later.
    """

    reason: Literal["not-granted", "unknown", "failed", "unavailable", "busy"]
    words: str


AnyAsk = (
    AskPackages
    | AskServices
    | AskAction
    | AskLog
    | AskVerify
    | AskDifference
    | AskRepair
    | AskPreview
)
AnyFound = (
    Packages
    | Services
    | ActionDone
    | LogLines
    | Verified
    | Difference
    | Repaired
    | Preview
    | Declined
)
