"""What the service zone says of customers: delegations of domains below it, and aliases of sites.

A delegation (R21) says what the NS records of the domain's own zone say; an alias (R22) has the
address of its site. Both come with their domain, follow it, and go with it.
"""

from collections.abc import Iterable

from controller.commands import Work
from controller.hosting.third_level import LOCK, third_level_label
from controller.hosting.zones import amend_zone, load_zone, lock_zone, rewrite_zone
from controller.names import reversed_name
from controller.projection.zones import RecordRow
from controller.refusal import CommandError
from controller.storage.database import Transaction

MOST = 20_000
"""Records of the service zone, from which on it takes no new names of customers: it is one object,
sent whole to its name servers whenever one of its records changes."""
_TTL = 3600
"""Seconds that answers about an alias may be kept."""

_DELEGATIONS = """
SELECT left(z.name, -1 - length(%s)), 'NS', r.data, r.ttl, true
FROM domain d JOIN zone z ON z.domain_id = d.id JOIN record r ON r.zone_id = z.id
WHERE r.name = '@' AND r.type = 'NS' AND r.generated AND {which}
"""
_ALIASES = """
SELECT s.alias, CASE family(i.address) WHEN 4 THEN 'A' ELSE 'AAAA' END, host(i.address),
       %s::int, true
FROM site s JOIN domain d ON d.id = s.domain_id JOIN ip_address i ON i.id = s.ip_address_id
WHERE s.alias IS NOT NULL AND {which}
"""
_OF_ALL = (
    _DELEGATIONS.format(which="d.reversed > %s AND d.reversed < %s")
    + "UNION ALL"
    + _ALIASES.format(which="true")
)
_OF_SOME = (
    _DELEGATIONS.format(which="d.name = ANY(%s)")
    + "UNION ALL"
    + _ALIASES.format(which="d.name = ANY(%s)")
)


async def records_below(tx: Transaction, service_domain: str) -> list[RecordRow]:
    """Give all records that the service zone has for customers."""
    reverse = reversed_name(service_domain)
    found = await tx.rows(_OF_ALL, (service_domain, f"{reverse}.", f"{reverse}/", _TTL))
    return [_row(each) for each in found]


def _row(found: tuple[str, str, str, int, bool]) -> RecordRow:
    return RecordRow(*found)


_LABELS = """
SELECT c.service_domain, array(
    SELECT s.alias FROM site s JOIN domain d ON d.id = s.domain_id
    WHERE d.name = ANY(%s) AND s.alias IS NOT NULL)
FROM cluster c
"""


async def follow(work: Work, domains: Iterable[str], *, now: int, left: str = "") -> None:
    """Have the service zone say of ``domains`` what their own zones and sites say.

    Of a domain that is gone it says nothing; ``left`` is the label of an alias that it had. ``now``
    is in seconds (epoch). Raises `CommandError` ``service.full``.
    """
    asked = list(domains)
    service, aliases = await work.tx.row(_LABELS, (asked,))
    below = [name for name in asked if third_level_label(name, service)]
    labels = [*(third_level_label(name, service) for name in below), *aliases]
    if left:
        labels.append(left)
    if not labels:
        return
    await work.tx.run(LOCK)
    zone = await lock_zone(work.tx, service)
    if zone is None:
        return  # it comes back whole, with the next name server
    wanted = {_row(each) for each in await work.tx.rows(_OF_SOME, (service, below, _TTL, asked))}
    present = {
        RecordRow(*found)
        for found in await work.tx.rows(
            """SELECT name, type, data, ttl, generated, id FROM record
               WHERE zone_id = %s AND name = ANY(%s)""",
            (zone.row.id, labels),
        )
    }
    gone, new = sorted(present - wanted), sorted(wanted - present)
    if not gone and not new:
        return
    if len(new) > len(gone) and zone.records + len(new) - len(gone) > MOST:
        raise _full(service, zone.records)
    if not await amend_zone(work, zone, gone, new, now=now):
        whole = await load_zone(work.tx, service, lock=True)
        assert whole is not None
        kept = [row for row in whole.records if row.name not in labels]
        await rewrite_zone(work, whole, [*kept, *wanted], now=now)


def _full(service: str, records: int) -> CommandError:
    return CommandError(
        "service.full",
        f"the zone of the service domain {service} has {records} records",
        field="name",
        value=service,
        allowed=f"up to {MOST}: domains of their own, and no aliases for new ones "
        "(hsctl service set --instant-access off)",
        status=409,
    )
