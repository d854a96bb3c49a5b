"""Third-level hosting: which names directly below the service domain customers may have (R21).

What the service zone then says of them: `names_below`.
"""

import re

from controller.cluster.servers.groups import GROUPS
from controller.names import ancestors, reversed_name
from controller.refusal import CommandError
from controller.storage.database import Transaction

LOCK = "SELECT pg_advisory_xact_lock(hashtext('service zone'))"
"""Taken by whoever changes the service zone, or decides who may have a name in it."""

_OF_SERVERS = re.compile(rf"(ns|mx|smtp|pop|imap|db|panel|{'|'.join(GROUPS)})\d*")
"""Names that servers have, and those that they will have (R18 to R20)."""
_OF_THE_PROVIDER = frozenset(
    {"admin", "cp", "ftp", "hostmaster", "localhost", "postmaster", "webmail", "wpad", "www"}
)
"""Names that are the provider's own, and those that programs look for by themselves."""


def third_level_label(name: str, service_domain: str) -> str:
    """Give the one label that ``name`` has before the service domain, or nothing. Pure."""
    label = name.removesuffix(f".{service_domain}")
    return "" if label == name or "." in label else label


def is_reserved(label: str) -> bool:
    """Tell whether no customer may have this label before the service domain. Pure."""
    return label in _OF_THE_PROVIDER or _OF_SERVERS.fullmatch(label) is not None


_TAKEN = f"""
{LOCK};
SELECT EXISTS (SELECT FROM record r JOIN zone z ON z.id = r.zone_id
               WHERE z.name = %s AND (r.name = %s OR right(r.name, length(%s) + 1) = '.' || %s)
                 AND NOT (r.name = %s AND r.type = 'NS'))
    OR EXISTS (SELECT FROM logical_server
               WHERE name = %s OR right(name, length(%s) + 1) = '.' || %s)
"""  # noqa: S608 put together of constants


async def check_third_level(
    tx: Transaction, name: str, service_domain: str, *, switched_on: bool
) -> None:
    """Check that a customer may have ``name``, which is below the service domain.

    Raises `CommandError`: ``domain.service``, ``domain.reserved``. A name that is free stays so
    until the end of the transaction.
    """
    label = third_level_label(name, service_domain)
    if not switched_on or not label:
        raise of_the_service_domain(
            name,
            service_domain,
            f"a name directly below it, such as shop.{service_domain}"
            if switched_on
            else f"a domain outside {service_domain}; hsctl service set --third-level on lets "
            "customers have names directly below it",
        )
    suffix = (name, name)
    (taken,) = await tx.row(_TAKEN, (service_domain, label, label, label, label, name, *suffix))
    if taken or is_reserved(label):
        raise CommandError(
            "domain.reserved",
            f"{name} is in use" if taken else f"{name} is kept for the provider's own servers",
            field="name",
            value=name,
            allowed=f"another name below {service_domain}",
        )


_HOSTED = f"""
{LOCK};
SELECT d.name FROM domain d, cluster c
WHERE d.reversed = ANY(%s) AND right(d.name, length(c.service_domain) + 1) = '.' || c.service_domain
UNION ALL SELECT s.alias || '.' || c.service_domain FROM cluster c
JOIN unnest(%s::text[], %s::text[]) AS n(label, above) ON n.above = c.service_domain
JOIN site s ON s.alias = n.label
"""  # noqa: S608 put together of constants


async def check_server_name(tx: Transaction, name: str, *, field: str) -> None:
    """Check that no logical server gets the name of a customer's domain or site, or one below it.

    Its address would stand in the service zone where that delegates. Raises `CommandError`
    ``lserver.name.hosted``.
    """
    above = [*ancestors(name), reversed_name(name)]
    pairs = [reversed_name(each).partition(".") for each in above]
    found = await tx.maybe(
        _HOSTED, (above, [label for label, _, _ in pairs], [rest for _, _, rest in pairs])
    )
    if found is not None:
        raise CommandError(
            "lserver.name.hosted",
            f"{found[0]} is a customer's name",
            field=field,
            value=name,
            allowed=f"a name that is neither {found[0]} nor below it",
        )


def of_the_service_domain(name: str, service_domain: str, allowed: str) -> CommandError:
    """Give the refusal of a name that is not for customers."""
    return CommandError(
        "domain.service",
        f"{service_domain} is the service domain of the cluster",
        field="name",
        value=name,
        allowed=allowed,
    )
