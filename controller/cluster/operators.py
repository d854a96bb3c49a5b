"""Who may ask for what: the commands ``operator.*`` and ``token.*``, which only take away.

Operators and tokens are made on the controller's own host (``hs-controller admin``): whoever stole
a way in must not be able to make another one by it.
"""

from typing import Any

import attrs

from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_number, after_text, limit, page
from controller.refusal import CommandError
from controller.storage import people


@attrs.frozen
class ListOperators:
    """A page of operators."""

    limit: int = 100
    cursor: str = ""


@attrs.frozen
class NamedOperator:
    """An operator by name."""

    name: str


@attrs.frozen
class ListTokens:
    """A page of API tokens, newest first, of one operator where given; never the tokens' text."""

    operator: str = ""
    limit: int = 100
    cursor: str = ""


@attrs.frozen
class NumberedToken:
    """A token by its number in the list."""

    id: int


async def list_operators(work: Work, request: ListOperators) -> dict[str, Any]:
    """List operators by name, with how many of their tokens work."""
    size = limit(request.limit)
    found = await work.tx.rows(
        """SELECT o.name, o.disabled_at, o.password_hash IS NOT NULL, o.created_at,
                  (SELECT count(*) FROM api_token t WHERE t.operator_id = o.id
                   AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now()))
           FROM operator o WHERE o.name > %s ORDER BY o.name LIMIT %s""",
        (after_text(request.cursor), size + 1),
    )
    items = [
        {
            "name": row[0],
            "disabled_at": time_text(row[1]),
            "has_password": row[2],
            "tokens": row[4],
            "created_at": time_text(row[3]),
        }
        for row in found
    ]
    return page(items, size, lambda item: str(item["name"]))


async def disable(work: Work, request: NamedOperator) -> dict[str, Any]:
    """Shut an operator out: password, sessions, tokens, certificate. The last one is kept."""
    found = await work.tx.rows(
        "SELECT name, disabled_at IS NOT NULL FROM operator ORDER BY id FOR UPDATE"
    )
    disabled = dict(found)
    if request.name not in disabled:
        raise CommandError(
            "operator.unknown",
            "no operator has this name",
            field="name",
            value=request.name,
            allowed="hsctl operator list shows the operators",
            status=404,
        )
    if disabled[request.name]:
        return {"name": request.name, "revoked_tokens": 0}
    if sum(not gone for gone in disabled.values()) == 1:
        raise CommandError(
            "operator.last",
            "this is the only operator who may sign in",
            field="name",
            value=request.name,
            allowed="make another one first, on the controller's host: "
            "hs-controller admin reset-password NAME --create",
            status=409,
        )
    revoked = await people.disable_operator(work.tx, request.name)
    work.change.row("operator", request.name, {"disabled": False}, {"disabled": True})
    return {"name": request.name, "revoked_tokens": revoked}


async def list_tokens(work: Work, request: ListTokens) -> dict[str, Any]:
    """List tokens with their operators, labels and ends."""
    size = limit(request.limit)
    before = after_number(request.cursor, people.LAST)
    found = await people.list_tokens(work.tx, request.operator, before=before, most=size + 1)
    return page([_shown(token) for token in found], size, lambda item: int(item["id"]))


async def revoke(work: Work, request: NumberedToken) -> dict[str, Any]:
    """Revoke a token: it is refused from the next request on."""
    token = await people.lock_token(work.tx, request.id)
    if token is None:
        raise CommandError(
            "token.unknown",
            "no token has this number",
            field="id",
            value=str(request.id),
            allowed="hsctl token list shows the tokens",
            status=404,
        )
    if await people.revoke_token(work.tx, token.operator, token.id):
        before = {"operator": token.operator, "label": token.label, "revoked": False}
        work.change.row("api_token", token.id, before, {**before, "revoked": True})
    return {"id": token.id, "operator": token.operator, "label": token.label}


def _shown(token: people.TokenEntry) -> dict[str, Any]:
    return {
        "id": token.id,
        "operator": token.operator,
        "label": token.label,
        "created_at": time_text(token.created_at),
        "expires_at": time_text(token.expires_at),
        "revoked_at": time_text(token.revoked_at),
        "used_at": time_text(token.used_at),
    }


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "operator.list",
        "GET",
        "/operators",
        ListOperators,
        "provider.read",
        "List operators",
        list_operators,
    ),
    Command(
        "operator.disable",
        "PUT",
        "/operators/{name}/disabled",
        NamedOperator,
        "provider.write",
        "Shut an operator out",
        disable,
        "Ends sessions and revokes tokens at once. Operators are made, and let in again, on the"
        " controller's host alone.",
    ),
    Command(
        "token.list",
        "GET",
        "/tokens",
        ListTokens,
        "provider.read",
        "List API tokens, without their text",
        list_tokens,
    ),
    Command(
        "token.revoke",
        "DELETE",
        "/tokens/{id}",
        NumberedToken,
        "provider.write",
        "Revoke an API token",
        revoke,
    ),
)
