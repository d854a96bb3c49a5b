"""Every version of a desired object, with what each changed."""

from controller.web.panel.answers import Page, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Visit

_SHOWN = "20"


async def show(visit: Visit, kind: str) -> Page:
    """Show a page of versions, newest first."""
    key, server = visit.query.get("key", ""), visit.query.get("lserver", "")
    found = await visit.ask(
        "object.history",
        kind=kind,
        key=key,
        lserver=server,
        diff="true",
        limit=_SHOWN,
        cursor=visit.query.get("cursor"),
    )
    versions = [{**item, "lines": item["diff"].splitlines()} for item in found["items"]]
    values = {
        "kind": kind,
        "key": key,
        "lserver": server,
        "versions": versions,
        "next": found["next"],
        "first": not visit.query.get("cursor"),
    }
    return Page(
        "object-history", "History", "changes", values, crumbs=(("Changes", local("changes")),)
    )


ROUTES = (Route("GET", "/objects/{}", show),)
