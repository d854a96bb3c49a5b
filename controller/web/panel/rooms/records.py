"""The records of a domain: add one, change or delete all of one name and type (R29)."""

from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.rooms.domains import RECORD_FIELDS, domain_page
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit


async def add(visit: Visit, domain: str) -> Answer:
    """Add a record."""
    form = visit.form
    try:
        done = await visit.write(
            "record.add",
            domain=domain,
            name=form.text("name"),
            type=form.text("type"),
            values=[form.text("values")],
            ttl=form.text("ttl") or None,
        )
    except RefusedError as error:
        return await domain_page(visit, domain, form.refused(error.refusal, *RECORD_FIELDS))
    return _back(domain, done.change_id)


async def change_form(visit: Visit, domain: str) -> Page:
    """Show all records of one name and type, to be changed."""
    name, type_ = visit.query.get("name", "@"), visit.query.get("type", "")
    found = await _records(visit, domain, name, type_)
    form = Form.of(
        "values",
        "ttl",
        name=name,
        type=type_,
        values="\n".join(row["data"] for row in found),
        ttl=str(found[0]["ttl"]) if found else "",
    )
    return await _page(visit, domain, "record", "Change", form)


async def change(visit: Visit, domain: str) -> Answer:
    """Give one name and type exactly these records."""
    form = visit.form
    try:
        done = await visit.write(
            "record.set",
            domain=domain,
            name=form.text("name"),
            type=form.text("type"),
            values=form.lines("values"),
            ttl=form.text("ttl") or None,
        )
    except RefusedError as error:
        return await _page(
            visit, domain, "record", "Change", form.refused(error.refusal, "values", "ttl")
        )
    return _back(domain, done.change_id)


async def delete_form(visit: Visit, domain: str) -> Page:
    """Ask whether to delete all records of one name and type."""
    name, type_ = visit.query.get("name", "@"), visit.query.get("type", "")
    return await _page(visit, domain, "record-delete", "Delete", Form.of(name=name, type=type_))


async def delete(visit: Visit, domain: str) -> Answer:
    """Delete the records that the page named."""
    form = visit.form
    try:
        done = await visit.write(
            "record.delete",
            domain=domain,
            name=form.text("name"),
            type=form.text("type"),
            values=form.texts_of("values"),
        )
    except RefusedError as error:
        return await _page(visit, domain, "record-delete", "Delete", form.refused(error.refusal))
    return _back(domain, done.change_id)


async def _records(visit: Visit, domain: str, name: str, type_: str) -> list[dict[str, Any]]:
    found = await visit.ask("record.list", domain=domain, name=name, type=type_, limit="1000")
    items: list[dict[str, Any]] = found["items"]
    return items


async def _page(visit: Visit, domain: str, template: str, verb: str, form: Form) -> Page:
    shown = await visit.ask("domain.show", name=domain)
    name, type_ = form.text("name") or "@", form.text("type")
    return Page(
        template,
        f"{verb} {name} {type_}",
        "domains",
        {
            "domain": shown,
            "form": form,
            "name": name,
            "type": type_,
            "records": await _records(visit, domain, name, type_),
        },
        crumbs=(
            ("Domains", local("domains")),
            (shown["unicode"], local("domains", "domain", shown["name"])),
        ),
        status=form.refusal.status if form.refusal else 200,
    )


def _back(domain: str, change_id: int | None) -> Redirect:
    return Redirect(local("domains", "domain", domain, change=change_id))


ROUTES = (
    Route("POST", "/domains/domain/{}/records", add),
    Route("GET", "/domains/domain/{}/records/change", change_form),
    Route("POST", "/domains/domain/{}/records/change", change),
    Route("GET", "/domains/domain/{}/records/delete", delete_form),
    Route("POST", "/domains/domain/{}/records/delete", delete),
)
