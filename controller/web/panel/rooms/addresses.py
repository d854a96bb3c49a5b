"""The addresses of a logical server: add, delete (R323 to R357)."""

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.rooms.logical_servers import server_page
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, Refusal, RefusedError, Visit

_FIELDS = ("first", "last", "mask", "type", "tag", "port")


async def add(visit: Visit, server: str) -> Answer:
    """Add an address or a range."""
    form = visit.form
    try:
        done = await visit.write(
            "ip.add",
            lserver=server,
            first=form.text("first"),
            last=form.text("last"),
            mask=form.text("mask"),
            type=form.text("type"),
            tag=form.text("tag") or None,
            port=form.text("port") or None,
        )
    except RefusedError as error:
        told = error.refusal
        field = {"to": "last", "ip": "first"}.get(told.field, told.field)
        refusal = Refusal(told.message, field, told.allowed, told.status)
        return await server_page(visit, server, form.refused(refusal, *_FIELDS))
    return Redirect(local("servers", "server", server, change=done.change_id))


async def delete_form(visit: Visit, server: str) -> Page:
    """Ask whether to delete an address."""
    return await _delete_page(
        visit, server, visit.query.get("ip", ""), visit.query.get("port", ""), Form()
    )


async def delete(visit: Visit, server: str) -> Answer:
    """Delete an address that nothing uses (R357)."""
    form = visit.form
    ip, port = form.text("ip"), form.text("port")
    try:
        done = await visit.write("ip.delete", ip=ip, port=port or None)
    except RefusedError as error:
        return await _delete_page(visit, server, ip, port, form.refused(error.refusal))
    return Redirect(local("servers", "server", server, change=done.change_id))


async def _delete_page(visit: Visit, server: str, ip: str, port: str, form: Form) -> Page:
    address = await visit.ask("ip.show", ip=ip, port=port or None)
    name = address["logical_server"]
    crumbs = (L_SERVERS, (name, local("servers", "server", name)))
    return Page(
        "address-delete",
        f"Delete {address['ip']}",
        "servers",
        {"address": address, "form": form},
        crumbs=crumbs,
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("POST", "/servers/server/{}/addresses", add),
    Route("GET", "/servers/server/{}/addresses/delete", delete_form),
    Route("POST", "/servers/server/{}/addresses/delete", delete),
)
