"""Who asks: the principal behind a request, and whether it may ask for a command.

The API knows two ways in, and takes no cookie (S27): a token in ``Authorization: Bearer``, or the
operator's own certificate on the TLS connection. The decision is made before the path is looked at,
so no spelling of a path can be outside it (S2).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import attrs
from OpenSSL import SSL
from twisted.web.http import Request

from controller.commands import Permission
from controller.principal import Principal
from controller.web.problems import problem
from pki.policy import PeerRefusedError, optional_peer

_BEARER = re.compile(rb"^[Bb]earer +([A-Za-z0-9_~.+/=-]{16,256})$")

TokenLookup = Callable[[str], Awaitable[str | None]]
"""A token's text to the name of its operator; None where it is unknown, expired or revoked."""


OperatorLookup = Callable[[str], Awaitable[bool]]
"""Whether the operator of a certificate exists and is not disabled."""


@attrs.frozen
class Authenticator:
    """Finds the principal of a request."""

    token_operator: TokenLookup
    operator_enabled: OperatorLookup

    async def principal(self, request: Request) -> Principal:
        """Give who asks.

        Raises `ProblemError` 401 where nobody is signed in or the two ways in contradict.
        """
        address: Any = request.getClientAddress()  # type: ignore[no-untyped-call]
        origin = f"api {address.host}"
        header = request.requestHeaders.getRawHeaders(b"authorization")
        if header is not None:
            token = _BEARER.match(header[0]) if len(header) == 1 else None
            operator = await self.token_operator(token[1].decode("ascii")) if token else None
            if operator is None:
                raise _sign_in("the token is not known, has expired or was revoked")
            return Principal("provider", f"operator:{operator}", origin=origin)
        name = _certificate_operator(request)
        if name is None:
            raise _sign_in("send a token, or an operator's certificate")
        _refuse_foreign_page(request)
        if not await self.operator_enabled(name):
            raise _sign_in("this operator may not sign in")
        return Principal("provider", f"operator:{name}", origin=origin)


def check_permission(principal: Principal, permission: Permission) -> None:
    """Refuse with 403 what ``principal`` may not ask for.

    A provider's operator may ask for everything, an account only for what is its own.
    """
    if principal.kind == "account" and not permission.startswith("account."):
        raise problem(403, "permission.missing", "this needs a permission that you do not have")


def _certificate_operator(request: Request) -> str | None:
    connection = getattr(request.channel.transport, "getHandle", lambda: None)()
    if not isinstance(connection, SSL.Connection):
        return None
    try:
        peer = optional_peer(connection)  # asks the deny-list again: a live connection ends too
    except PeerRefusedError as error:
        raise _sign_in(str(error)) from None
    return peer.name.subject if peer is not None and peer.name.role == "operator" else None


def _refuse_foreign_page(request: Request) -> None:
    """A browser sends its certificate for any page that asks: take none from a foreign one."""
    origin = request.requestHeaders.getRawHeaders(b"origin")
    site = request.requestHeaders.getRawHeaders(b"sec-fetch-site")
    host = request.requestHeaders.getRawHeaders(b"host") or [b""]
    same = origin is None or urlsplit(origin[0]).netloc == host[0]
    if not same or (site is not None and site[0] not in (b"same-origin", b"none")):
        raise problem(403, "request.origin", "a page of another site asked for this")


def _sign_in(detail: str) -> Exception:
    return problem(
        401,
        "sign-in.needed",
        detail,
        allowed="a token: hsctl login URL --token TOKEN",
        headers={"WWW-Authenticate": 'Bearer realm="heliosphere"'},
    )
