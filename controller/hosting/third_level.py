"""Third-level hosting: customers' domains directly below the service domain (R21).

Each has a zone of its own, and its delegation in the service zone says what the NS records of that
zone say: it comes with the domain, follows a move to other name servers, and goes with the domain.
"""

import re
from collections.abc import Iterable

from controller.cluster.servers.groups import GROUPS
from controller.commands import Work
from controller.hosting.zones import amend_zone, load_zone, lock_zone, rewrite_zone
from controller.names import ancestors, reversed_name
from controller.projection.zones import RecordRow
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
            f"{name} is {'in use' if taken else 'kept'} for the provider's own servers",
            field="name",
            value=name,
            allowed=f"another name below {service_domain}",
            status=409,
        )


_HOSTED = f"""
{LOCK};
SELECT d.name FROM domain d, cluster c
WHERE d.reversed = ANY(%s) AND right(d.name, length(c.service_domain) + 1) = '.' || c.service_domain
"""  # noqa: S608 put together of constants


async def check_server_name(tx: Transaction, name: str, *, field: str) -> None:
    """Check that no logical server gets the name of a customer's domain, or one below it.

    Its address would stand in the service zone where that delegates. Raises `CommandError`
    ``lserver.name.hosted``.
    """
    found = await tx.maybe(_HOSTED, ([*ancestors(name), reversed_name(name)],))
    if found is not None:
        raise CommandError(
            "lserver.name.hosted",
            f"{found[0]} is a customer's domain",
            field=field,
            value=name,
            allowed=f"a name that is neither {found[0]} nor below it",
            status=409,
        )


def of_the_service_domain(name: str, service_domain: str, allowed: str) -> CommandError:
    """Give the refusal of a name that is not for customers."""
    return CommandError(
        "domain.service",
        f"{service_domain} is the service domain of the cluster",
        field="name",
        value=name,
        allowed=allowed,
        status=409,
    )


_DELEGATIONS = """
SELECT left(z.name, -1 - length(%s)), 'NS', r.data, r.ttl, true
FROM domain d JOIN zone z ON z.domain_id = d.id JOIN record r ON r.zone_id = z.id
WHERE r.name = '@' AND r.type = 'NS' AND r.generated AND {which}
"""
_ALL = _DELEGATIONS.format(which="d.reversed > %s AND d.reversed < %s")
_NAMED = _DELEGATIONS.format(which="d.name = ANY(%s)")


async def delegations(tx: Transaction, service_domain: str) -> list[RecordRow]:
    """Give the NS records that the service zone has for the domains below it."""
    reverse = reversed_name(service_domain)
    found = await tx.rows(_ALL, (service_domain, f"{reverse}.", f"{reverse}/"))
    return [
        RecordRow(name, type_, data, ttl, generated) for name, type_, data, ttl, generated in found
    ]


async def delegate(work: Work, domains: Iterable[str], *, now: int) -> None:
    """Have the service zone name the servers of ``domains`` that their own zones name.

    Of a domain that is gone, or elsewhere, it names none. ``now`` is in seconds (epoch).
    """
    (service,) = await work.tx.row("SELECT service_domain FROM cluster")
    named = [name for name in domains if third_level_label(name, service)]
    if not named:
        return
    await work.tx.run(LOCK)
    zone = await lock_zone(work.tx, service)
    if zone is None:
        return  # it comes back whole, with the next name server
    labels = [third_level_label(name, service) for name in named]
    wanted = {RecordRow(*found) for found in await work.tx.rows(_NAMED, (service, named))}
    present = {
        RecordRow(*found)
        for found in await work.tx.rows(
            """SELECT name, type, data, ttl, generated, id FROM record
               WHERE zone_id = %s AND name = ANY(%s) AND type = 'NS'""",
            (zone.row.id, labels),
        )
    }
    gone, new = sorted(present - wanted), sorted(wanted - present)
    if not gone and not new:
        return
    if not await amend_zone(work, zone, gone, new, now=now):
        whole = await load_zone(work.tx, service, lock=True)
        assert whole is not None
        kept = [row for row in whole.records if row.type != "NS" or row.name not in labels]
        await rewrite_zone(work, whole, [*kept, *wanted], now=now)
