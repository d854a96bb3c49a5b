"""``hsctl placement``: how new sites and zones are placed in a group, and why so."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from controller.client.errors import UsageError
from controller.hsctl import placement_views
from controller.hsctl.verbs import reads, writes

_WEIGHT = re.compile(r"[0-9]{1,9}")


@click.group()
def placement() -> None:
    """Where new sites and zones go: a policy for each server group.

    \b
    random      each server that takes new ones is as likely as any other (the default)
    least-used  the one that holds the fewest sites or zones now
    weighted    at random, a server of weight 3 three times as often as one of weight 1
    pinned      one server gets all that is new

    \b
    hsctl placement explain web
    hsctl placement set web least-used
    hsctl placement simulate 100
    """


@placement.command()
@reads("placement.show", view=placement_views.policies)
def show() -> Mapping[str, Any]:
    """Show the policy of every server group.

    \b
    hsctl placement show
    """
    return {}


@placement.command("set")
@click.argument("group")
@click.argument("policy", type=click.Choice(["random", "least-used", "weighted", "pinned"]))
@click.argument("servers", nargs=-1, metavar="[SERVER[=WEIGHT]]...")
@writes("placement.set", "what is new in {group} is placed {policy}", view=placement_views.chosen)
def set_policy(group: str, policy: str, servers: tuple[str, ...]) -> Mapping[str, Any]:
    """Choose how new sites and zones are placed in a group; what is placed stays where it is.

    weighted takes servers with their weights, those that are not named weigh 1; pinned takes the
    server. Name servers whose roles count (hsctl dns show) are placed by role.

    \b
    hsctl placement set web least-used
    hsctl placement set web weighted web1.example.net=3 web2.example.net=1
    hsctl placement set web pinned web2.example.net
    """
    fields: dict[str, Any] = {"group": group, "policy": policy}
    if policy == "weighted":
        return {**fields, "weights": _weights(servers)}
    if policy == "pinned":
        if len(servers) != 1 or "=" in servers[0]:
            raise UsageError("name the one server that gets all that is new")
        return {**fields, "pinned": servers[0]}
    if servers:
        raise UsageError(f"the policy {policy} takes no servers")
    return fields


def _weights(texts: Sequence[str]) -> dict[str, int]:
    """Read ``SERVER=WEIGHT``."""
    found: dict[str, int] = {}
    for text in texts:
        name, _, weight = text.partition("=")
        if not name or not _WEIGHT.fullmatch(weight) or name in found:
            raise UsageError(f"not the weight of a server: {text} (SERVER=WEIGHT, each once)")
        found[name] = int(weight)
    if not found:
        raise UsageError("name at least one server with its weight (SERVER=WEIGHT)")
    return found


@placement.command()
@click.argument("group")
@click.option("--account", metavar="A", help="For which account.")
@click.option("--filter", "text", metavar="TEXT", help="Only servers whose name contains this.")
@reads("placement.explain", view=placement_views.explained)
def explain(group: str, account: str | None, text: str | None) -> Mapping[str, Any]:
    """Say of every server of a group whether the next new one may go to it, and if not, why.

    A server whose box is lost, or whose daemon is down, is only taken if no other is there.

    \b
    hsctl placement explain web
    hsctl placement explain dns --account acme
    """
    return {"group": group, "account": account, "filter": text, "limit": 1000}


@placement.command()
@click.argument("count", type=click.IntRange(1, 1000), metavar="N")
@click.option("--seed", type=click.IntRange(1, 2**31 - 1), metavar="S", help="Draw the same again.")
@reads("placement.simulate", view=placement_views.simulated)
def simulate(count: int, seed: int | None) -> Mapping[str, Any]:
    """Show where N new accounts would go, with a domain each. Nothing is written.

    \b
    hsctl placement simulate 100
    hsctl placement simulate 100 --seed 7
    """
    return {"count": count, "seed": seed}
