"""Logical servers: list, add, show, signup, delete (R258 to R289)."""

from typing import Any

from controller.cluster.addresses.types import TYPES, types_of
from controller.cluster.servers.groups import GROUPS, TITLES
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import L_SERVERS
from controller.web.panel.rooms.choices import Choices, boxes_to_choose
from controller.web.panel.rooms.recovery import adopted, undecided
from controller.web.panel.rooms.settings_form import settings_form, settings_sections
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit
from templates.registry import KNOWN_TYPES, SERVICE_TYPES

_UP = (L_SERVERS,)
_FIELDS = ("name", "group", "type", "pserver", "description")
_MOST = 50


async def show_all(visit: Visit) -> Page:
    """List logical servers (R283)."""
    wanted, group = visit.query.get("filter", ""), visit.query.get("group", "")
    found = await visit.ask(
        "lserver.list",
        filter=wanted.lower(),
        group=group,
        limit=str(_MOST),
        cursor=visit.query.get("cursor"),
    )
    values = {
        "servers": found["items"],
        "next": found["next"],
        "filter": wanted,
        "group": group,
        "groups": list(TITLES.items()),
    }
    return Page("servers", "Logical servers", "servers", values, hears=("box", "change"))


async def add_form(visit: Visit) -> Page:
    """Show the form that adds a logical server."""
    known = {name: visit.query[name] for name in ("pserver", "type") if name in visit.query}
    return await _add_page(visit, Form.of(*_FIELDS, **known))


async def add(visit: Visit) -> Answer:
    """Add a logical server, then show its page (R271)."""
    form = visit.form
    type_ = form.text("type")
    group = KNOWN_TYPES[type_].group if type_ in KNOWN_TYPES else ""
    try:
        done = await visit.write(
            "lserver.add",
            name=form.text("name"),
            group=group,
            type=type_,
            pserver=form.text("pserver"),
            description=form.text("description"),
        )
    except RefusedError as error:
        return await _add_page(visit, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("servers", "server", done.result["name"], change=done.change_id))


async def show(visit: Visit, name: str) -> Page:
    """Show a logical server with its addresses and what uses it."""
    return await server_page(visit, name)


async def server_page(
    visit: Visit, name: str, form: Form | None = None, *, options: Form | None = None
) -> Page:
    """Give the page of a logical server.

    ``form`` is the refused form of an address, ``options`` that of the settings or of a move.
    """
    server = await visit.ask("lserver.show", name=name)
    addresses = await visit.ask(
        "ip.list", lserver=server["name"], limit=str(_MOST), cursor=visit.query.get("cursor")
    )
    records = await visit.ask("lserver.records", name=server["name"])
    type_ = KNOWN_TYPES.get(server["type"])
    taken = {address["type"] for address in server["ips"]}
    kinds = [
        TYPES[kind]
        for kind in types_of(server["group"])
        if not (TYPES[kind].single and kind in taken)
    ]
    first = Form.of("first", "last", "mask", "type", "tag", "port", mask="255.255.255.0")
    return Page(
        "server",
        server["name"],
        "servers",
        {
            "server": server,
            "addresses": addresses["items"],
            "next": addresses["next"],
            "kinds": kinds,
            "default_port": type_.default_port if type_ else "",
            "used": used_by(server),
            "undecided": undecided(server),
            "adopted": adopted(server),
            "form": form or first,
            "records": records,
            "sections": await settings_sections(visit, server["options"]),
            "options": settings_form(server, options),
            "boxes": await _other_boxes(visit, server, addresses["items"]),
        },
        crumbs=_UP,
        hears=("box", "change"),
        status=next((f.refusal.status for f in (form, options) if f and f.refusal), 200),
    )


async def _other_boxes(visit: Visit, server: dict[str, Any], addresses: list[Any]) -> Choices:
    """Give the boxes that a server can be moved to: none while clients ask it at its addresses."""
    if (addresses and not server["modelled"]) or len(server["lanes"]) != 1:
        return Choices(())
    here = [lane["pserver"] for lane in server["lanes"]]
    return await boxes_to_choose(visit, group=server["group"], besides=here)


def used_by(server: dict[str, Any]) -> str:
    """Say what keeps a logical server from being deleted, empty where nothing does."""
    words = (("zone", "zones"), ("site", "sites"), ("address", "addresses"))
    counted = [(server["used_by"][many], one, many) for one, many in words]
    used = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    used += [f"a setting of {each['server']}" for each in server["used_by"]["settings"]]
    used += ["the placement of its group"] if server["used_by"]["pinned"] else []
    return ", ".join(used)


async def signup(visit: Visit, name: str) -> Answer:
    """Switch signup on or off (R285)."""
    wanted = "true" if visit.form.text("signup") == "on" else "false"
    done = await visit.write("lserver.signup", name=name, signup=wanted)
    return Redirect(local("servers", "server", done.result["name"], change=done.change_id))


async def delete_form(visit: Visit, name: str) -> Page:
    """Ask whether to delete a logical server."""
    return _delete_page(await visit.ask("lserver.show", name=name), Form())


async def delete(visit: Visit, name: str) -> Answer:
    """Delete a logical server that serves nothing and has no addresses (R286 to R288)."""
    try:
        done = await visit.write("lserver.delete", name=name)
    except RefusedError as error:
        server = await visit.ask("lserver.show", name=name)
        return _delete_page(server, visit.form.refused(error.refusal))
    return Redirect(local("servers", change=done.change_id))


async def _add_page(visit: Visit, form: Form) -> Page:
    values = {
        "form": form,
        "boxes": await boxes_to_choose(visit),
        "types": [
            (known.name, f"{TITLES[known.group]}: {known.name}", known.name not in SERVICE_TYPES)
            # What a box serves comes first: nobody adds a modelled server by not choosing.
            for known in sorted(
                KNOWN_TYPES.values(),
                key=lambda known: (known.name not in SERVICE_TYPES, GROUPS.index(known.group)),
            )
        ],
    }
    status = form.refusal.status if form.refusal else 200
    return Page("server-add", "Add a logical server", "server-add", values, status=status)


def _delete_page(server: dict[str, Any], form: Form) -> Page:
    name = server["name"]
    status = form.refusal.status if form.refusal else 200
    return Page(
        "server-delete",
        f"Delete {name}",
        "servers",
        {"server": server, "form": form, "used": used_by(server)},
        crumbs=(*_UP, (name, local("servers", "server", name))),
        status=status,
    )


ROUTES = (
    Route("GET", "/servers", show_all),
    Route("GET", "/servers/add", add_form),
    Route("POST", "/servers/add", add),
    Route("GET", "/servers/server/{}", show),
    Route("POST", "/servers/server/{}/signup", signup),
    Route("GET", "/servers/server/{}/delete", delete_form),
    Route("POST", "/servers/server/{}/delete", delete),
)
