"""Whose a domain name may be (S34): names above, below or beside another account's are refused."""

import attrs

from controller import names
from controller.hosting.third_level import check_third_level, of_the_service_domain
from controller.refusal import CommandError
from controller.storage.database import Transaction


@attrs.frozen
class ServiceDomain:
    """The service domain of the cluster, and whether new sites have an alias below it."""

    name: str
    instant_access: bool


_RELATED = """
SELECT pg_advisory_xact_lock(hashtext(%s));
SELECT c.service_domain, c.third_level, c.instant_access, d.name, d.owner_id
FROM cluster c LEFT JOIN (
    (SELECT name, owner_id FROM domain WHERE reversed = ANY(ARRAY(SELECT unnest(%s::text[]))))
    UNION ALL
    (SELECT name, owner_id FROM domain WHERE reversed > %s AND reversed < %s
     AND owner_id <> %s LIMIT 1)
) d ON true
"""


async def check_free(tx: Transaction, name: str, account: int) -> ServiceDomain:
    """Check that ``account`` may host ``name``; give the service domain.

    Raises `CommandError` where it, or a name above or below it, is another's or taken.

    Two transactions that add related names wait for each other: related names share their last two
    labels, and those are locked until the end of the transaction.
    """
    base = ".".join(name.split(".")[-2:])
    reverse = names.reversed_name(name)
    found = await tx.rows(
        _RELATED,
        (
            f"domain {base}",
            [*names.ancestors(name), reverse],
            f"{reverse}.",
            f"{reverse}/",
            account,
        ),
    )
    service: str = found[0][0]
    if name == service or service.endswith(f".{name}"):
        raise of_the_service_domain(name, service, f"a domain outside {service}")
    for _, _, _, other, owner in found:
        if other is None or other == service:
            continue  # the provider's own site stands in nobody's way
        if other == name:
            raise CommandError(
                "domain.name.taken",
                "the domain is hosted here already",
                field="name",
                value=name,
                allowed="a domain that is not hosted here",
            )
        if owner != account:
            above = name.endswith(f".{other}")
            raise CommandError(
                "domain.parent-of-other" if not above else "domain.child-of-other",
                f"the name is {'below' if above else 'above'} a domain of another account",
                field="name",
                value=name,
                allowed="a domain of its own, or the account that has the other one",
            )
    if name.endswith(f".{service}"):
        await check_third_level(tx, name, service, switched_on=found[0][1])
    return ServiceDomain(service, found[0][2])
