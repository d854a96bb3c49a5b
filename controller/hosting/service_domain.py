"""What the service domain is for beside the names of servers: ``service.show`` and ``.set``.

Each use is the operator's choice, and off until he makes it (R21 to R23).
"""

from typing import Any

import attrs

from controller import names
from controller.commands import Command, Work
from controller.hosting.sites import load_site, site_shown
from controller.storage.database import Transaction

COUNTED = 1000
"""Domains below the service domain are counted up to here."""


@attrs.frozen
class ShowService:
    """Nothing is asked for."""


@attrs.frozen
class SetService:
    """What to change; None leaves a use as it is."""

    third_level: bool | None = None
    instant_access: bool | None = None


_USES = ("third_level", "instant_access")


_SHOWN = """
SELECT c.service_domain, c.third_level, c.instant_access, z.records, z.servers
FROM cluster c LEFT JOIN LATERAL (
    SELECT (SELECT count(*) FROM record r WHERE r.zone_id = z.id) AS records,
           array(SELECT s.name FROM zone_server n JOIN logical_server s
                 ON s.id = n.logical_server_id WHERE n.zone_id = z.id
                 ORDER BY n.role, s.name) AS servers
    FROM zone z WHERE z.name = c.service_domain) z ON true
"""


async def _shown(tx: Transaction) -> dict[str, Any]:
    domain, third_level, instant_access, records, servers = await tx.row(_SHOWN)
    reverse = names.reversed_name(domain)
    (below,) = await tx.row(
        """SELECT count(*) FROM (SELECT FROM domain WHERE reversed > %s AND reversed < %s
           LIMIT %s) d""",
        (f"{reverse}.", f"{reverse}/", COUNTED),
    )
    site = await load_site(tx, domain)
    return {
        "domain": domain,
        "third_level": third_level,
        "third_level_domains": below,
        "instant_access": instant_access,
        "name_servers": list(servers or ()),
        "records": records or 0,
        "site": None if site is None else site_shown(site),
    }


async def show(work: Work, request: ShowService) -> dict[str, Any]:
    """Show the service domain and what it is for."""
    return await _shown(work.tx)


async def change(work: Work, request: SetService) -> dict[str, Any]:
    """Switch uses of the service domain on or off; what is hosted below it stays."""
    await work.tx.rows("SELECT FROM cluster FOR NO KEY UPDATE")
    before = await _shown(work.tx)
    present = {use: before[use] for use in _USES}
    asked = {use: getattr(request, use) for use in _USES}
    wanted = {use: present[use] if asked[use] is None else asked[use] for use in _USES}
    if wanted != present:
        await work.tx.run(
            "UPDATE cluster SET third_level = %s, instant_access = %s",
            tuple(wanted[use] for use in _USES),
        )
        changed = [use for use in _USES if wanted[use] != present[use]]
        work.change.row(
            "cluster",
            before["domain"],
            {use: present[use] for use in changed},
            {use: wanted[use] for use in changed},
        )
    after = await _shown(work.tx)
    below = after["third_level_domains"]
    stays = below and not wanted["third_level"] and present["third_level"]
    many = "one domain" if below == 1 else f"{below} domains"
    warnings = [f"{many} below {after['domain']} {'stays' if below == 1 else 'stay'}"]
    return {**after, "warnings": warnings if stays else []}


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "service.show",
        "GET",
        "/service-domain",
        ShowService,
        "provider.read",
        "Show the service domain and what it is for",
        show,
        f"`third_level_domains` counts the domains of customers below it, up to {COUNTED}.",
    ),
    Command(
        "service.set",
        "PATCH",
        "/service-domain",
        SetService,
        "provider.write",
        "Choose what the service domain is for",
        change,
        "`third_level` lets accounts have domains directly below it, each with a zone of its own "
        "that the service zone delegates. `instant_access` gives the site of each new domain an "
        "alias such as `shop-test` before the service domain, which answers at once.",
    ),
)
