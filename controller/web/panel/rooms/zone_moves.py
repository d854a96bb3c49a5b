"""Moves of existing zones to where the roles of name servers want them: begun, watched, stopped."""

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_UP = (L_SERVERS, ("Roles", local("servers", "roles")))
_FEWER = "allow_fewer"


async def ask(visit: Visit) -> Answer:
    """Show what a move would do, and ask."""
    return await _asked(visit, Form.of(_FEWER), fewer=False)


async def begin(visit: Visit) -> Answer:
    """Begin a move."""
    fewer = visit.form.text(_FEWER) == "true"
    try:
        done = await visit.write("dns.apply", allow_fewer="true" if fewer else "false")
    except RefusedError as error:
        return await _asked(visit, visit.form.refused(error.refusal, _FEWER), fewer=fewer)
    if done.result["move"] is None:
        return Redirect(local("servers", "roles"))
    return Redirect(local("servers", "roles", "moves", str(done.result["move"])))


async def _asked(visit: Visit, form: Form, *, fewer: bool) -> Page:
    """Show the page that asks, with the refusal where a move is not possible now."""
    plan = None
    try:
        plan = await visit.look("dns.apply", allow_fewer="true")
        if not fewer and form.refusal is None:
            await visit.look("dns.apply", allow_fewer="false")
    except RefusedError as error:
        form = form.refused(error.refusal, _FEWER)
    return Page(
        "zone-move-begin",
        "Move existing zones",
        "servers",
        {
            "plan": None if plan is None else plan.result,
            "words": () if plan is None else plan.plan.words,
            "form": form,
        },
        crumbs=_UP,
        status=form.refusal.status if form.refusal and visit.form.texts else 200,
    )


async def show(visit: Visit, number: str) -> Page:
    """Show how far a move is."""
    move = await visit.ask("dns.progress", id=number)
    return Page(
        "zone-move",
        f"Move {move['id']} of zones",
        "servers",
        {"move": move, "form": Form.of()},
        crumbs=_UP,
        hears=("change",),
    )


async def stop(visit: Visit, number: str) -> Answer:
    """Have a move take no more zones."""
    await visit.write("dns.stop", id=number)
    return Redirect(local("servers", "roles", "moves", number))


ROUTES = (
    Route("GET", "/servers/roles/moves/new", ask),
    Route("POST", "/servers/roles/moves/new", begin),
    Route("GET", "/servers/roles/moves/{}", show),
    Route("POST", "/servers/roles/moves/{}/stop", stop),
)
