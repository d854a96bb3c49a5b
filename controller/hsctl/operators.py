"""``hsctl operator`` and ``hsctl token``: who may ask for what, and shutting them out.

Both are made on the controller's own host: ``hs-controller admin``.
"""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import views
from controller.hsctl.verbs import deletes, reads, writes


@click.group()
def operator() -> None:
    """Operators: the people who run the cluster.

    They are made and let in again on the controller's host: hs-controller admin reset-password NAME
    --create, hs-controller admin enable NAME.

    \b
    hsctl operator list
    """


@operator.command("list")
@reads(
    "operator.list",
    columns=("name", "disabled_at", "has_password", "tokens", "created_at"),
    paged=True,
)
def list_operators() -> Mapping[str, Any]:
    """List the operators, with how many of their tokens work.

    \b
    hsctl operator list
    """
    return {}


@operator.command()
@click.argument("name")
@writes("operator.disable", "operator {name} is shut out", view=views.plain)
def disable(name: str) -> Mapping[str, Any]:
    """Shut an operator out at once: password, sessions, tokens, certificate.

    \b
    hsctl operator disable eve --reason "ticket 4711"
    """
    return {"name": name}


@click.group()
def token() -> None:
    """API tokens of operators. They are made on the controller's host: hs-controller admin token.

    \b
    hsctl token list
    """


@token.command("list")
@click.option("--operator", default="", metavar="NAME", help="Only of this operator.")
@reads(
    "token.list",
    view=dict,  # whole: its number is its name
    columns=("id", "operator", "label", "created_at", "used_at", "expires_at", "revoked_at"),
    paged=True,
    empty="no tokens",
)
def list_tokens(operator: str) -> Mapping[str, Any]:
    """List the tokens, the newest first; never their text, which nobody keeps.

    \b
    hsctl token list --operator admin
    """
    return {"operator": operator}


@token.command()
@click.argument("id", type=click.IntRange(min=1))
@deletes("token.revoke", "token {id}")
def revoke(id: int) -> Mapping[str, Any]:
    """Revoke a token: it is refused from the next request on.

    \b
    hsctl token revoke 7 --yes
    """
    return {"id": id}
