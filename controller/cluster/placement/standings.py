"""Who of a group would get the next new site or zone, and why the others would not. Pure.

It asks what the draw asks: `candidates`, and for whom chance decides among them.
"""

from typing import Literal

import attrs

from controller.cluster.placement.candidates import (
    NameServerCandidate,
    candidates,
    name_server_candidates,
)
from controller.cluster.placement.dns_roles import WORDS, ZonePlaces, serves, zone_places
from controller.cluster.placement.placement import PINNED, SECONDARIES, eligible
from controller.cluster.placement.rows import Group
from controller.cluster.placement.verdicts import GroupServer
from controller.cluster.servers.groups import WEB_GROUPS
from controller.refusal import CommandError

Takes = Literal["yes", "spare", "no"]
"""Whether the next one may go to a server; ``spare``: if no other server is there."""


@attrs.frozen
class Standing:
    """A server as the next placement finds it."""

    server: GroupServer
    takes: Takes
    reasons: tuple[str, ...]
    places: tuple[str, ...] = ()
    """What it would be: ``site``, or ``master`` and ``secondary`` of a zone."""


@attrs.frozen
class Standings:
    """The servers of a group, by name; ``refused`` says why nothing can be placed at all."""

    servers: tuple[Standing, ...]
    by_role: bool = False
    refused: str = ""


def standings(group: Group, audience: str) -> Standings:
    """Say of every server of a group whether the next one may go to it, and why not.

    ``audience`` is whose zones name servers are asked for.
    """
    by_role, full, refused = False, False, ""
    places: dict[str, tuple[str, ...]] = {}
    try:
        if group.name == "dns":
            zone = zone_places(name_server_candidates(group), audience, group.policy)
            by_role, full = zone.by_role, len(zone.named) == SECONDARIES
            places = _of_zone(zone)
        else:
            places = _of_others(group)
    except CommandError as error:
        refused = error.message
    if not places and not refused:
        refused = "no server takes new ones"
    sole = group.policy.name == PINNED and (group.name != "dns" or not places)
    found = []
    for verdict in group.verdicts():
        server, becomes = verdict.server, places.get(verdict.server.id, ())
        passed_over = _passed_over(server, group, audience, full=full, sole=sole)
        if not verdict.fit:
            found.append(Standing(server, "no", verdict.against))
        elif becomes:
            found.append(Standing(server, "yes", verdict.doubts, becomes))
        elif passed_over or verdict.well:
            found.append(Standing(server, "no", passed_over or _fuller(server)))
        else:
            found.append(Standing(server, "spare", verdict.doubts))
    return Standings(tuple(found), by_role, refused)


def _of_zone(zone: ZonePlaces[NameServerCandidate]) -> dict[str, tuple[str, ...]]:
    """Give what each server may become of a zone, by their ids."""
    masters = {server.id for server in zone.masters}
    others = {server.id for server in (*zone.named, *zone.filling())}
    return {
        id_: (("master",) if id_ in masters else ()) + (("secondary",) if id_ in others else ())
        for id_ in masters | others
    }


def _of_others(group: Group) -> dict[str, tuple[str, ...]]:
    """Give the servers that may get the next one, by their ids."""
    place = "site" if group.name in WEB_GROUPS else "any"
    found = candidates(group)
    return {server.id: (place,) for server in eligible(found, group.policy)} if found else {}


def _passed_over(
    server: GroupServer, group: Group, audience: str, *, full: bool, sole: bool
) -> tuple[str, ...]:
    """Say why a server that could take the next one is not asked, whether it is well or not.

    ``full``: roles name all servers of a zone. ``sole``: nothing goes elsewhere than to the
    pinned server.
    """
    if server.group == "dns" and not serves(server.used_by, audience):
        return (f"used by {WORDS[server.used_by]} only",)
    if sole:
        return (f"all that is new is pinned to {group.policy.pinned}",)
    return ("the roles name other servers",) if full else ()


def _fuller(server: GroupServer) -> tuple[str, ...]:
    return (f"it holds {server.holds}, another one fewer",)
