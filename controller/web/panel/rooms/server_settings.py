"""Logical servers: their settings, description, box, and the roles of name servers."""

from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.rooms.logical_servers import server_page
from controller.web.panel.rooms.settings_form import PREFIX
from controller.web.panel.routing import Route
from controller.web.panel.visits import (
    CONFIRMED,
    Done,
    Field,
    Form,
    Refusal,
    RefusedError,
    Visit,
    read_warnings,
)

CONFIRM = "confirm"
"""The field of a refusal that is only a warning; a form that shows one sends `CONFIRMED` along."""
_ROLES = ("master", "slave1", "slave2")


async def set_all(visit: Visit, name: str) -> Answer:
    """Set what the form holds (R289, R297); an empty field takes its default."""
    form = visit.form
    fields = [field for field in form.texts if field.startswith(PREFIX)]
    given: dict[str, Field] = {
        "name": name,
        "settings": {field.removeprefix(PREFIX): form.text(field) for field in fields},
    }
    try:
        if told := _unconfirmed(visit, await visit.look("lserver.set", **given)):
            return await server_page(visit, name, options=form.refused(told, *fields))
        done = await visit.write("lserver.set", **given)
    except RefusedError as error:
        return await server_page(visit, name, options=form.refused(error.refusal, *fields))
    return _back(done)


def _unconfirmed(visit: Visit, dry: Done) -> Refusal | None:
    """Give what a person is to be told before the change is made, once: the warnings of it (A7).

    A preview tells them by itself.
    """
    warnings = read_warnings(dry)
    if not warnings or visit.previews or visit.form.text(CONFIRMED) == warnings:
        return None
    return Refusal(warnings, CONFIRM, "send the form again to do it all the same", 409)


async def describe(visit: Visit, name: str) -> Answer:
    """Change the description (R268)."""
    form = visit.form
    try:
        done = await visit.write("lserver.edit", name=name, description=form.text("description"))
    except RefusedError as error:
        return await server_page(visit, name, options=form.refused(error.refusal, "description"))
    return _back(done)


async def move(visit: Visit, name: str) -> Answer:
    """Put a server that has no address onto another box (R261)."""
    form = visit.form
    try:
        done = await visit.write("lserver.move", name=name, to=form.text("to"))
    except RefusedError as error:
        return await server_page(visit, name, options=form.refused(error.refusal, "to"))
    return _back(done)


async def roles(visit: Visit) -> Page:
    """Show the roles of all name servers, and the form that assigns them (R361 to R363)."""
    return await _roles_page(visit, None)


async def assign(visit: Visit) -> Answer:
    """Assign the roles of all name servers in one change."""
    form = visit.form
    roles = {role: form.text(role) for role in _ROLES}
    try:
        if told := _unconfirmed(visit, await visit.look("dns.roles", **roles)):
            return await _roles_page(visit, form.refused(told, *_ROLES))
        done = await visit.write("dns.roles", **roles)
    except RefusedError as error:
        return await _roles_page(visit, form.refused(error.refusal, *_ROLES))
    return Redirect(local("servers", "roles", change=done.change_id))


async def _roles_page(visit: Visit, form: Form | None) -> Page:
    shown = await visit.ask("dns.show")
    moves = (await visit.ask("dns.moves", limit="5"))["items"]
    first: dict[str, str] = {}
    for server in shown["name_servers"]:
        first.setdefault(server["role"], server["name"])
    if form is None:
        form = Form.of(*_ROLES, **{role: first.get(role, "") for role in _ROLES})
    return Page(
        "server-roles",
        "Roles of name servers",
        "servers",
        {"dns": shown, "moves": moves, "form": form},
        crumbs=(L_SERVERS,),
        hears=("change",),
        status=form.refusal.status if form.refusal else 200,
    )


def _back(done: Any) -> Redirect:
    return Redirect(local("servers", "server", done.result["name"], change=done.change_id))


ROUTES = (
    Route("POST", "/servers/server/{}/settings", set_all),
    Route("POST", "/servers/server/{}/description", describe),
    Route("POST", "/servers/server/{}/move", move),
    Route("GET", "/servers/roles", roles),
    Route("POST", "/servers/roles", assign),
)
