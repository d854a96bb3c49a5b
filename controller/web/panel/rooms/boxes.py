"""Boxes: list, add, a box with its system information, enrol again, delete (R236 to R257)."""

from typing import Any

from controller.cluster.servers.groups import GROUPS
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.menu import P_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_UP = (P_SERVERS,)
_FIELDS = ("name", "ip", "mask", "groups", "os_family", "description")
SYSTEMS = (("linux", "Linux"), ("freebsd", "FreeBSD"), ("windows", "Windows"))


async def show_all(visit: Visit) -> Page:
    """List boxes, those that never connected marked (R248)."""
    wanted = visit.query.get("filter", "")
    found = await visit.ask(
        "pserver.list", filter=wanted.lower(), limit="50", cursor=visit.query.get("cursor")
    )
    values = {"boxes": found["items"], "next": found["next"], "filter": wanted}
    return Page("boxes", "Physical servers", "boxes", values, hears=("box",))


async def add_form(visit: Visit) -> Page:
    """Show the form that adds a box."""
    return _add_page(Form.of(*_FIELDS, mask="255.255.255.0", os_family="linux"))


async def add(visit: Visit) -> Answer:
    """Add a box; the page shows the one line that enrols it."""
    form = visit.form
    try:
        done = await visit.write(
            "pserver.add",
            name=form.text("name"),
            ip=form.text("ip"),
            mask=form.text("mask"),
            groups=form.texts_of("groups"),
            os_family=form.text("os_family"),
            description=form.text("description"),
        )
    except RefusedError as error:
        return _add_page(form.refused(error.refusal, *_FIELDS))
    return _enrolment_page(done.result, form.text("os_family"))


async def show(visit: Visit, name: str) -> Page:
    """Show a box: condition, system information (R249), logical servers on it."""
    box = await visit.ask("pserver.show", name=name)
    information = await visit.ask("pserver.sysinfo", name=name)
    values = {"box": box, "facts": facts_of(information["facts"]), "at": information["facts_at"]}
    return Page("box", box["name"], "boxes", values, crumbs=_UP, hears=("box",))


async def enrol(visit: Visit, name: str) -> Answer:
    """Give a new enrolment line."""
    done = await visit.write("pserver.enroll", name=name)
    box = await visit.ask("pserver.show", name=name)
    return _enrolment_page(done.result, box["os_family"])


async def delete_form(visit: Visit, name: str) -> Page:
    """Ask whether to delete a box."""
    return _delete_page(await visit.ask("pserver.show", name=name), Form())


async def delete(visit: Visit, name: str) -> Answer:
    """Delete a box that is free of logical servers (R255)."""
    try:
        done = await visit.write("pserver.delete", name=name)
    except RefusedError as error:
        box = await visit.ask("pserver.show", name=name)
        return _delete_page(box, visit.form.refused(error.refusal))
    return Redirect(local("boxes", change=done.change_id))


def facts_of(reported: Any) -> dict[str, Any] | None:
    """Give what a box reported of itself in the form that the page shows.

    The report is a box's own word (S8): what is not of the expected kind is left out.
    """
    if not isinstance(reported, dict):
        return None
    cpu, memory = _record(reported.get("cpu")), _record(reported.get("memory"))
    load = [_number(value) for value in _items(cpu.get("load"))[:3]]
    total, available = _number(memory.get("total")), _number(memory.get("available"))
    swap, swap_used = _number(memory.get("swap_total")), _number(memory.get("swap_used"))
    return {
        "system": [
            (words, _text(reported.get(name)))
            for words, name in (("Host name", "host"), ("System", "os"), ("Kernel", "kernel"))
        ],
        "processor": _text(cpu.get("model")),
        "processors": _number(cpu.get("count")),
        "percent": _number(cpu.get("percent")),
        "uptime": _number(reported.get("uptime")),
        "load": load,
        "clock_skew": reported.get("clock_skew"),
        "memory": {"total": total, "used": max(total - available, 0)},
        "swap": {"total": swap, "used": swap_used},
        "disks": [
            {
                "mount": _text(disk.get("mount")),
                "type": _text(disk.get("type")),
                "total": _number(disk.get("total")),
                "used": max(_number(disk.get("total")) - _number(disk.get("free")), 0),
            }
            for disk in map(_record, _items(reported.get("disks")))
        ],
        "interfaces": [
            {
                "name": _text(interface.get("name")),
                "up": interface.get("up") is True,
                "mac": _text(interface.get("mac")),
                "addresses": [
                    _text(_record(address).get("address"))
                    for address in _items(interface.get("addresses"))
                ],
            }
            for interface in map(_record, _items(reported.get("interfaces")))
        ],
        "services": [
            {
                "name": _text(service.get("name")),
                "type": _text(service.get("service_type")),
                "running": service.get("running") is True,
            }
            for service in map(_record, _items(reported.get("services")))
        ],
        "grants": [
            (_text(table).capitalize(), _text(what))
            for table, what in list(_record(reported.get("grants")).items())[:20]
        ],
    }


def _record(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    return value[:200] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value[:300] if isinstance(value, str) else ""


def _number(value: object) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18
    return float(value) if fits and isinstance(value, int | float) else 0.0


def _add_page(form: Form) -> Page:
    values = {"form": form, "groups": GROUPS, "systems": SYSTEMS}
    status = form.refusal.status if form.refusal else 200
    return Page("box-add", "Add a physical server", "box-add", values, status=status)


def _enrolment_page(box: dict[str, Any], system: str) -> Page:
    up = (*_UP, (box["name"], local("boxes", "box", box["name"])))
    values = {"box": box, "system": system}
    return Page("box-enrolment", "Enrol the box", "boxes", values, crumbs=up)


def _delete_page(box: dict[str, Any], form: Form) -> Page:
    up = (*_UP, (box["name"], local("boxes", "box", box["name"])))
    status = form.refusal.status if form.refusal else 200
    values = {"box": box, "form": form}
    return Page("box-delete", f"Delete {box['name']}", "boxes", values, crumbs=up, status=status)


ROUTES = (
    Route("GET", "/boxes", show_all),
    Route("GET", "/boxes/add", add_form),
    Route("POST", "/boxes/add", add),
    Route("GET", "/boxes/box/{}", show),
    Route("POST", "/boxes/box/{}/enrolment", enrol),
    Route("GET", "/boxes/box/{}/delete", delete_form),
    Route("POST", "/boxes/box/{}/delete", delete),
)
