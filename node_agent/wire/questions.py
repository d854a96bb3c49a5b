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


class Declined(Found, frozen=True):
    """Answer to anything: no, and why, in words for a person.

    ``not-granted``: the box's owner has not named it. ``unknown``: this box has no such thing.
    ``failed``: it was tried and refused. ``unavailable``: nobody answered. ``busy``: ask later.
    """

    reason: Literal["not-granted", "unknown", "failed", "unavailable", "busy"]
    words: str


AnyAsk = AskPackages | AskServices | AskAction | AskLog
AnyFound = Packages | Services | ActionDone | LogLines | Declined
