"""What people decide of a box: its fields, its intent, that it is gone for good."""

from typing import Any

from controller.cluster.boxes.intents import INTENTS
from controller.cluster.servers.groups import GROUPS
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import P_SERVERS
from controller.web.panel.rooms.boxes import SYSTEMS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_FIELDS = ("ip", "mask", "groups", "os_family", "description", "intent")


async def show(visit: Visit, name: str) -> Page:
    """Show the forms that change a box (R238, R243)."""
    box = await visit.ask("pserver.show", name=name)
    return _page(box, _form_of(box))


async def edit(visit: Visit, name: str) -> Answer:
    """Change the fields of a box."""
    form = visit.form
    try:
        done = await visit.write(
            "pserver.edit",
            name=name,
            ip=form.text("ip"),
            mask=form.text("mask"),
            groups=form.texts_of("groups"),
            os_family=form.text("os_family"),
            description=form.text("description"),
        )
    except RefusedError as error:
        box = await visit.ask("pserver.show", name=name)
        return _page(box, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("boxes", "box", name, change=done.change_id))


async def set_intent(visit: Visit, name: str) -> Answer:
    """Say what is wanted of a box."""
    intent = visit.form.text("intent")
    try:
        done = await visit.write("pserver.intent", name=name, intent=intent)
    except RefusedError as error:
        box = await visit.ask("pserver.show", name=name)
        form = _form_of({**box, "intent": intent})
        return _page(box, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("boxes", "box", name, change=done.change_id))


async def retire_form(visit: Visit, name: str) -> Page:
    """Ask whether a box is gone for good."""
    return _retire_page(await visit.ask("pserver.show", name=name), Form())


async def retire(visit: Visit, name: str) -> Answer:
    """Retire a box; the page lists what was on it and where that can be placed anew."""
    gone = "true" if visit.form.text("box_is_gone") == "yes" else "false"
    box = await visit.ask("pserver.show", name=name)
    try:
        done = await visit.write("pserver.retire", name=name, box_is_gone=gone)
    except RefusedError as error:
        return _retire_page(box, visit.form.refused(error.refusal, "box_is_gone"))
    values = {"box": box, "left": done.result["logical_servers"]}
    return Page("box-retired", f"{box['name']} is retired", "boxes", values, crumbs=_up(box))


def _form_of(box: dict[str, Any]) -> Form:
    texts = {name: [box[name]] for name in ("ip", "os_family", "description", "intent")}
    return Form(
        {**texts, "mask": [str(box["prefix"])], "groups": box["groups"]}, known=frozenset(_FIELDS)
    )


def _up(box: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return P_SERVERS, (box["name"], local("boxes", "box", box["name"]))


def _page(box: dict[str, Any], form: Form) -> Page:
    values = {"box": box, "form": form, "groups": GROUPS, "systems": SYSTEMS, "intents": INTENTS}
    status = form.refusal.status if form.refusal else 200
    return Page("box-settings", "Settings", "boxes", values, crumbs=_up(box), status=status)


def _retire_page(box: dict[str, Any], form: Form) -> Page:
    status = form.refusal.status if form.refusal else 200
    values = {"box": box, "form": form}
    title = f"Retire {box['name']}"
    return Page("box-retire", title, "boxes", values, crumbs=_up(box), status=status)


ROUTES = (
    Route("GET", "/boxes/box/{}/settings", show),
    Route("POST", "/boxes/box/{}/settings", edit),
    Route("POST", "/boxes/box/{}/intent", set_intent),
    Route("GET", "/boxes/box/{}/retire", retire_form),
    Route("POST", "/boxes/box/{}/retire", retire),
)
