"""Where new sites and zones go: each group's policy, who would be chosen and why (R38)."""

import re
from typing import Any

import attrs

from controller.hosting.placement_preview import MOST
from controller.refusal import CommandError
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit
from controller.web.problems import ProblemError

_FIELDS = ("policy", "weights", "pinned")
_WEIGHT = re.compile(r"[0-9]{1,9}")
_MOST = 50
_WHAT = {"web": "sites", "windows": "sites", "dns": "zones"}
COUNT = "100"
"""Accounts that are simulated where nobody asks for another number."""


async def show(visit: Visit) -> Page:
    """Show the placement of a group, and where new accounts would go."""
    return await _page(visit, visit.query.get("group", ""), None)


async def choose(visit: Visit) -> Answer:
    """Choose the policy of a group."""
    form = visit.form
    group, policy = form.text("group"), form.text("policy")
    try:
        done = await visit.write(
            "placement.set",
            group=group,
            policy=policy,
            weights=_weights(form.lines("weights")) if policy == "weighted" else {},
            pinned=form.text("pinned") if policy == "pinned" else "",
        )
    except RefusedError as error:
        told = attrs.evolve(error.refusal, field=error.refusal.field.partition(".")[0])
        return await _page(visit, group, form.refused(told, *_FIELDS))
    return Redirect(local("servers", "placement", group=group, change=done.change_id))


def _weights(lines: list[str]) -> dict[str, int]:
    """Read a weight from each line, ``SERVER=WEIGHT``; what is none is 0, which is refused."""
    found: dict[str, int] = {}
    for line in lines:
        name, _, weight = (part.strip() for part in line.partition("="))
        found[name] = int(weight) if _WEIGHT.fullmatch(weight) else 0
    return found


async def _page(visit: Visit, wanted: str, form: Form | None) -> Page:
    listed = (await visit.ask("group.list"))["items"]
    groups = [one for one in listed if one["logical_servers"] or one["name"] == wanted]
    names = [one["name"] for one in groups]
    group = wanted or next((name for name in ("web", "dns", *names) if name in names), "web")
    explained = await visit.ask(
        "placement.explain",
        group=group,
        limit=str(_MOST),
        cursor=visit.query.get("cursor"),
    )
    policies = (await visit.ask("placement.show"))["policies"]
    if form is None:
        weights = "\n".join(f"{name}={weight}" for name, weight in explained["weights"].items())
        form = Form.of(
            *_FIELDS, policy=explained["policy"], weights=weights, pinned=explained["pinned"]
        )
    return Page(
        "placement",
        "Placement",
        "servers",
        {
            "group": group,
            "what": _WHAT.get(group, "ones"),
            "groups": [(one["name"], one["title"]) for one in groups],
            "placed": explained,
            "choices": [(one["name"], one["name"]) for one in explained["items"]],
            "whole": not explained["next"] and not visit.query.get("cursor"),
            "policies": policies,
            "form": form,
            "simulated": await _simulated(visit, group),
            "count": visit.query.get("count", COUNT),
        },
        crumbs=(L_SERVERS,),
        hears=("box", "change"),
        status=form.refusal.status if form.refusal else 200,
    )


async def _simulated(visit: Visit, group: str) -> dict[str, Any]:
    """Give where new accounts would go within a group; ``trouble`` where that cannot be said."""
    try:
        told = await visit.ask(
            "placement.simulate",
            count=visit.query.get("count", COUNT),
            seed=visit.query.get("seed"),
        )
    except (CommandError, ProblemError) as error:
        if isinstance(error, CommandError):
            return {"trouble": error.message, "allowed": error.allowed}
        return {"trouble": "not a number of accounts", "allowed": f"1 to {MOST}"}
    for one in told["groups"]:
        if one["group"] == group:
            most = max((server["new"] for server in one["servers"]), default=0)
            return {**one, "most": most or 1, "trouble": ""}
    return {}


ROUTES = (
    Route("GET", "/servers/placement", show),
    Route("POST", "/servers/placement", choose),
)
