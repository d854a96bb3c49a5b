"""Whole zones as text: export and import."""

from controller.web.panel.answers import Answer, Download, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit


async def export(visit: Visit, domain: str) -> Download:
    """Give the zone as a master file."""
    zone = await visit.ask("domain.export", name=domain)
    return Download(f"{zone['name']}.zone", zone["text"])


async def import_form(visit: Visit, domain: str) -> Page:
    """Show the form that takes a master file."""
    return await _page(visit, domain, Form.of("text", "replace"))


async def import_(visit: Visit, domain: str) -> Answer:
    """Take the records of a master file."""
    form = visit.form
    text = form.texts_of("text")
    try:
        done = await visit.write(
            "domain.import",
            name=domain,
            text=text[0].replace("\r\n", "\n") if text else "",
            replace="true" if form.text("replace") == "on" else "false",
        )
    except RefusedError as error:
        return await _page(visit, domain, form.refused(error.refusal, "text", "replace"))
    return Redirect(local("domains", "domain", domain, change=done.change_id))


async def _page(visit: Visit, domain: str, form: Form) -> Page:
    shown = await visit.ask("domain.show", name=domain)
    return Page(
        "domain-import",
        "Import a zone file",
        "domains",
        {"domain": shown, "form": form},
        crumbs=(
            ("Domains", local("domains")),
            (shown["unicode"], local("domains", "domain", shown["name"])),
        ),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/domains/domain/{}/export", export),
    Route("GET", "/domains/domain/{}/import", import_form),
    Route("POST", "/domains/domain/{}/import", import_),
)
