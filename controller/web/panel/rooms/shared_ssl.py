"""Shared SSL Manager: certificates that names below a domain share (R277, R278).

A key that was sent is shown by no page, the form that was refused included.
"""

import attrs

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, Refusal, RefusedError, Visit

_FIELDS = ("domain", "certificate", "key")
_UP = (("Shared SSL Manager", local("ssl")),)


async def show_all(visit: Visit) -> Page:
    """List what is shared."""
    found = await visit.ask("ssl.list", limit="50", cursor=visit.query.get("cursor"))
    values = {"shared": found["items"], "next": found["next"]}
    return Page("ssl-all", "Shared SSL", "ssl", values, hears=("change",))


async def add_form(visit: Visit) -> Page:
    """Show the form that shares a certificate below a domain."""
    return _add_page(Form.of(*_FIELDS))


async def add(visit: Visit) -> Answer:
    """Share a certificate below a domain that is typed."""
    try:
        return await _upload(visit, visit.form.text("domain"))
    except RefusedError as error:
        return _add_page(_shown_again(visit.form, error.refusal))


async def show(visit: Visit, domain: str) -> Page:
    """Show what is shared below a domain, and the form that replaces it."""
    return await _page(visit, domain, Form.of(*_FIELDS))


async def replace(visit: Visit, domain: str) -> Answer:
    """Install a completely new pair for a domain."""
    try:
        return await _upload(visit, domain)
    except RefusedError as error:
        return await _page(visit, domain, _shown_again(visit.form, error.refusal))


async def delete_form(visit: Visit, domain: str) -> Page:
    """Ask whether to share a certificate no more."""
    return await _delete_page(visit, domain, Form())


async def delete(visit: Visit, domain: str) -> Answer:
    """Share nothing below a domain any more."""
    try:
        done = await visit.write("ssl.delete", domain=domain)
    except RefusedError as error:
        return await _delete_page(visit, domain, visit.form.refused(error.refusal))
    return Redirect(local("ssl", change=done.change_id))


async def _upload(visit: Visit, domain: str) -> Redirect:
    form = visit.form
    done = await visit.write(
        "ssl.upload", domain=domain, certificate=form.text("certificate"), key=form.text("key")
    )
    return Redirect(local("ssl", "domain", done.result["domain"], change=done.change_id))


def _shown_again(form: Form, refusal: Refusal) -> Form:
    texts = {name: values for name, values in form.texts.items() if name != "key"}
    return attrs.evolve(form.refused(refusal, *_FIELDS), texts=texts)


def _add_page(form: Form) -> Page:
    status = form.refusal.status if form.refusal else 200
    values = {"form": form}
    return Page("ssl-add", "Share a certificate", "ssl", values, crumbs=_UP, status=status)


async def _page(visit: Visit, domain: str, form: Form) -> Page:
    shown = await visit.ask("ssl.show", domain=domain)
    status = form.refusal.status if form.refusal else 200
    values = {"shared": shown, "form": form}
    return Page("ssl", shown["domain"], "ssl", values, _UP, hears=("change",), status=status)


async def _delete_page(visit: Visit, domain: str, form: Form) -> Page:
    shown = await visit.ask("ssl.show", domain=domain)
    name = shown["domain"]
    return Page(
        "ssl-delete",
        f"Share nothing below {name}",
        "ssl",
        {"shared": shown, "form": form},
        crumbs=(*_UP, (name, local("ssl", "domain", name))),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/ssl", show_all),
    Route("GET", "/ssl/add", add_form),
    Route("POST", "/ssl/add", add),
    Route("GET", "/ssl/domain/{}", show),
    Route("POST", "/ssl/domain/{}", replace),
    Route("GET", "/ssl/domain/{}/delete", delete_form),
    Route("POST", "/ssl/domain/{}/delete", delete),
)
