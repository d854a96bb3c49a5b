"""Which servers of a group may be given new sites and zones, and why others may not (R38). Pure.

The draw takes those that pass, and ``hsctl placement explain`` tells the same verdicts.
"""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from controller.cluster.servers.groups import WEB_GROUPS
from templates.registry import SERVICE_TYPES

UNWELL: Mapping[str, str] = MappingProxyType(
    {
        "held": "held",
        "ahead": "ahead of the database",
        "blocked": "blocked",
        "daemon-down": "daemon down",
        "disk-full": "disk full",
    }
)
"""Conditions of a lane in which what is new would wait, with the words for them.

A lane that is behind is at work; a clock that is off, or a certificate that ends soon, keeps
nothing from being served: those are no reasons.
"""


@attrs.frozen
class LaneOfServer:
    """A box that a server stands on, and how its lane there is."""

    box: str
    intent: str
    seen: bool
    """Whether its agent has ever come."""
    connected: bool
    retired: bool
    condition: str


@attrs.frozen
class GroupServer:
    """A logical server with all that its placement depends on."""

    lanes: tuple[LaneOfServer, ...]
    id: str
    name: str
    group: str
    type: str
    signup: bool
    holds: int
    used_by: str
    role: str
    address_id: int | None
    """Of the address that new ones get: the shared one, or of other groups the service address."""
    address: str
    port: int
    beside: str | None = None
    """Its second address while it is renumbered, with its port."""
    beside_port: int | None = None


@attrs.frozen
class Verdict:
    """What speaks against a server, and what only makes another one better."""

    server: GroupServer
    against: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def fit(self) -> bool:
        """Whether it is a candidate."""
        return not self.against

    @property
    def well(self) -> bool:
        """Whether its boxes are there and do what they are told."""
        return not self.doubts


def judge(server: GroupServer) -> Verdict:
    """Judge a server; for whose zones a name server is, `zone_places` judges."""
    against = []
    if server.type not in SERVICE_TYPES:
        against.append("modelled: no box runs it yet")
    if not server.signup:
        against.append("signup is off")
    if server.address_id is None:
        against.append(f"no {'shared' if server.group in WEB_GROUPS else 'service'} address")
    if not server.lanes:
        against.append("it is on no box")
    doubts = []
    for lane in server.lanes:
        if lane.retired:
            against.append(f"{lane.box} is gone for good")
        elif lane.intent != "open":
            against.append(f"{lane.box} is set to {lane.intent}")
        if not lane.seen:
            against.append(f"{lane.box} has never connected")
        elif not lane.connected:
            doubts.append(f"{lane.box} is lost")
        if lane.condition in UNWELL:
            doubts.append(f"{UNWELL[lane.condition]} on {lane.box}")
    return Verdict(server, tuple(against), tuple(doubts))
