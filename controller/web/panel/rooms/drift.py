"""Drift: files that somebody else changed on a box, on pages of the server and of the box."""

from typing import Any

from controller.web.panel.answers import Answer, Page, local
from controller.web.panel.box_answers import ask_box
from controller.web.panel.menu import L_SERVERS, P_SERVERS
from controller.web.panel.rooms.box_files import written_by
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_MOST = "100"


async def of_server(visit: Visit, name: str) -> Page:
    """Show how the files of a logical server are."""
    return await _server_page(visit, name)


async def verify(visit: Visit, name: str) -> Answer:
    """Have the boxes look at all files now; the page says what they found."""
    try:
        done = await visit.write("drift.verify", name=name)
    except RefusedError as error:
        return await _server_page(visit, name, form=Form(refusal=error.refusal))
    return await _server_page(visit, name, verified=done.result["boxes"])


async def _server_page(
    visit: Visit,
    name: str,
    *,
    form: Form | None = None,
    verified: list[dict[str, Any]] | None = None,
    repaired: list[dict[str, Any]] | None = None,
) -> Page:
    state = await visit.ask("drift.lanes", name=name)
    found = await visit.ask(
        "drift.list", lserver=state["name"], limit=_MOST, cursor=visit.query.get("cursor")
    )
    values = {
        "state": state,
        "told": sum(box["drifted"] for box in state["boxes"]),
        "findings": found["items"],
        "next": found["next"],
        "form": form or Form(),
        "verified": verified,
        "repaired": repaired,
        "several": len(state["boxes"]) > 1,
    }
    crumbs = (*_CRUMBS, (state["name"], local("servers", "server", state["name"])))
    return Page("drift", "Drift", "servers", values, crumbs=crumbs, hears=("box",))


async def of_box(visit: Visit, name: str) -> Page:
    """List the files of a box that somebody changed."""
    box = await visit.ask("pserver.show", name=name)
    found = await visit.ask(
        "drift.list", pserver=box["name"], limit=_MOST, cursor=visit.query.get("cursor")
    )
    values = {
        "name": box["name"],
        "tab": "drift",
        "findings": found["items"],
        "next": found["next"],
    }
    crumbs = (P_SERVERS,)
    return Page("box-drift", box["name"], "boxes", values, crumbs=crumbs, hears=("box",))


async def difference(visit: Visit, name: str) -> Page:
    """Show how one file differs from what would be written."""
    path, box = visit.query.get("path", ""), visit.query.get("pserver", "")
    told = await ask_box(visit, "drift.show", name=name, path=path, pserver=box)
    where = told.answer["box"] if told.answer else box
    why = ""
    if path and where:
        server = await visit.ask("lserver.show", name=name)
        why = written_by(where, server["id"], path)
    values = {"name": name, "path": path, "difference": told.answer, "why": why}
    return _under(name, "drift-file", path or "A file", {**values, "trouble": told.trouble})


async def preview(visit: Visit, name: str) -> Page:
    """Show what a repair would do, and ask for it."""
    path, box = visit.query.get("path", ""), visit.query.get("pserver", "")
    return await _preview(visit, name, path, box, Form())


async def repair(visit: Visit, name: str) -> Answer:
    """Bring files back; the page says what came of it."""
    path, box = visit.form.text("path"), visit.form.text("pserver")
    try:
        done = await visit.write("drift.repair", name=name, path=path, pserver=box)
    except RefusedError as error:
        return await _preview(visit, name, path, box, Form(refusal=error.refusal))
    return await _server_page(visit, name, repaired=done.result["boxes"])


async def _preview(visit: Visit, name: str, path: str, box: str, form: Form) -> Page:
    told = await ask_box(visit, "drift.preview", name=name, path=path, pserver=box)
    boxes = told.answer["boxes"] if told.answer else []
    values = {
        "name": name,
        "path": path,
        "pserver": box,
        "boxes": boxes,
        "total": sum(each["total"] for each in boxes),
        "trouble": told.trouble,
        "form": form,
    }
    return _under(name, "drift-repair", "Bring back", values)


def _under(name: str, template: str, title: str, values: dict[str, Any]) -> Page:
    crumbs = (
        *_CRUMBS,
        (name, local("servers", "server", name)),
        ("Drift", local("servers", "server", name, "drift")),
    )
    return Page(template, title, "servers", values, crumbs=crumbs)


_CRUMBS = (L_SERVERS,)

ROUTES = (
    Route("GET", "/servers/server/{}/drift", of_server),
    Route("POST", "/servers/server/{}/drift/verification", verify),
    Route("GET", "/servers/server/{}/drift/file", difference),
    Route("GET", "/servers/server/{}/drift/repair", preview),
    Route("POST", "/servers/server/{}/drift/repair", repair),
    Route("GET", "/boxes/box/{}/drift", of_box),
)
