"""The service domain: third-level hosting below it, and the provider's own site (R21, R23)."""

import attrs

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.rooms.choices import accounts_to_choose, servers_to_choose
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_USES = ("third_level", "instant_access")
_FIELDS = (*_USES, "account", "on")
_UP = (("Service domain", local("service")),)


async def show(visit: Visit) -> Page:
    """Show the service domain with the forms that choose what it is for."""
    return await _page(visit, Form.of(*_FIELDS))


async def choose(visit: Visit) -> Answer:
    """Choose what the service domain is for."""
    uses = {use: "true" if visit.form.text(use) == "on" else "false" for use in _USES}
    try:
        done = await visit.write("service.set", **uses)
    except RefusedError as error:
        return await _page(visit, visit.form.refused(error.refusal, *_FIELDS))
    return Redirect(local("service", change=done.change_id))


async def host(visit: Visit) -> Answer:
    """Host the provider's own site."""
    form = visit.form
    try:
        done = await visit.write("service.host", account=form.text("account"), on=form.text("on"))
    except RefusedError as error:
        return await _page(visit, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("service", change=done.change_id))


async def unhost_form(visit: Visit) -> Page:
    """Ask whether to host it no more."""
    return await _unhost_page(visit, Form())


async def unhost(visit: Visit) -> Answer:
    """Host the provider's own site no more."""
    try:
        done = await visit.write("service.unhost")
    except RefusedError as error:
        return await _unhost_page(visit, visit.form.refused(error.refusal))
    return Redirect(local("service", change=done.change_id))


async def _page(visit: Visit, form: Form) -> Page:
    shown = await visit.ask("service.show")
    present = {use: ["on" if shown[use] else "off"] for use in _USES}
    return Page(
        "service",
        "Service domain",
        "service",
        {
            "service": shown,
            "accounts": await accounts_to_choose(visit),
            "servers": await servers_to_choose(visit, "web"),
            "form": attrs.evolve(form, texts={**present, **form.texts}),
        },
        hears=("change",),
        status=form.refusal.status if form.refusal else 200,
    )


async def _unhost_page(visit: Visit, form: Form) -> Page:
    return Page(
        "service-unhost",
        "Host no site at the service domain",
        "service",
        {"service": await visit.ask("service.show"), "form": form},
        crumbs=_UP,
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/service", show),
    Route("POST", "/service", choose),
    Route("POST", "/service/site", host),
    Route("GET", "/service/site/delete", unhost_form),
    Route("POST", "/service/site/delete", unhost),
)
