"""How a box is, on tabs beside its own page: load, packages, services and logs (R249 to R251)."""

from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.box_answers import ask_box
from controller.web.panel.graphs import drawn
from controller.web.panel.menu import P_SERVERS
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

SPANS = (("hour", "Hour"), ("day", "Day"), ("month", "30 days"))
_EVERY = {"hour": 10, "day": 60, "month": 900}
"""Seconds after which an open page of graphs is drawn anew: the step of its ring."""
_LINES = 200


async def load(visit: Visit, name: str) -> Page:
    """Draw the load of a box over time."""
    span = visit.query.get("span", "hour")
    found = await visit.ask("pserver.load", name=name, span=span)
    values = {
        "box": found,
        "span": span,
        "spans": SPANS,
        "every": _EVERY[span],
        "samples": len(found["at"]),
        **drawn(found),
    }
    return _page("box-load", found["name"], "load", values, live=True)


async def switch(visit: Visit, name: str) -> Answer:
    """Switch the monitoring of a box on or off (R250)."""
    on = "true" if visit.form.text("monitoring") == "on" else "false"
    done = await visit.write("pserver.monitoring", name=name, monitoring=on)
    return Redirect(local("boxes", "box", name, "load", change=done.change_id))


async def packages(visit: Visit, name: str) -> Page:
    """List the packages that are installed on a box."""
    wanted, cursor = visit.query.get("filter", ""), visit.query.get("cursor")
    told = await ask_box(
        visit, "pserver.packages", name=name, search=wanted, limit="100", cursor=cursor
    )
    found = told.answer or {"items": [], "next": None}
    values = {
        "packages": found["items"],
        "next": found["next"],
        "filter": wanted,
        "first": not cursor,
        "trouble": told.trouble,
    }
    return _page("box-packages", name, "packages", values)


async def services(visit: Visit, name: str) -> Page:
    """List the services of a box that may be managed."""
    return await _services(visit, name, None)


async def act(visit: Visit, name: str, service: str) -> Answer:
    """Do something to a service; the page says what came of it."""
    try:
        done = await visit.write(
            "pserver.service", name=name, service=service, action=visit.form.text("action")
        )
    except RefusedError as error:
        refused = {"outcome": "refused", "message": error.refusal.message}
        return await _services(visit, name, {**refused, "service": service, "action": ""})
    return await _services(visit, name, done.result)


async def stop_form(visit: Visit, name: str, service: str) -> Page:
    """Ask whether to stop a service."""
    box = await visit.ask("pserver.show", name=name)
    ours = service in box["logical_servers"]
    values = {"service": service, "ours": ours, "form": Form()}
    return _page("box-service-stop", box["name"], "services", values, under=f"Stop {service}")


async def log(visit: Visit, name: str, service: str) -> Page:
    """Show the last lines that a service logged."""
    told = await ask_box(visit, "pserver.log", name=name, service=service, lines=str(_LINES))
    found = told.answer or {"lines": [], "cut": False}
    values = {"service": service, "lines": found["lines"], "trouble": told.trouble}
    return _page("box-log", name, "services", values, under=f"Log of {service}")


async def _services(visit: Visit, name: str, done: dict[str, Any] | None) -> Page:
    told = await ask_box(visit, "pserver.services", name=name)
    found = told.answer or {"items": []}
    values = {
        "services": found["items"],
        "trouble": told.trouble,
        "done": done,
        "form": Form(),
    }
    return _page("box-services", name, "services", values)


def _page(
    template: str,
    name: str,
    tab: str,
    values: dict[str, Any],
    *,
    live: bool = False,
    under: str = "",
) -> Page:
    up = [P_SERVERS]
    if under:
        up += [(name, local("boxes", "box", name)), ("Services", services_path(name))]
    shown = {"name": name, "tab": tab, **values}
    hears: tuple[Any, ...] = ("box",) if live else ()
    return Page(template, under or name, "boxes", shown, crumbs=tuple(up), hears=hears)


def services_path(name: str) -> str:
    """Give where the services of a box are listed."""
    return local("boxes", "box", name, "services")


ROUTES = (
    Route("GET", "/boxes/box/{}/load", load),
    Route("POST", "/boxes/box/{}/load/monitoring", switch),
    Route("GET", "/boxes/box/{}/packages", packages),
    Route("GET", "/boxes/box/{}/services", services),
    Route("POST", "/boxes/box/{}/services/{}", act),
    Route("GET", "/boxes/box/{}/services/{}/stop", stop_form),
    Route("GET", "/boxes/box/{}/services/{}/log", log),
)
