"""Health: what breaks a rule of the cluster, why it matters, and the command that repairs it."""

from controller.web.panel.answers import Page, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Visit

_PLACES = {"pserver": ("boxes", "box"), "lserver": ("servers", "server")}
"""Where the page of an object of a kind is."""


async def show_all(visit: Visit) -> Page:
    """List findings, those that a command would refuse first."""
    wanted = visit.query.get("filter", "")
    found = await visit.ask(
        "health.list", filter=wanted, limit="50", cursor=visit.query.get("cursor")
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
    }
    return Page("health", "Health", "health", values, hears=("change",))


ROUTES = (Route("GET", "/health", show_all),)
