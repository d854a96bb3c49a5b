"""Domains: list, add, show with records and name servers, delete (R74 to R78)."""

from itertools import groupby
from typing import Any

from controller import names
from controller.hosting.records import TYPES
from controller.refusal import CommandError
from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.rooms.choices import accounts_to_choose, servers_to_choose
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_UP = (("Domains", local("domains")),)
_FIELDS = ("name", "account", "on")
_RECORDS = 200
RECORD_FIELDS = ("name", "type", "values", "ttl")


async def show_all(visit: Visit) -> Page:
    """List domains, those beginning with what is looked for."""
    wanted = visit.query.get("filter", "").strip()
    found = await visit.ask(
        "domain.list", filter=_stored(wanted), limit="50", cursor=visit.query.get("cursor")
    )
    values = {"domains": found["items"], "next": found["next"], "filter": wanted}
    return Page("domains", "Domains", "domains", values, hears=("change",))


def _stored(text: str) -> str:
    """Give a search in the form that names are stored in."""
    if text.isascii():
        return text.lower()
    try:
        labels = names.labels_to_ascii(
            text.rstrip("."), value=text, field="filter", error_id="domain.name.invalid"
        )
    except CommandError:
        return text.lower()
    return ".".join(labels)


async def add_form(visit: Visit) -> Page:
    """Show the form that adds a domain."""
    return await _add_page(visit, Form.of(*_FIELDS, account=visit.query.get("account", "")))


async def add(visit: Visit) -> Answer:
    """Add a domain, then show it going live."""
    form = visit.form
    try:
        done = await visit.write(
            "domain.add", name=form.text("name"), account=form.text("account"), on=form.text("on")
        )
    except RefusedError as error:
        return await _add_page(visit, form.refused(error.refusal, *_FIELDS))
    return Redirect(local("domains", "domain", done.result["name"], change=done.change_id))


async def show(visit: Visit, name: str) -> Page:
    """Show a domain: name servers, site, records."""
    return await domain_page(visit, name)


async def domain_page(visit: Visit, name: str, form: Form | None = None) -> Page:
    """Give the page of a domain; ``form`` is the refused form of a record."""
    domain = await visit.ask("domain.show", name=name)
    found = await visit.ask(
        "record.list",
        domain=domain["name"],
        limit=str(_RECORDS),
        cursor=visit.query.get("cursor"),
    )
    return Page(
        "domain",
        domain["unicode"],
        "domains",
        {
            "domain": domain,
            "rrsets": rrsets(found["items"], domain["name"]),
            "next": found["next"],
            "types": TYPES,
            "form": form or Form.of(*RECORD_FIELDS, type="A"),
        },
        crumbs=_UP,
        hears=("change",),
        status=form.refusal.status if form and form.refusal else 200,
    )


def rrsets(records: list[dict[str, Any]], zone: str) -> list[dict[str, Any]]:
    """Put the records of one name and type together; say which the system keeps."""
    return [
        {
            "name": name,
            "type": type_,
            "ttl": found[0]["ttl"],
            "values": [row["data"] for row in found],
            "fqdn": found[0]["fqdn"],
            "kept": type_ == "SOA" or (name == "@" and type_ == "NS"),
        }
        for (name, type_), rows in groupby(records, key=lambda row: (row["name"], row["type"]))
        if (found := list(rows))
    ]


async def delete_form(visit: Visit, name: str) -> Page:
    """Ask whether to delete a domain, saying what goes with it."""
    return _delete_page(await visit.ask("domain.show", name=name), Form())


async def delete(visit: Visit, name: str) -> Answer:
    """Delete a domain with its zone and its site."""
    try:
        done = await visit.write("domain.delete", name=name)
    except RefusedError as error:
        domain = await visit.ask("domain.show", name=name)
        return _delete_page(domain, visit.form.refused(error.refusal))
    return Redirect(local("domains", change=done.change_id))


async def address_form(visit: Visit, name: str) -> Page:
    """Ask whether the site shall have a dedicated address, or give it back."""
    return _address_page(await visit.ask("domain.show", name=name), Form.of("tag"))


async def address(visit: Visit, name: str) -> Answer:
    """Give the site a dedicated address, or a shared one (R329, R351)."""
    form = visit.form
    try:
        done = await visit.write(
            "site.address", name=name, type=form.text("type"), tag=form.text("tag") or None
        )
    except RefusedError as error:
        domain = await visit.ask("domain.show", name=name)
        return _address_page(domain, form.refused(error.refusal, "tag"))
    return Redirect(local("domains", "domain", name, change=done.change_id))


def _address_page(domain: dict[str, Any], form: Form) -> Page:
    return Page(
        "site-address",
        f"Address of {domain['unicode']}",
        "domains",
        {"domain": domain, "site": domain["site"], "form": form},
        crumbs=(*_UP, (domain["unicode"], local("domains", "domain", domain["name"]))),
        status=form.refusal.status if form.refusal else 200,
    )


async def _add_page(visit: Visit, form: Form) -> Page:
    values = {
        "form": form,
        "accounts": await accounts_to_choose(visit),
        "servers": await servers_to_choose(visit, "web"),
    }
    status = form.refusal.status if form.refusal else 200
    return Page("domain-add", "Add a domain", "domains", values, crumbs=_UP, status=status)


def _delete_page(domain: dict[str, Any], form: Form) -> Page:
    return Page(
        "domain-delete",
        f"Delete {domain['unicode']}",
        "domains",
        {"domain": domain, "form": form},
        crumbs=(*_UP, (domain["unicode"], local("domains", "domain", domain["name"]))),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/domains", show_all),
    Route("GET", "/domains/add", add_form),
    Route("POST", "/domains/add", add),
    Route("GET", "/domains/domain/{}", show),
    Route("GET", "/domains/domain/{}/address", address_form),
    Route("POST", "/domains/domain/{}/address", address),
    Route("GET", "/domains/domain/{}/delete", delete_form),
    Route("POST", "/domains/domain/{}/delete", delete),
)
