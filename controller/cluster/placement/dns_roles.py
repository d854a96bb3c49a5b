"""Roles of name servers for new zones: who is master and who is slave, for whom. Pure.

A role is judged among the name servers that one audience may use (R367 to R370): of two separate
pairs, one for resellers and one for the provider's own customers, both are valid.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Generic, Protocol, TypeVar

import attrs

from controller.cluster.placement.placement import (
    AT_RANDOM,
    SECONDARIES,
    Candidate,
    Policy,
    able_to_fill,
    draw_one,
    eligible,
    fill,
)
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


@attrs.frozen
class ZonePlaces(Generic[ChoiceT]):
    """Who may get a new zone, before chance decides."""

    masters: tuple[ChoiceT, ...]
    """One of them becomes its master."""
    named: tuple[ChoiceT, ...]
    """Secondaries by role."""
    rest: tuple[ChoiceT, ...]
    """Servers that the places left may go to, the one that becomes master among them."""
    by_role: bool

    def filling(self) -> tuple[ChoiceT, ...]:
        """Give those that may fill a place, as `placement.fill` draws."""
        if len(self.named) == SECONDARIES:
            return ()
        sole = self.masters[0] if len(self.masters) == 1 else None
        others = [server for server in self.rest if server is not sole]
        return able_to_fill(1 + len(self.named), others)


def zone_places(
    candidates: Sequence[ChoiceT], audience: str, policy: Policy = AT_RANDOM
) -> ZonePlaces[ChoiceT]:
    """Give who may get a new zone: by their roles where these count, else by the group's policy.

    Roles count whether their servers are well or not: a person named them. Raises `CommandError`
    ``dns.none-open``, ``dns.none-for-audience`` where all name servers are for others (R371), and
    what `controller.cluster.placement.placement.eligible` raises.
    """
    if not candidates:
        raise CommandError(
            "dns.none-open",
            "no name server takes new zones",
            allowed="a dns logical server with a service IP on an open, enrolled box and signup "
            "on: hsctl lserver add, hsctl ip add, hsctl lserver signup on; hsctl placement explain "
            "dns says of each why it is not chosen",
            status=409,
        )
    fitting = tuple(of_audience(candidates, audience))
    if not fitting:
        raise CommandError(
            "dns.none-for-audience",
            f"no name server is used by {WORDS[audience]}",
            allowed="hsctl lserver set NAME used_by=all",
            status=409,
        )
    if flaw(fitting) is not None:
        return ZonePlaces(eligible(fitting, policy), (), fitting, by_role=False)
    by_role = {server.role: server for server in fitting}
    return ZonePlaces(
        masters=(by_role[MASTER],),
        named=tuple(by_role[role] for role in SLAVES if role in by_role),
        rest=tuple(server for server in fitting if server.role == NO_ROLE),
        by_role=True,
    )


def place_zone(
    candidates: Sequence[ChoiceT], audience: str, draw: Random, policy: Policy = AT_RANDOM
) -> tuple[ChoiceT, tuple[ChoiceT, ...], bool]:
    """Give master and secondaries of a new zone, and whether chance had a part in it.

    By their roles where these count, with places that no role fills drawn among the servers without
    one; else all is drawn (R26, R364), so one server may be master of one zone and slave of another
    (R365). Raises what `zone_places` raises.
    """
    places = zone_places(candidates, audience, policy)
    if places.by_role:
        (master,) = places.masters
        filled = fill((master, *places.named), places.rest, policy, draw)
        return master, places.named + filled, 0 < len(filled) < len(places.filling())
    master = draw_one(places.masters, policy, draw)
    rest = [server for server in places.rest if server is not master]
    return master, fill((master,), rest, policy, draw), True
