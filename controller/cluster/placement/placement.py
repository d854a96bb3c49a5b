"""Which server of a group a new site or zone goes to: the policies of placement (R38). Pure.

`controller.cluster.placement.verdicts` says who is a candidate at all.
"""

from collections.abc import Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import TypeVar

import attrs

from controller.refusal import CommandError

SECONDARIES = 2
"""The most secondaries of a zone (A6)."""
FEWEST = 2
"""A zone has so many name servers, though one of them is not well, where there are so many at all
(RFC 1034, 4.1)."""
MAX_WEIGHT = 1000

RANDOM = "random"
LEAST_USED = "least-used"
WEIGHTED = "weighted"
PINNED = "pinned"
POLICIES: Mapping[str, str] = MappingProxyType(
    {
        RANDOM: "At random; each server is as likely as any other.",
        LEAST_USED: "The server that holds the fewest sites or zones now; at random among equals.",
        WEIGHTED: "At random; a server of weight 3 three times as often as one of weight 1.",
        PINNED: "One server gets all that is new; of name servers it is the master of each zone.",
    }
)
"""Every policy with its meaning."""


@attrs.frozen
class Policy:
    """How new sites and zones are placed in a group; servers are named, those left out weigh 1."""

    name: str = RANDOM
    weights: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    pinned: str = ""

    def weight(self, server: str) -> int:
        """Give the weight of a server."""
        return self.weights.get(server, 1)


AT_RANDOM = Policy()


@attrs.frozen
class Candidate:
    """A logical server that a new zone or site may be placed on."""

    id: str
    name: str
    box: str
    holds: int = attrs.field(default=0, kw_only=True)
    """Zones or sites that are on it now."""
    well: bool = attrs.field(default=True, kw_only=True)
    """Whether its boxes are; one that is not is taken only where there is no other."""


CandidateT = TypeVar("CandidateT", bound=Candidate)


def eligible(candidates: Sequence[CandidateT], policy: Policy) -> tuple[CandidateT, ...]:
    """Give those of some candidates that the next one may go to: chance decides among them.

    A pinned server is taken though it is not well: it was named by a person, and what is placed on
    it is kept until its box is back. Raises `CommandError` ``placement.pinned-closed`` where it is
    no candidate at all: nothing goes elsewhere behind the back of who pinned it.
    """
    if policy.name == PINNED:
        pinned = tuple(server for server in candidates if server.name == policy.pinned)
        if not pinned:
            raise CommandError(
                "placement.pinned-closed",
                f"all that is new is pinned to {policy.pinned}, which takes nothing now",
                value=policy.pinned,
                allowed="hsctl placement explain says why; hsctl placement set chooses another "
                "server or policy",
                status=409,
            )
        return pinned
    well = tuple(server for server in candidates if server.well) or tuple(candidates)
    if policy.name == LEAST_USED and well:
        fewest = min(server.holds for server in well)
        return tuple(server for server in well if server.holds == fewest)
    return well


def draw_one(candidates: Sequence[CandidateT], policy: Policy, draw: Random) -> CandidateT:
    """Draw one of those that are eligible; there is at least one candidate."""
    pool = eligible(candidates, policy)
    if policy.name == WEIGHTED:
        return draw.choices(pool, [policy.weight(server.name) for server in pool])[0]
    return draw.choice(pool)


def draw_web_server(
    candidates: Sequence[CandidateT], draw: Random, policy: Policy = AT_RANDOM
) -> CandidateT:
    """Draw the web server of a new site.

    Raises `CommandError` ``web.none-open``, and what `eligible` raises.
    """
    if not candidates:
        raise CommandError(
            "web.none-open",
            "no web server takes new sites",
            allowed="a web logical server with a shared IP on an open, enrolled box and signup on "
            "(hsctl lserver signup on), or name one with --on; hsctl placement explain web says "
            "of each why it is not chosen",
            status=409,
        )
    return draw_one(candidates, policy, draw)


def able_to_fill(taken: int, rest: Sequence[CandidateT]) -> tuple[CandidateT, ...]:
    """Give who may fill the places that are left in a zone of ``taken`` name servers."""
    well = tuple(server for server in rest if server.well)
    return tuple(rest) if not well and taken < FEWEST else well


def fill(
    taken: Sequence[CandidateT], rest: Sequence[CandidateT], policy: Policy, draw: Random
) -> tuple[CandidateT, ...]:
    """Draw the secondaries that a zone lacks, those on other boxes than its master's first.

    ``taken`` are the servers that it has, its master first. A server that is not well fills a place
    only where the zone would have fewer than `FEWEST` servers without it.
    """
    left = list(able_to_fill(len(taken), rest))
    most = 1 + SECONDARIES if any(server.well for server in left) else FEWEST
    # A pinned server is the master: who stands beside it is left to chance.
    beside = AT_RANDOM if policy.name == PINNED else policy
    drawn: list[CandidateT] = []
    while left and len(taken) + len(drawn) < most:
        elsewhere = [server for server in left if server.box != taken[0].box]
        drawn.append(draw_one(elsewhere or left, beside, draw))
        left.remove(drawn[-1])
    return tuple(drawn)
