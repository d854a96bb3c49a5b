"""Instant access: a name below the service domain by which a site answers at once (R22).

A domain is delegated to our name servers hours or days after it was added. Until then, and for as
long as it is here, its site answers at ``shop-test.SERVICEDOMAIN`` too.
"""

import hashlib
import re
from collections.abc import Sequence

from controller.hosting.third_level import LOCK, is_reserved
from controller.storage.database import Transaction

_LABEL_LENGTH = 63
"""RFC 1035 section 2.3.4."""
_DIGITS = 8
"""Hexadecimal digits that tell names apart whose labels would be the same."""


def alias_labels(domain: str) -> tuple[str, ...]:
    """Give the labels that a domain's alias may have, the preferred one first. Pure.

    They follow from the name alone: a domain that comes again has the alias that it had.
    """
    # A label that begins with xn-- would be read as an internationalised one (RFC 5891).
    plain = re.sub("-+", "-", domain.removeprefix("xn--").replace(".", "-")).strip("-")
    digest = hashlib.sha256(domain.encode()).hexdigest()[:_DIGITS]
    other = f"{plain[: _LABEL_LENGTH - _DIGITS - 1].rstrip('-')}-{digest}"
    fitting = len(plain) <= _LABEL_LENGTH and not is_reserved(plain)
    return (plain, other) if fitting else (other,)


_TAKEN = f"""
{LOCK};
SELECT l.label FROM cluster c, unnest(%s::text[]) AS l(label)
WHERE EXISTS (SELECT FROM site s WHERE s.alias = l.label)
   OR EXISTS (SELECT FROM domain d WHERE d.name = l.label || '.' || c.service_domain)
   OR EXISTS (SELECT FROM record r JOIN zone z ON z.id = r.zone_id
              WHERE z.name = c.service_domain AND r.name = l.label)
   OR EXISTS (SELECT FROM logical_server g WHERE g.name = l.label || '.' || c.service_domain)
"""  # noqa: S608 put together of constants


async def free_alias(tx: Transaction, domain: str) -> str:
    """Give the label of a new domain's alias, empty where none is free; it stays free till the end.

    That both labels of a domain are taken, somebody must have meant.
    """
    return next(iter(await free_aliases(tx, alias_labels(domain))), "")


async def free_aliases(tx: Transaction, labels: Sequence[str]) -> list[str]:
    """Give those of some labels that nobody has; they stay free until the transaction's end."""
    taken = {label for (label,) in await tx.rows(_TAKEN, (list(labels),))}
    return [label for label in labels if label not in taken]
