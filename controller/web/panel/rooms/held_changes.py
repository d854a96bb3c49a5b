"""Changes that are held back: what they would do, their hazards, and approving them one by one."""

import re

from controller.hazards import IDS
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_UP = (("Held changes", local("held")),)
_ACCEPT = "accept."
"""The field of a hazard that is accepted, before its id; its value is the hazard's number."""
_NUMBER = re.compile(r"[0-9]{1,18}")


async def show_all(visit: Visit) -> Page:
    """List what waits to be approved, and what became of others."""
    ended = visit.query.get("ended", "") == "true"
    found = await visit.ask(
        "change.held",
        ended="true" if ended else "false",
        limit="40",
        cursor=visit.query.get("cursor"),
    )
    values = {"held": found["items"], "next": found["next"], "ended": ended}
    return Page("held-changes", "Held changes", "held", values, hears=("change",))


async def show(visit: Visit, number: str) -> Page:
    """Show a held change, with its hazards to accept."""
    return await _shown(visit, number, Form.of())


async def approve(visit: Visit, number: str) -> Answer:
    """Approve a held change, as far as its hazards are accepted."""
    accept = {
        hazard: int(text)
        for hazard in IDS
        if _NUMBER.fullmatch(text := visit.form.text(f"{_ACCEPT}{hazard}"))
    }
    try:
        shown = visit.form.text("shown")
        done = await visit.write("change.approve", id=number, accept=accept, shown=shown)
    except RefusedError as error:
        return await _shown(visit, number, visit.form.refused(error.refusal))
    return Redirect(local("changes", str(done.change_id), change=done.change_id))


async def withdraw(visit: Visit, number: str) -> Answer:
    """Withdraw a held change."""
    try:
        await visit.write("change.withdraw", id=number)
    except RefusedError as error:
        return await _shown(visit, number, visit.form.refused(error.refusal))
    return Redirect(local("held", ended="true"))


async def _shown(visit: Visit, number: str, form: Form) -> Page:
    change = await visit.ask("change.show-held", id=number)
    return Page(
        "held-change",
        f"Held change {change['id']}",
        "held",
        {"held": change, "form": form},
        crumbs=_UP,
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/held", show_all),
    Route("GET", "/held/{}", show),
    Route("POST", "/held/{}", approve),
    Route("POST", "/held/{}/withdraw", withdraw),
)
