"""Accounts: the commands ``account.*`` (R66 to R79)."""

import re
from typing import Any

import attrs

from controller.commands import Command, Work
from controller.moments import time_text
from controller.pages import after_text, limit, page, prefix_range
from controller.refusal import CommandError
from controller.storage.database import Transaction

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


@attrs.frozen
class NamedAccount:
    """An account by its name."""

    name: str


@attrs.frozen
class ListAccounts:
    """A page of accounts whose name begins with ``filter``."""

    filter: str = ""
    limit: int = 100
    cursor: str = ""


def account_name(text: str) -> str:
    """Read the name of an account; raises `CommandError` ``account.name.invalid``."""
    name = text.lower()
    if not _NAME.fullmatch(name):
        raise CommandError(
            "account.name.invalid",
            "not the name of an account",
            field="name",
            value=text,
            allowed="1 to 64 of a-z, 0-9, dot, hyphen, underscore; letters or digits at its ends",
        )
    return name


async def find_account(tx: Transaction, name: str, *, field: str = "name") -> tuple[int, str]:
    """Give the numeric id (R72) and the name; raises `CommandError` ``account.unknown``."""
    row = await tx.maybe("SELECT id, name FROM account WHERE name = %s", (name.lower(),))
    if row is None:
        raise CommandError(
            "account.unknown",
            "no account has this name",
            field=field,
            value=name,
            allowed="hsctl account list shows the accounts, hsctl account add makes one",
            status=404,
        )
    return int(row[0]), row[1]


_SHOW = """
SELECT a.id, a.name, a.created_at, a.version,
       (SELECT count(*) FROM domain d WHERE d.owner_id = a.id) FROM account a
"""


def _shown(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[0],
        "name": row[1],
        "created_at": time_text(row[2]),
        "version": row[3],
        "domains": row[4],
    }


async def add(work: Work, request: NamedAccount) -> dict[str, Any]:
    """Add an account."""
    name = account_name(request.name)
    (account_id,) = await work.tx.row(
        "INSERT INTO account (name) VALUES (%s) RETURNING id", (name,)
    )
    account = {"id": account_id, "name": name}
    work.change.row("account", name, None, account)
    return account


async def restore(work: Work, account_id: int, name: str) -> None:
    """Bring back an account that was deleted, with the id that it had; raises `CommandError`."""
    if await work.tx.maybe("SELECT 1 FROM account WHERE name = %s", (name,)) is not None:
        raise CommandError(
            "account.name.taken",
            "another account has this name now",
            field="name",
            value=name,
            allowed=f"delete the new {name} first, or leave it as it is",
            status=409,
        )
    await work.tx.run(
        "INSERT INTO account (id, name) OVERRIDING SYSTEM VALUE VALUES (%s, %s)",
        (account_id, name),
    )
    work.change.row("account", name, None, {"id": account_id, "name": name})


async def list_accounts(work: Work, request: ListAccounts) -> dict[str, Any]:
    """List accounts by name."""
    size = limit(request.limit)
    first, last = prefix_range(request.filter.lower())
    found = await work.tx.rows(
        f"{_SHOW} WHERE a.name > %s AND a.name >= %s AND a.name < %s ORDER BY a.name LIMIT %s",
        (after_text(request.cursor), first, last, size + 1),
    )
    return page([_shown(row) for row in found], size, lambda item: str(item["name"]))


async def show(work: Work, request: NamedAccount) -> dict[str, Any]:
    """Show one account."""
    account_id, _ = await find_account(work.tx, request.name)
    return _shown(await work.tx.lock(f"{_SHOW} WHERE a.id = %s", (account_id,)))


async def delete(work: Work, request: NamedAccount) -> dict[str, Any]:
    """Delete an account that has no domains."""
    account_id, name = await find_account(work.tx, request.name)
    # The row lock keeps out a domain that is being added to the account at this moment.
    await work.tx.lock("SELECT 1 FROM account WHERE id = %s FOR UPDATE", (account_id,))
    domains = await work.tx.rows(
        """SELECT d.name, d.name = c.service_domain FROM domain d, cluster c
           WHERE d.owner_id = %s ORDER BY d.name LIMIT 6""",
        (account_id,),
    )
    if domains:
        listed = ", ".join(
            f"the provider's own site (hsctl service unhost, {domain})" if own else domain
            for domain, own in domains[:5]
        )
        raise CommandError(
            "account.in-use",
            "the account has domains",
            field="name",
            value=name,
            allowed=f"delete {listed}{' and others' if len(domains) > 5 else ''} first",
            status=409,
        )
    await work.tx.run("DELETE FROM account WHERE id = %s", (account_id,))
    work.change.row("account", name, {"id": account_id, "name": name}, None)
    return {"name": name}


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "account.add", "POST", "/accounts", NamedAccount, "provider.write", "Add an account", add
    ),
    Command(
        "account.list",
        "GET",
        "/accounts",
        ListAccounts,
        "provider.read",
        "List accounts",
        list_accounts,
    ),
    Command(
        "account.show",
        "GET",
        "/accounts/{name}",
        NamedAccount,
        "provider.read",
        "Show an account",
        show,
    ),
    Command(
        "account.delete",
        "DELETE",
        "/accounts/{name}",
        NamedAccount,
        "provider.write",
        "Delete an account that has no domains",
        delete,
    ),
)
