"""The site of a domain: what it does in its own way, and a certificate of its own.

A key that was sent is shown by no page, the form that was refused included.
"""

import attrs

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Field, Form, Refusal, RefusedError, Visit

_SETTINGS = ("index", "redirect_to", "indexes")
_PAIR = ("certificate", "key")


async def show(visit: Visit, name: str) -> Page:
    """Show the forms."""
    return await _page(visit, name)


async def save(visit: Visit, name: str) -> Answer:
    """Save what the site does in its own way."""
    form = visit.form
    try:
        return await _set(
            visit,
            name,
            index=form.lines("index"),
            redirect_to=form.text("redirect_to"),
            indexes=form.text("indexes") or "false",
        )
    except RefusedError as error:
        return await _page(visit, name, settings=form.refused(error.refusal, *_SETTINGS))


async def plain(visit: Visit, name: str) -> Answer:
    """Take all settings back to the server's own."""
    try:
        return await _set(visit, name, plain="true")
    except RefusedError as error:
        return await _page(visit, name, settings=Form().refused(error.refusal))


async def certificate(visit: Visit, name: str) -> Answer:
    """Give the site a certificate and its key."""
    form = visit.form
    try:
        return await _set(
            visit, name, certificate=form.text("certificate"), key=form.text("key") or None
        )
    except RefusedError as error:
        return await _page(visit, name, pair=_without_key(form, error.refusal))


async def drop_certificate(visit: Visit, name: str) -> Answer:
    """Take the site's own certificate away."""
    try:
        return await _set(visit, name, certificate="")
    except RefusedError as error:
        return await _page(visit, name, pair=Form().refused(error.refusal))


async def _set(visit: Visit, name: str, **fields: Field) -> Redirect:
    done = await visit.write("site.set", name=name, **fields)
    return Redirect(local("domains", "domain", name, "site", change=done.change_id))


def _without_key(form: Form, refusal: Refusal) -> Form:
    texts = {name: values for name, values in form.texts.items() if name != "key"}
    return attrs.evolve(form.refused(refusal, *_PAIR), texts=texts)


async def _page(
    visit: Visit, name: str, settings: Form | None = None, pair: Form | None = None
) -> Page:
    domain = await visit.ask("domain.show", name=name)
    site = await visit.ask("site.show", name=name)
    own = site["settings"] or {}
    shown = Form.of(
        *_SETTINGS,
        index="\n".join(own.get("index", ())),
        redirect_to=own.get("redirect_to", ""),
        indexes="true" if own.get("indexes") else "false",
    )
    refusal = next((it.refusal for it in (settings, pair) if it and it.refusal), None)
    return Page(
        "site",
        f"Site of {domain['unicode']}",
        "domains",
        {
            "domain": domain,
            "site": site,
            "form": settings or shown,
            "pair": pair or Form.of(*_PAIR),
        },
        crumbs=(
            ("Domains", local("domains")),
            (domain["unicode"], local("domains", "domain", domain["name"])),
        ),
        status=refusal.status if refusal else 200,
    )


ROUTES = (
    Route("GET", "/domains/domain/{}/site", show),
    Route("POST", "/domains/domain/{}/site", save),
    Route("POST", "/domains/domain/{}/site/plain", plain),
    Route("POST", "/domains/domain/{}/site/certificate", certificate),
    Route("POST", "/domains/domain/{}/site/certificate/drop", drop_certificate),
)
