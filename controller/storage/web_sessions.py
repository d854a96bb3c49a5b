"""Web sessions: a random cookie whose digest names a row of typed columns, nothing else (S21).

A session never changes its operator: signing in ends the old one and begins another.
"""

import hmac
import secrets

import attrs

from controller.storage.database import Transaction
from controller.storage.people import digest_of

LIFETIME_HOURS = 12
IDLE_MINUTES = 60
_TOUCH_SECONDS = 60
"""How stale the last use may be on disk: a write for every page would cost more than it tells."""


@attrs.frozen
class WebSession:
    """A live session. ``operator`` None: nobody has signed in."""

    operator: str | None
    csrf: str = attrs.field(repr=False)
    """Hexadecimal; every form carries it."""

    def accepts(self, csrf: str) -> bool:
        """Tell whether a form's value is this session's (S27), in constant time."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "surrogatepass"))


@attrs.frozen
class NewSession:
    """A session just begun, with the cookie's value: it is not kept and cannot be had again."""

    cookie: str = attrs.field(repr=False)
    session: WebSession


async def begin_session(tx: Transaction, operator: str | None = None) -> NewSession:
    """Begin a session; raises LookupError for an unknown or disabled operator."""
    cookie, csrf = secrets.token_urlsafe(32), secrets.token_bytes(32)
    values = (digest_of(cookie), csrf, LIFETIME_HOURS)
    if operator is None:
        await tx.run(
            "INSERT INTO web_session (digest, csrf, expires_at)"
            " VALUES (%s, %s, now() + make_interval(hours => %s))",
            values,
        )
    else:
        await tx.row(
            "INSERT INTO web_session (digest, csrf, expires_at, operator_id)"
            " SELECT %s, %s, now() + make_interval(hours => %s), id FROM operator"
            " WHERE name = %s AND disabled_at IS NULL RETURNING 1",
            (*values, operator),
        )
    return NewSession(cookie, WebSession(operator, csrf.hex()))


async def sign_in_session(tx: Transaction, cookie: str | None, operator: str) -> NewSession:
    """End the session before sign-in, if any, and begin the operator's: a new cookie (S21)."""
    if cookie is not None:
        await end_session(tx, cookie)
    return await begin_session(tx, operator)


async def find_session(tx: Transaction, cookie: str, *, touch: bool = True) -> WebSession | None:
    """Give the live session of a cookie; None: unknown, ended, expired, operator disabled.

    ``touch`` False is for what a page asks for by itself: an open page does not keep a session.
    """
    digest = digest_of(cookie)
    row = await tx.maybe(
        "SELECT o.name, s.csrf, s.seen_at < now() - make_interval(secs => %s)"
        " FROM web_session s LEFT JOIN operator o ON o.id = s.operator_id"
        " WHERE s.digest = %s AND s.expires_at > now() AND o.disabled_at IS NULL"
        " AND s.seen_at > now() - make_interval(mins => %s)",
        (_TOUCH_SECONDS, digest, IDLE_MINUTES),
    )
    if row is None:
        return None
    operator, csrf, stale = row
    if stale and touch:
        await tx.run("UPDATE web_session SET seen_at = now() WHERE digest = %s", (digest,))
    return WebSession(operator, csrf.hex())


async def end_session(tx: Transaction, cookie: str) -> None:
    """End a session; one that is not there is no error."""
    await tx.run("DELETE FROM web_session WHERE digest = %s", (digest_of(cookie),))


async def purge_sessions(tx: Transaction) -> int:
    """Forget ended sessions; give how many."""
    return await tx.run(
        "DELETE FROM web_session WHERE expires_at < now()"
        " OR seen_at < now() - make_interval(mins => %s)",
        (IDLE_MINUTES,),
    )
