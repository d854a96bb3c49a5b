"""Operators and their API tokens: who may ask for what, and shutting them out.

Both are made on the controller's own host: whoever stole a way in, this panel's included, must not
be able to make another one by it. A token's text is known to nobody but who was told it.
"""

from datetime import UTC, datetime
from typing import Any

from controller.web.panel.answers import Answer, Page, Redirect, local
from controller.web.panel.routing import Route
from controller.web.panel.visits import Done, Form, RefusedError, Visit
from controller.web.panel.wording import moment

_UP = (("Operators", local("operators")),)
_SHOWN = "50"


async def show(visit: Visit) -> Page:
    """List operators, and below them the tokens of all, or of one who is named by the query."""
    whose, cursor = visit.query.get("operator", ""), visit.query.get("cursor")
    found = await visit.ask("operator.list", limit=_SHOWN, cursor=cursor)
    older = visit.query.get("older")
    tokens = await visit.ask("token.list", operator=whose, limit=_SHOWN, cursor=older)
    now = datetime.now(UTC)
    values = {
        "operators": found["items"],
        "next": found["next"],
        "cursor": cursor,
        "whose": whose,
        "tokens": [{**token, "state": _state(token, now)} for token in tokens["items"]],
        "next_older": tokens["next"],
        "older": older,
    }
    return Page("operators", "Operators", "operators", values, hears=("change",))


def _state(token: dict[str, Any], now: datetime) -> str:
    if token["revoked_at"]:
        return "revoked"
    ends = moment(token["expires_at"])
    return "expired" if ends is not None and ends <= now else "works"


async def disable_form(visit: Visit, name: str) -> Page:
    """Ask whether to shut an operator out."""
    return await _disable_page(visit, name, Form())


async def disable(visit: Visit, name: str) -> Answer:
    """Shut an operator out; who shuts out himself is signed out by it."""
    try:
        done = await visit.write("operator.disable", name=name)
    except RefusedError as error:
        return await _disable_page(visit, name, visit.form.refused(error.refusal))
    return Redirect(local("operators", change=done.change_id))


async def revoke_form(visit: Visit, number: str) -> Page:
    """Ask whether to revoke a token."""
    return await _revoke_page(visit, number, Form())


async def revoke(visit: Visit, number: str) -> Answer:
    """Revoke a token."""
    try:
        done = await visit.write("token.revoke", id=number)
    except RefusedError as error:
        return await _revoke_page(visit, number, visit.form.refused(error.refusal))
    return Redirect(local("operators", change=done.change_id))


async def _disable_page(visit: Visit, name: str, form: Form) -> Page:
    """Show the page that asks; raises `RefusedError` where there is no such operator."""
    would: Done | None = None
    sent = form.refusal
    try:
        would = await visit.look("operator.disable", name=name)
    except RefusedError as error:
        if error.refusal.status == 404:
            raise
        form = form.refused(error.refusal)
    values = {
        "name": name,
        "you": name == visit.operator,
        "possible": would is not None,
        "already": would is not None and not would.plan.rows,
        "tokens": would.result["revoked_tokens"] if would else 0,
        "form": form,
    }
    return _asking("operator-disable", f"Shut out {name}", values, sent.status if sent else 200)


async def _revoke_page(visit: Visit, number: str, form: Form) -> Page:
    """Show the page that asks; raises `RefusedError` where there is no such token."""
    would = await visit.look("token.revoke", id=number)
    values = {"token": would.result, "already": not would.plan.rows, "form": form}
    status = form.refusal.status if form.refusal else 200
    return _asking("token-revoke", f"Revoke token {would.result['id']}", values, status)


def _asking(template: str, title: str, values: dict[str, Any], status: int) -> Page:
    return Page(template, title, "operators", values, crumbs=_UP, status=status)


ROUTES = (
    Route("GET", "/operators", show),
    Route("GET", "/operators/operator/{}/disable", disable_form),
    Route("POST", "/operators/operator/{}/disable", disable),
    Route("GET", "/operators/tokens/{}/revoke", revoke_form),
    Route("POST", "/operators/tokens/{}/revoke", revoke),
)
