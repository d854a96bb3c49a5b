"""Undoing a change: first what would come back, then the undo."""

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.rooms.changes import compared
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit


async def ask(visit: Visit, number: str) -> Answer:
    """Show what an undo would do, and ask."""
    return await _asked(visit, number, Form.of())


async def undo(visit: Visit, number: str) -> Answer:
    """Undo the change."""
    try:
        done = await visit.write("change.undo", id=number)
    except RefusedError as error:
        return await _asked(visit, number, visit.form.refused(error.refusal))
    return Redirect(local("changes", str(done.change_id), change=done.change_id))


async def _asked(visit: Visit, number: str, form: Form) -> Page:
    """Show the page that asks, with the plan of a dry run or the reason why there is none."""
    change = await visit.ask("change.show", id=number)
    plan, warnings = None, []
    try:
        dry = await visit.look("change.undo", id=number)
        plan, warnings = dry.plan, dry.result["warnings"]
    except RefusedError as error:
        form = form.refused(error.refusal)
    back = [{**row, "before": row["after"], "after": row["before"]} for row in change["rows"]]
    values = {
        "change": change,
        "rows": compared(list(reversed(back))),
        "plan": plan,
        "warnings": warnings,
        "form": form,
    }
    up = (
        ("Changes", local("changes")),
        (f"Change {change['id']}", local("changes", str(change["id"]))),
    )
    return Page(
        "change-undo",
        "Undo a change",
        "changes",
        values,
        crumbs=up,
        status=form.refusal.status if form.refusal and visit.form.texts else 200,
    )


ROUTES = (
    Route("GET", "/changes/{}/undo", ask),
    Route("POST", "/changes/{}/undo", undo),
)
