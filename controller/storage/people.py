"""Operators and their API tokens. Sessions and signing in have modules of their own."""

import re
import secrets
from datetime import datetime
from hashlib import sha256

import attrs

from controller.storage.database import Transaction

TOKEN_PREFIX = "hs_"  # noqa: S105 how every token begins, so that scanners for secrets find it
_NAME = re.compile(r"^[a-z][a-z0-9._-]{0,63}$")
_MAX_LABEL = 200
LAST = 2**63 - 1
"""The highest number that anything can have."""
_ENTRY = """
SELECT t.id, o.name, t.label, t.created_at, t.expires_at, t.revoked_at, t.used_at
FROM api_token t JOIN operator o ON o.id = t.operator_id"""


@attrs.frozen
class Operator:
    """A person of the provider's. ``password_hash`` None: signs in by certificate or token only."""

    id: int
    name: str
    disabled: bool
    password_hash: str | None = attrs.field(default=None, repr=False)


def is_operator_name(name: str) -> bool:
    """Tell whether ``name`` can name an operator: 1 to 64 of a-z, 0-9, ``.``, ``_``, ``-``."""
    return bool(_NAME.match(name))


async def create_operator(tx: Transaction, name: str, password_hash: str | None) -> Operator:
    """Add an operator; raises ValueError, psycopg2.errors.UniqueViolation."""
    if not is_operator_name(name):
        raise ValueError(f"not an operator's name: {name!r}")
    (number,) = await tx.row(
        "INSERT INTO operator (name, password_hash) VALUES (%s, %s) RETURNING id",
        (name, password_hash),
    )
    return Operator(number, name, False, password_hash)


async def find_operator(tx: Transaction, name: str) -> Operator | None:
    """Give the operator of that name, disabled or not, or None."""
    row = await tx.maybe(
        "SELECT id, name, disabled_at IS NOT NULL, password_hash FROM operator WHERE name = %s",
        (name,),
    )
    return None if row is None else Operator(*row)


async def operator_enabled(tx: Transaction, name: str) -> bool:
    """Tell whether the operator exists and is not disabled."""
    found = await find_operator(tx, name)
    return found is not None and not found.disabled


async def list_operators(tx: Transaction) -> list[Operator]:
    """Give every operator by name; without password hashes."""
    rows = await tx.rows("SELECT id, name, disabled_at IS NOT NULL FROM operator ORDER BY name")
    return [Operator(*row) for row in rows]


async def set_password(tx: Transaction, name: str, password_hash: str) -> None:
    """Replace the password; ends every web session of the operator. Raises LookupError."""
    (number,) = await tx.row(
        "UPDATE operator SET password_hash = %s WHERE name = %s RETURNING id",
        (password_hash, name),
    )
    await tx.run("DELETE FROM web_session WHERE operator_id = %s", (number,))


async def disable_operator(tx: Transaction, name: str) -> int:
    """Shut an operator out: password, sessions, tokens; give how many tokens worked until now.

    Raises LookupError.
    """
    (number,) = await tx.row(
        "UPDATE operator SET disabled_at = coalesce(disabled_at, now()) WHERE name = %s"
        " RETURNING id",
        (name,),
    )
    await tx.run("DELETE FROM web_session WHERE operator_id = %s", (number,))
    return await tx.run(
        "UPDATE api_token SET revoked_at = now() WHERE operator_id = %s AND revoked_at IS NULL",
        (number,),
    )


async def enable_operator(tx: Transaction, name: str) -> None:
    """Let an operator in again, by the former password; tokens stay revoked. Raises LookupError."""
    await tx.row("UPDATE operator SET disabled_at = NULL WHERE name = %s RETURNING id", (name,))


async def create_token(
    tx: Transaction, name: str, label: str, *, expires_at: datetime | None = None
) -> str:
    """Make an API token for an operator and give it: it is shown once, only its digest is kept.

    Raises LookupError for an unknown or disabled operator.
    """
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    await tx.row(
        "INSERT INTO api_token (operator_id, label, digest, expires_at)"
        " SELECT id, %s, %s, %s FROM operator WHERE name = %s AND disabled_at IS NULL RETURNING id",
        (label[:_MAX_LABEL], digest_of(token), expires_at, name),
    )
    return token


async def operator_of_token(tx: Transaction, token: str) -> str | None:
    """Give the name of a token's operator; None: unknown, expired, revoked, operator disabled."""
    row = await tx.maybe(
        "SELECT o.name FROM api_token t JOIN operator o ON o.id = t.operator_id"
        " WHERE t.digest = %s AND t.revoked_at IS NULL AND o.disabled_at IS NULL"
        " AND (t.expires_at IS NULL OR t.expires_at > now())",
        (digest_of(token),),
    )
    return None if row is None else str(row[0])


async def note_use(tx: Transaction, digest: bytes) -> None:
    """Note that a token was used now."""
    await tx.run("UPDATE api_token SET used_at = now() WHERE digest = %s", (digest,))


@attrs.frozen
class TokenEntry:
    """A token as lists show it."""

    id: int
    operator: str
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    """To within an hour; None: never, or not since this is noted."""


async def list_tokens(
    tx: Transaction, operator: str, *, before: int = LAST, most: int | None = None
) -> list[TokenEntry]:
    """Give the newest tokens with lower numbers: an operator's, or everybody's (``""``)."""
    rows = await tx.rows(
        f"{_ENTRY} WHERE t.id < %s AND %s IN ('', o.name) ORDER BY t.id DESC LIMIT %s",
        (before, operator, most),
    )
    return [TokenEntry(*row) for row in rows]


async def lock_token(tx: Transaction, token_id: int) -> TokenEntry | None:
    """Give one token, which nobody else changes until the transaction ends."""
    row = await tx.maybe(f"{_ENTRY} WHERE t.id = %s FOR UPDATE OF t", (min(token_id, LAST),))
    return None if row is None else TokenEntry(*row)


async def revoke_token(tx: Transaction, name: str, token_id: int) -> bool:
    """Revoke one token of an operator's; False where there is no such live token."""
    touched = await tx.run(
        "UPDATE api_token t SET revoked_at = now() FROM operator o WHERE o.id = t.operator_id"
        " AND o.name = %s AND t.id = %s AND t.revoked_at IS NULL",
        (name, token_id),
    )
    return touched == 1


def digest_of(word: str) -> bytes:
    """Give what is kept of a random word: 256 random bits need no salt and no slow hash."""
    return sha256(word.encode("utf-8", "surrogatepass")).digest()
