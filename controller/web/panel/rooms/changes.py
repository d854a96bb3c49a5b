"""Changes: what was done, by whom, and how far the boxes are with it."""

import json
from collections.abc import Mapping
from typing import Any

from controller.web.panel.answers import Page, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Visit

_UP = (("Changes", local("changes")),)


async def show_all(visit: Visit) -> Page:
    """List changes, newest first."""
    found = await visit.ask("change.list", limit="40", cursor=visit.query.get("cursor"))
    values = {"changes": found["items"], "next": found["next"]}
    return Page("changes", "Changes", "changes", values, hears=("change",))


async def show(visit: Visit, number: str) -> Page:
    """Show a change: who, when, what before and after, lane by lane."""
    change = await visit.ask("change.show", id=number)
    values = {"change": change, "rows": compared(change["rows"]), "reached": reached(change)}
    return Page(
        "change", f"Change {change['id']}", "changes", values, crumbs=_UP, hears=("box", "change")
    )


async def progress(visit: Visit, number: str) -> Page:
    """Show how far a change is, for the banner of the page that made it."""
    return Page(
        "progress",
        f"Change {number}",
        "changes",
        {"progress": await progress_of(visit, number)},
        crumbs=_UP,
        hears=("change",),
    )


async def progress_of(visit: Visit, number: str) -> dict[str, Any]:
    """Give a change with how many lanes have it; raises `CommandError`."""
    change = await visit.ask("change.show", id=number)
    return {**change, "reached": reached(change)}


def reached(change: Mapping[str, Any]) -> dict[str, Any]:
    """Count the boxes that have everything of a change, and name what is in the way."""
    by_box: dict[str, list[Mapping[str, Any]]] = {}
    for lane in change["lanes"]:
        by_box.setdefault(lane["box"], []).append(lane)
    live = sum(all(lane["state"] == "live" for lane in lanes) for lanes in by_box.values())
    stuck = [
        lane
        for lane in change["lanes"]
        if lane["state"] in ("quarantined", "failed", "held", "unknown")
    ]
    return {"live": live, "boxes": len(by_box), "stuck": stuck}


def compared(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the rows of a change field by field, before beside after."""
    shown = []
    for row in rows:
        before, after = row["before"] or {}, row["after"] or {}
        names = list(dict.fromkeys([*before, *after]))
        shown.append(
            {
                "relation": row["relation"].replace("_", " "),
                "key": row["key"],
                "action": "added"
                if row["before"] is None
                else "deleted"
                if row["after"] is None
                else "changed",
                "fields": [
                    (name, _text(before, name), _text(after, name))
                    for name in names
                    if before.get(name) != after.get(name)
                ],
            }
        )
    return shown


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


ROUTES = (
    Route("GET", "/changes", show_all),
    Route("GET", "/changes/{}", show),
    Route("GET", "/changes/{}/progress", progress),
)
