"""What the database's unique constraints mean to a person.

The rule is the constraint, not a read before it: of two that ask at once one is refused.
"""

from typing import Any

import attrs
import psycopg2.errors

from controller.refusal import CommandError


@attrs.frozen
class _Taken:
    id: str
    field: str
    message: str
    allowed: str


_DOMAIN_TAKEN = _Taken(
    "domain.name.taken",
    "name",
    "the domain is hosted here already",
    "a domain that is not hosted here",
)
_ONE = "delete the present one first"
_TAKEN = {
    "box_name_key": _Taken(
        "pserver.name.taken", "name", "a box has this name", "a name that no box has"
    ),
    "logical_server_name_key": _Taken(
        "lserver.name.taken",
        "name",
        "a logical server has this name",
        "a name that no logical server has",
    ),
    "account_name_key": _Taken(
        "account.name.taken", "name", "an account has this name", "a name that no account has"
    ),
    "domain_name_key": _DOMAIN_TAKEN,
    "domain_reversed": _DOMAIN_TAKEN,
    "zone_name_key": attrs.evolve(_DOMAIN_TAKEN, message="the zone is served here already"),
    "ip_address_address_port_key": _Taken(
        "ip.endpoint.taken",
        "ip",
        "the address and port are used by another server (R354)",
        "an address, or a port, that no other server of the cluster uses",
    ),
    "ip_address_one_service": _Taken(
        "ip.service.exactly-one",
        "type",
        "the server has its service address: exactly one is allowed",
        _ONE,
    ),
    "ip_address_one_outgoing": _Taken(
        "ip.outgoing.one",
        "type",
        "the server has its outgoing address: exactly one is allowed (R347)",
        _ONE,
    ),
    "ip_address_one_bouncing": _Taken(
        "ip.bouncing.one",
        "type",
        "the server has its bouncing address: exactly one is allowed (R350)",
        _ONE,
    ),
    "ip_address_one_site": _Taken(
        "site.address.taken",
        "name",
        "the site has a dedicated address",
        "hsctl site address DOMAIN --shared gives that one back",
    ),
    "ip_address_tag": _Taken(
        "ip.tag.taken",
        "tag",
        "the server has a shared address with this tag",
        "a tag that no other shared address of the server has",
    ),
}


def taken(error: psycopg2.errors.UniqueViolation, request: Any) -> Exception:
    """Give the refusal that a broken constraint stands for, or the error itself where none does."""
    constraint = error.diag.constraint_name or ""
    if constraint not in _TAKEN:
        return error
    found = _TAKEN[constraint]
    return CommandError(
        found.id,
        found.message,
        field=found.field,
        value=str(getattr(request, found.field, "")),
        allowed=found.allowed,
    )
