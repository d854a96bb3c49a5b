"""Roles of name servers for new zones: who is master and who is slave, for whom. Pure.

A role is judged among the name servers that one audience may use (R367 to R370): of two separate
pairs, one for resellers and one for the provider's own customers, both are valid.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Protocol, TypeVar

import attrs

from controller.cluster.placement import SECONDARIES, Candidate, draw_name_servers
from controller.refusal import CommandError

PROVIDER = "master-admin"
"""The provider's own customers (R370)."""
RESELLERS = "resellers"
"""The customers of resellers (R369)."""
AUDIENCES = (PROVIDER, RESELLERS)
WORDS = {PROVIDER: "the provider's own customers", RESELLERS: "customers of resellers"}

MASTER = "master"
SLAVES = ("slave1", "slave2")
ROLES = (MASTER, *SLAVES)
NO_ROLE = "none"


class RoleHolder(Protocol):
    """A name server with its settings ``role`` and ``used_by``."""

    @property
    def name(self) -> str:
        """Its own domain name."""

    @property
    def role(self) -> str:
        """One of `ROLES`, or `NO_ROLE`."""

    @property
    def used_by(self) -> str:
        """``all``, or one of `AUDIENCES`."""


HolderT = TypeVar("HolderT", bound=RoleHolder)


@attrs.frozen
class NameServerChoice(Candidate):
    """A name server that takes new zones, with its settings."""

    role: str = NO_ROLE
    used_by: str = "all"


ChoiceT = TypeVar("ChoiceT", bound=NameServerChoice)


def serves(used_by: str, audience: str) -> bool:
    """Tell whether a server with this setting takes zones of an audience."""
    return used_by in ("all", audience)


def of_audience(servers: Iterable[HolderT], audience: str) -> list[HolderT]:
    """Give the servers that an audience may use."""
    return [server for server in servers if serves(server.used_by, audience)]


def flaw(servers: Sequence[RoleHolder]) -> str | None:
    """Say why the roles of these servers do not count, None where they do (R364, A6).

    They count where exactly one server is master and no role is held twice.
    """
    if all(server.role == NO_ROLE for server in servers):
        return "no roles are assigned"
    for role in ROLES:
        holders = [server.name for server in servers if server.role == role]
        if len(holders) > 1:
            return f"{' and '.join(holders)} both have the role {role}"
    if all(server.role != MASTER for server in servers):
        return "no server is master"
    return None


def place_zone(
    candidates: Sequence[ChoiceT], audience: str, draw: Random
) -> tuple[ChoiceT, tuple[ChoiceT, ...], bool]:
    """Give master and secondaries of a new zone, and whether chance had a part in it.

    By their roles where these count, with places that no role fills drawn among the servers without
    one; else all is drawn (R26, R364), so one server may be master of one zone and slave of another
    (R365). Raises `CommandError` ``dns.none-open``, and ``dns.none-for-audience`` where all name
    servers are for others (R371).
    """
    fitting = of_audience(candidates, audience)
    if candidates and not fitting:
        raise CommandError(
            "dns.none-for-audience",
            f"no name server is used by {WORDS[audience]}",
            allowed="hsctl lserver set NAME used_by=all",
            status=409,
        )
    if flaw(fitting) is not None:
        master, secondaries = draw_name_servers(fitting, draw)
        return master, secondaries, True
    by_role = {server.role: server for server in fitting}
    named = tuple(by_role[role] for role in SLAVES if role in by_role)
    rest = [server for server in fitting if server.role == NO_ROLE]
    missing = min(SECONDARIES - len(named), len(rest))
    filled = tuple(draw.sample(rest, len(rest)))[:missing]
    return by_role[MASTER], named + filled, bool(filled) and missing < len(rest)
