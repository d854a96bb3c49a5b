"""The row of a domain and that of its site: made, projected, kept by changes, and forgotten."""

from typing import Any

from controller import names
from controller.cluster.placement.candidates import WebServerCandidate
from controller.commands import Work
from controller.hosting.site_addresses import give_back
from controller.hosting.sites import Site, load_site, project_parent_site, project_site, site_kept
from controller.hosting.zones import unknown_domain
from controller.projection.stored import drop_secrets
from controller.storage.database import Transaction
from templates.apache.objects import SITE


def _kept(domain_id: int, name: str, account: str) -> dict[str, Any]:
    """Give a domain as changes keep it."""
    return {"id": domain_id, "name": name, "account": account}


def write_domain(
    work: Work, name: str, account: int, web: WebServerCandidate, alias: str = ""
) -> None:
    """Make the rows of a domain and its site, with the next statement.

    ``alias`` is a label before the service domain, by which the site answers too.
    """
    work.tx.run_with_next(
        """WITH made AS (
               INSERT INTO domain (owner_id, name, reversed) VALUES (%s, %s, %s)
               RETURNING id, owner_id
           ) INSERT INTO site (owner_id, domain_id, logical_server_id, ip_address_id, alias)
           SELECT owner_id, id, %s, %s, nullif(%s, '') FROM made""",
        (account, name, names.reversed_name(name), web.id, web.ip_address_id, alias),
    )


async def remove_site(work: Work, site: Site) -> None:
    """Take a site from its web server and forget it; its files stay there."""
    name = site.row.domain
    await work.change.remove(site.row.logical_server, SITE, name, owner_id=site.row.account)
    if site.dedicated:
        await give_back(work, site)
    await work.tx.run("DELETE FROM site WHERE id = %s", (site.row.id,))
    await drop_secrets(work.tx, f"site:{site.row.id}")
    work.change.row("site", name, site_kept(site), None)


async def remove_domain(work: Work, domain_id: int, name: str, account: str) -> None:
    """Forget a domain of ``account`` whose zone and site are gone."""
    await work.tx.run("DELETE FROM domain WHERE id = %s", (domain_id,))
    work.change.row("domain", name, _kept(domain_id, name, account), None)


async def project_new_site(work: Work, name: str, account: str) -> Site:
    """Note the rows of a domain of ``account`` and its site that were just made, and project it."""
    site = await load_site(work.tx, name)
    assert site is not None
    work.change.row("domain", name, None, _kept(site.domain_id, name, account))
    work.change.row("site", name, None, site_kept(site))
    await project_site(work, site)
    await project_parent_site(work, name)
    return site


async def domain_row(tx: Transaction, name: str) -> tuple[int, str, Any]:
    """Give a domain's id, its account's name and when it came; raises `CommandError`."""
    row = await tx.maybe(
        """SELECT d.id, a.name, d.created_at FROM domain d JOIN account a ON a.id = d.owner_id
           WHERE d.name = %s""",
        (name,),
    )
    if row is None:
        raise unknown_domain(name, field="name")
    return int(row[0]), row[1], row[2]
