"""Faults: what the boxes could not do, and having them try again."""

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Visit


async def show_all(visit: Visit) -> Page:
    """List faults."""
    found = await visit.ask("fault.list", limit="50", cursor=visit.query.get("cursor"))
    values = {
        "faults": found["items"],
        "next": found["next"],
        "retried": "retried" in visit.query,
    }
    return Page("faults", "Faults", "faults", values, hears=("box", "change"))


async def retry(visit: Visit) -> Answer:
    """Have the boxes of a logical server try again."""
    form = visit.form
    await visit.write(
        "fault.retry", lserver=form.text("lserver"), kind=form.text("kind"), key=form.text("key")
    )
    return Redirect(local("faults", retried="1"))


ROUTES = (
    Route("GET", "/faults", show_all),
    Route("POST", "/faults/retry", retry),
)
