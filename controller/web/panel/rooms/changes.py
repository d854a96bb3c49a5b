"""Changes: what was done, by whom, and how far the boxes are with it."""

from collections.abc import Mapping
from typing import Any

from controller.web.panel.answers import Page, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Visit

_UP = (("Changes", local("changes")),)


async def show_all(visit: Visit) -> Page:
    """List changes, newest first: all, or those that touched a thing."""
    wanted = visit.query.get("filter", "").strip()
    found = await visit.ask(
        "change.list", object=wanted, limit="40", cursor=visit.query.get("cursor")
    )
    values = {"changes": found["items"], "next": found["next"], "filter": wanted}
    return Page("changes", "Changes", "changes", values, hears=("change",))


async def audit(visit: Visit) -> Page:
    """Prove the audit's chain, as many changes at a visit as are soon computed."""
    cursor = visit.query.get("cursor", "")
    found = await visit.ask("audit.verify", cursor=cursor)
    values = {"audit": found, "first": found["through"] - found["checked"] + 1}
    return Page("audit", "Audit", "changes", values, crumbs=_UP)


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
    """Give the rows of a change field by field, before beside after, without what stayed."""
    shown = []
    for row in rows:
        before, after = row["before"] or {}, row["after"] or {}
        names = list(dict.fromkeys([*before, *after]))
        fields = [(name, *_differing(before.get(name), after.get(name))) for name in names]
        action = "added" if row["before"] is None else "changed"
        shown.append(
            {
                "relation": row["relation"].replace("_", " "),
                "key": row["key"],
                "action": "deleted" if row["after"] is None else action,
                "fields": [field for field in fields if field[1] or field[2]],
            }
        )
    return shown


def _differing(before: object, after: object) -> tuple[list[str], list[str]]:
    """Give the lines that only one of two values has."""
    was, now = _lines(before), _lines(after)
    return [line for line in was if line not in now], [line for line in now if line not in was]


def _lines(value: object) -> list[str]:
    if isinstance(value, list):
        return [_line(item) for item in value]
    if isinstance(value, dict):
        return [f"{name}: {_line(item)}" for name, item in value.items()]
    return [] if value is None or value == "" else [_line(value)]


def _line(value: object) -> str:
    if isinstance(value, dict):
        if {"name", "type", "ttl", "data"} <= set(value):  # a record, as in a master file
            return f"{value['name']} {value['ttl']} {value['type']} {value['data']}"
        return ", ".join(f"{name} {_line(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " ".join(map(_line, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


ROUTES = (
    Route("GET", "/changes", show_all),
    Route("GET", "/audit", audit),
    Route("GET", "/changes/{}", show),
    Route("GET", "/changes/{}/progress", progress),
)
