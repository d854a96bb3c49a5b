"""The commands ``placement.show`` and ``placement.set``: how a group's new ones are placed."""

from collections.abc import Mapping
from typing import Any

import attrs

from controller import names
from controller.cluster.placement.dns_roles import PROVIDER
from controller.cluster.placement.placement import (
    MAX_WEIGHT,
    PINNED,
    POLICIES,
    WEIGHTED,
    Policy,
)
from controller.cluster.placement.rows import read_group, read_policies
from controller.cluster.placement.standings import standings
from controller.cluster.servers.groups import GROUPS, TITLES, known_group
from controller.commands import Command, Work
from controller.refusal import CommandError
from controller.storage.database import Transaction

_NAMED = 20
"""Servers that a refusal names."""


@attrs.frozen
class ShowPlacement:
    """Nothing is asked for."""


@attrs.frozen
class SetPlacement:
    """The policy of a group, whole.

    ``weights`` by server are for ``weighted``, servers that are not named weigh 1; ``pinned`` is
    the server of that policy.
    """

    group: str
    policy: str
    weights: dict[str, int] = attrs.field(factory=dict)
    pinned: str = ""


def policy_shown(policy: Policy) -> dict[str, Any]:
    """Give a policy as plain data."""
    return {
        "policy": policy.name,
        "meaning": POLICIES[policy.name],
        "weights": dict(policy.weights),
        "pinned": policy.pinned,
    }


async def show(work: Work, request: ShowPlacement) -> dict[str, Any]:
    """Show the policy of every server group, and all policies with their meaning."""
    chosen = await read_policies(work.tx)
    return {
        "groups": [
            {
                "group": group,
                "title": TITLES[group],
                **policy_shown(chosen.get(group, Policy())),
            }
            for group in GROUPS
        ],
        "policies": dict(POLICIES),
    }


async def set_policy(work: Work, request: SetPlacement) -> dict[str, Any]:
    """Choose the policy of a group, for what is new; what is placed stays where it is.

    Warns where the server that all is pinned to takes nothing now.
    """
    group = known_group(request.group)
    wanted = _policy(request)
    servers = await _ids(work.tx, group, wanted)
    # Whoever else changes this policy waits here, and then sees what it became.
    await work.tx.run(
        "INSERT INTO placement (group_name) VALUES (%s) ON CONFLICT DO NOTHING", (group,)
    )
    await work.tx.rows("SELECT 1 FROM placement WHERE group_name = %s FOR UPDATE", (group,))
    before = (await read_policies(work.tx)).get(group, Policy())
    if _kept(before) != _kept(wanted):
        await work.tx.run(
            """UPDATE placement SET policy = %s WHERE group_name = %s;
               DELETE FROM placement_server WHERE group_name = %s;
               INSERT INTO placement_server (logical_server_id, group_name, weight)
               SELECT g.id, %s, g.weight FROM unnest(%s::uuid[], %s::int[]) AS g(id, weight)""",
            (wanted.name, group, group, group, list(servers), list(servers.values())),
        )
        work.change.row("placement", group, _kept(before), _kept(wanted))
    return {
        "group": group,
        **policy_shown(wanted),
        "warnings": await _warnings(work.tx, group, wanted),
    }


def _kept(policy: Policy) -> dict[str, Any]:
    return {"policy": policy.name, "weights": dict(policy.weights), "pinned": policy.pinned}


def _policy(request: SetPlacement) -> Policy:
    """Read a policy with what it needs, and nothing that it does not; raises `CommandError`."""
    if request.policy not in POLICIES:
        raise CommandError(
            "placement.policy.invalid",
            "not a policy of placement",
            field="policy",
            value=request.policy,
            allowed=", ".join(POLICIES),
        )
    weights = {names.server_name(name): weight for name, weight in request.weights.items()}
    pinned = names.server_name(request.pinned)
    for field, given, policy, noun, how in (
        ("weights", weights, WEIGHTED, "weights", "SERVER=WEIGHT ..."),
        ("pinned", pinned, PINNED, "a server", "SERVER"),
    ):
        if given and request.policy != policy:
            raise CommandError(
                f"placement.{field}.unwanted",
                f"the policy {request.policy} does not take {noun}",
                field=field,
                allowed=f"with the policy {policy} alone",
            )
        if request.policy == policy and not given:
            raise CommandError(
                f"placement.{field}.missing",
                f"the policy {policy} needs {noun}",
                field=field,
                allowed=f"hsctl placement set GROUP {policy} {how}",
            )
    for name, weight in weights.items():
        if not 1 <= weight <= MAX_WEIGHT:
            raise CommandError(
                "placement.weight.invalid",
                "not a weight",
                field=f"weights.{name}",
                value=str(weight),
                allowed=f"1 to {MAX_WEIGHT}; a server that shall get nothing: hsctl lserver signup "
                "off",
            )
    return Policy(request.policy, weights, pinned)


async def _ids(tx: Transaction, group: str, policy: Policy) -> Mapping[str, int]:
    """Give ids and weights of the servers that a policy names; raises `CommandError`.

    The row lock makes whoever deletes one of them wait, and then find that it is named.
    """
    named = dict(policy.weights) or ({policy.pinned: 1} if policy.pinned else {})
    if not named:
        return {}
    found = await tx.rows(
        """SELECT name, id::text FROM logical_server WHERE group_name = %s AND name = ANY(%s)
           ORDER BY id FOR KEY SHARE""",
        (group, list(named)),
    )
    ids = dict(found)
    for name in named:
        if name not in ids:
            known = await tx.rows(
                "SELECT name FROM logical_server WHERE group_name = %s ORDER BY name LIMIT %s",
                (group, _NAMED),
            )
            raise CommandError(
                "placement.server.unknown",
                f"no server of the group {group} has this name",
                field="pinned" if policy.pinned else f"weights.{name}",
                value=name,
                allowed=", ".join(row[0] for row in known) or f"the group {group} has no servers",
                status=404,
            )
    return {ids[name]: weight for name, weight in named.items()}


async def _warnings(tx: Transaction, group: str, policy: Policy) -> list[str]:
    """Say where the policy lets new ones be refused."""
    if policy.name != PINNED:
        return []
    # Every account is the provider's own customer, until there are resellers.
    found = standings(await read_group(tx, group), PROVIDER)
    return [
        f"{policy.pinned} takes nothing now: {', '.join(standing.reasons)}"
        for standing in found.servers
        if standing.server.name == policy.pinned and standing.takes == "no"
    ]


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "placement.show",
        "GET",
        "/placement",
        ShowPlacement,
        "provider.read",
        "Show how new sites and zones are placed in each server group",
        show,
    ),
    Command(
        "placement.set",
        "PUT",
        "/groups/{group}/placement",
        SetPlacement,
        "provider.write",
        "Choose how new sites and zones are placed in a server group",
        set_policy,
        "`random`, `least-used`, `weighted` (with `weights`) or `pinned` (with `pinned`), for what "
        "is new: what is placed stays where it is. Name servers whose roles count are placed by "
        "role, and the policy fills what no role does.",
    ),
)
