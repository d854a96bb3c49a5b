"""Where the roles want a zone that exists, and by which phases it comes there. Pure.

A zone is moved make-before-break: its new master serves it before any server asks that master, all
servers of before and after answer until the NS records name the new ones alone and nobody keeps the
old records any more, and only then the rest leaves.
"""

from collections.abc import Collection, Sequence
from random import Random
from typing import Literal

import attrs

from controller.cluster.placement.dns_roles import (
    MASTER,
    NO_ROLE,
    SLAVES,
    ChoiceT,
    flaw,
    of_audience,
)
from controller.cluster.placement.placement import SECONDARIES
from controller.refusal import CommandError

Phase = Literal["promoted", "following", "published", "leaving"]
"""What was last written of a zone that moves.

``promoted``: the new master has it too. ``following``: all others transfer it from that master.
``published``: the NS records name the new servers. ``leaving``: the rest serves it no more.
"""


@attrs.frozen
class Roles:
    """The servers that all zones come to, by the ids of the logical servers."""

    master: str
    named: tuple[str, ...]
    """Secondaries by role."""
    rest: tuple[str, ...]
    """Servers without a role, which fill the places that are left."""

    @property
    def size(self) -> int:
        """How many servers a zone has by these roles."""
        return 1 + len(self.named) + self.filled

    @property
    def filled(self) -> int:
        """How many places of a zone servers without a role fill."""
        return min(SECONDARIES - len(self.named), len(self.rest))


def roles_of(candidates: Sequence[ChoiceT], audience: str) -> Roles:
    """Give where the roles want zones of an audience.

    Raises `CommandError` ``dns.apply.no-roles`` where the roles of the servers that take new zones
    do not count: then chance places new zones, and those that exist have no better place.
    """
    fitting = of_audience(candidates, audience)
    wrong = flaw(fitting) if fitting else "no name server takes new zones"
    if wrong is not None:
        raise CommandError(
            "dns.apply.no-roles",
            f"the roles do not say where zones belong: {wrong}",
            allowed="hsctl dns roles --master S --slave1 S, with servers that are open for signup",
            status=409,
        )
    by_role = {server.role: server.id for server in fitting if server.role != NO_ROLE}
    return Roles(
        master=by_role[MASTER],
        named=tuple(by_role[role] for role in SLAVES if role in by_role),
        rest=tuple(server.id for server in fitting if server.role == NO_ROLE),
    )


def wanted_servers(former: Collection[str], roles: Roles, draw: Random) -> tuple[str, ...]:
    """Give the servers of a zone by these roles, its master first.

    Places that no role fills go to servers that have the zone already, else they are drawn.
    """
    staying = [server for server in roles.rest if server in former]
    others = [server for server in roles.rest if server not in former]
    filling = (*staying, *draw.sample(others, len(others)))[: roles.filled]
    return (roles.master, *roles.named, *filling)


def next_phase(phase: Phase, former: Collection[str], wanted: Collection[str]) -> Phase | None:
    """Give what follows once ``phase`` is live, None where the zone has come to its place."""
    if phase == "promoted":
        return "following"
    if phase == "following" and set(former) != set(wanted):
        return "published"
    if phase == "published" and set(former) - set(wanted):
        return "leaving"
    return None
