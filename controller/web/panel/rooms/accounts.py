"""Accounts: list, add, show, delete."""

from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Form, RefusedError, Visit

_UP = (("Accounts", local("accounts")),)


async def show_all(visit: Visit) -> Page:
    """List accounts."""
    wanted = visit.query.get("filter", "")
    found = await visit.ask(
        "account.list", filter=wanted, limit="50", cursor=visit.query.get("cursor")
    )
    values = {"accounts": found["items"], "next": found["next"], "filter": wanted}
    return Page("accounts", "Accounts", "accounts", values, hears=("change",))


async def add_form(visit: Visit) -> Page:
    """Show the form that adds an account."""
    return _add_page(Form.of("name"))


async def add(visit: Visit) -> Answer:
    """Add an account."""
    try:
        done = await visit.write("account.add", name=visit.form.text("name"))
    except RefusedError as error:
        return _add_page(visit.form.refused(error.refusal, "name"))
    return Redirect(local("accounts", "account", done.result["name"], change=done.change_id))


async def show(visit: Visit, name: str) -> Page:
    """Show an account with its domains."""
    account = await visit.ask("account.show", name=name)
    domains = await visit.ask(
        "domain.list", account=account["name"], limit="50", cursor=visit.query.get("cursor")
    )
    values = {"account": account, "domains": domains["items"], "next": domains["next"]}
    return Page("account", account["name"], "accounts", values, crumbs=_UP, hears=("change",))


async def delete_form(visit: Visit, name: str) -> Page:
    """Ask whether to delete an account."""
    return _delete_page(await visit.ask("account.show", name=name), Form())


async def delete(visit: Visit, name: str) -> Answer:
    """Delete an account that has no domains."""
    try:
        done = await visit.write("account.delete", name=name)
    except RefusedError as error:
        account = await visit.ask("account.show", name=name)
        return _delete_page(account, visit.form.refused(error.refusal))
    return Redirect(local("accounts", change=done.change_id))


def _add_page(form: Form) -> Page:
    status = form.refusal.status if form.refusal else 200
    return Page(
        "account-add", "Add an account", "accounts", {"form": form}, crumbs=_UP, status=status
    )


def _delete_page(account: dict[str, Any], form: Form) -> Page:
    name = account["name"]
    return Page(
        "account-delete",
        f"Delete {name}",
        "accounts",
        {"account": account, "form": form},
        crumbs=(*_UP, (name, local("accounts", "account", name))),
        status=form.refusal.status if form.refusal else 200,
    )


ROUTES = (
    Route("GET", "/accounts", show_all),
    Route("GET", "/accounts/add", add_form),
    Route("POST", "/accounts/add", add),
    Route("GET", "/accounts/account/{}", show),
    Route("GET", "/accounts/account/{}/delete", delete_form),
    Route("POST", "/accounts/account/{}/delete", delete),
)
