"""The addresses of a logical server: add, edit, delete (R323 to R357)."""

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.rooms.logical_servers import server_page
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, Refusal, RefusedError, Visit

_FIELDS = ("first", "last", "mask", "type", "tag", "port")
_EDITED = ("mask", "tag", "new_port")


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


async def edit_form(visit: Visit, server: str) -> Page:
    """Show the form for an address's mask, tag and port."""
    return await _edit_page(visit, visit.query.get("ip", ""), visit.query.get("port", ""))


async def edit(visit: Visit, server: str) -> Answer:
    """Change an address's mask, tag or, while it is unused, its port (R353, R357)."""
    form = visit.form
    ip, port = form.text("ip"), form.text("port")
    try:
        done = await visit.write(
            "ip.edit",
            ip=ip,
            port=port or None,
            mask=form.text("mask"),
            tag=form.text("tag") or None,
            new_port=form.text("new_port") or None,
        )
    except RefusedError as error:
        told = error.refusal
        field = "new_port" if told.field == "port" else told.field
        refusal = Refusal(told.message, field, told.allowed, told.status)
        return await _edit_page(visit, ip, port, form.refused(refusal, *_EDITED))
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


async def _edit_page(visit: Visit, ip: str, port: str, form: Form | None = None) -> Page:
    address = await visit.ask("ip.show", ip=ip, port=port or None)
    name = address["logical_server"]
    tag = address["tag"]
    shown = Form.of(
        *_EDITED,
        mask=str(address["prefix"]),
        tag="" if tag is None else str(tag),
        new_port=str(address["port"]),
    )
    return Page(
        "address-edit",
        f"Edit {address['ip']}",
        "servers",
        {"address": address, "form": form or shown},
        crumbs=(L_SERVERS, (name, local("servers", "server", name))),
        status=form.refusal.status if form and form.refusal else 200,
    )


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
    Route("GET", "/servers/server/{}/addresses/edit", edit_form),
    Route("POST", "/servers/server/{}/addresses/edit", edit),
    Route("GET", "/servers/server/{}/addresses/delete", delete_form),
    Route("POST", "/servers/server/{}/addresses/delete", delete),
)
