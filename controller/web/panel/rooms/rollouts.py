"""Rollouts: settings for all servers of a type in waves, begun, followed, resumed and ended."""

from controller.cluster.rollouts.waves import WAVES
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit
from templates.registry import SERVICE_TYPES

_FIELDS = ("type", "settings", "waves")
_UP = (L_SERVERS,)


async def show_all(visit: Visit) -> Page:
    """List rollouts, with the form that begins one."""
    return await _listed(visit, Form.of(*_FIELDS, waves=",".join(WAVES)))


async def begin(visit: Visit) -> Answer:
    """Begin a rollout."""
    form = visit.form
    settings = {
        name.strip(): value.strip()
        for name, _, value in (line.partition("=") for line in form.lines("settings"))
    }
    waves = [part.strip() for part in form.text("waves").split(",") if part.strip()]
    try:
        done = await visit.write(
            "rollout.begin", type=form.text("type"), settings=settings, waves=waves
        )
    except RefusedError as error:
        return await _listed(visit, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("servers", "rollouts", str(done.result["rollout"])))


async def show(visit: Visit, number: str) -> Page:
    """Show how far a rollout is."""
    return await _shown(visit, number, Form.of())


async def resume(visit: Visit, number: str) -> Answer:
    """Have a paused rollout go on."""
    past = "true" if visit.form.text("past_failure") else "false"
    try:
        await visit.write("rollout.resume", id=number, past_failure=past)
    except RefusedError as error:
        return await _shown(visit, number, visit.form.refused(error.refusal))
    return Redirect(local("servers", "rollouts", number))


async def stop(visit: Visit, number: str) -> Answer:
    """End a rollout."""
    await visit.write("rollout.stop", id=number)
    return Redirect(local("servers", "rollouts", number))


async def _listed(visit: Visit, form: Form) -> Page:
    found = await visit.ask("rollout.list", limit="40", cursor=visit.query.get("cursor"))
    values = {
        "rollouts": found["items"],
        "next": found["next"],
        "form": form,
        "types": [(name, name) for name in SERVICE_TYPES],
    }
    return Page(
        "rollouts",
        "Rollouts",
        "servers",
        values,
        crumbs=_UP,
        hears=("change",),
        status=form.refusal.status if form.refusal else 200,
    )


async def _shown(visit: Visit, number: str, form: Form) -> Page:
    rollout = await visit.ask("rollout.show", id=number)
    return Page(
        "rollout",
        f"Rollout {rollout['id']}",
        "servers",
        {"rollout": rollout, "form": form},
        crumbs=(*_UP, ("Rollouts", local("servers", "rollouts"))),
        hears=("change",),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/servers/rollouts", show_all),
    Route("POST", "/servers/rollouts", begin),
    Route("GET", "/servers/rollouts/{}", show),
    Route("POST", "/servers/rollouts/{}/resume", resume),
    Route("POST", "/servers/rollouts/{}/stop", stop),
)
