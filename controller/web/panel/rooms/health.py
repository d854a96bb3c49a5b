"""Health: what breaks a rule of the cluster, why it matters, and the command that repairs it."""

from controller.web.panel.answers import Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, Visit

_PLACES = {
    "pserver": ("boxes", "box"),
    "lserver": ("servers", "server"),
    "certificate": ("ssl", "domain"),
}
"""Where the page of an object of a kind is."""


async def show_all(visit: Visit) -> Page:
    """List findings, those that a command would refuse first."""
    wanted = visit.query.get("filter", "")
    found = await visit.ask(
        "health.list",
        filter=wanted,
        limit="50",
        cursor=visit.query.get("cursor"),
        kept="true",
    )
    values = {
        "findings": [
            {**item, "path": local(*_PLACES[item["kind"]], item["name"])}
            if item["kind"] in _PLACES
            else {**item, "path": ""}
            for item in found["items"]
        ],
        "counts": found["counts"],
        "rules": found["rules"],
        "next": found["next"],
        "filter": wanted,
        "judged_at": found["judged_at"],
        "current": found["current"],
        "form": Form(),
    }
    return Page("health", "Health", "health", values, hears=("change",))


async def judge(visit: Visit) -> Redirect:
    """Judge the whole cluster anew, however long that takes."""
    await visit.ask("health.list", limit="1")
    return Redirect(local("health"))


ROUTES = (
    Route("GET", "/health", show_all),
    Route("POST", "/health", judge),
)
