"""A web site: its row, where it stands, and its desired object (R76)."""

from typing import Any

import attrs
import msgspec

from controller.commands import Work
from controller.projection.sites import CertificateText, SiteRow, site_spec
from controller.storage.database import Transaction
from templates.apache.objects import DEDICATED, SITE, SiteSettings


@attrs.frozen
class Site:
    """A site as stored, with the names of what it stands on."""

    row: SiteRow
    domain_id: int
    server: str
    address: str
    port: int
    version: int
    tls_port: int = 0
    """The web server's port for TLS; 0 where it has none."""
    secrets: tuple[int, ...] = ()
    dedicated: bool = False
    """Whether its address is its own alone."""


_LOAD = """
SELECT s.id, d.name, s.owner_id, s.logical_server_id::text, s.settings,
       NOT EXISTS (SELECT 1 FROM domain w WHERE w.name = 'www.' || d.name),
       l.name, host(i.address), i.port, s.version,
       c.id, encode(c.digest, 'hex'), k.id, encode(k.digest, 'hex'),
       coalesce((l.settings->>'tls_port')::int, 0), d.id, i.type = 'dedicated',
       coalesce(s.alias || '.' || (SELECT service_domain FROM cluster), '')
FROM site s JOIN domain d ON d.id = s.domain_id
JOIN logical_server l ON l.id = s.logical_server_id
JOIN ip_address i ON i.id = s.ip_address_id
LEFT JOIN secret c ON s.certificate_id IS NOT NULL AND c.name = 'site:' || s.id || ':chain'
LEFT JOIN secret k ON s.certificate_id IS NOT NULL AND k.name = 'site:' || s.id || ':key'
WHERE d.name = %s
"""


async def load_site(tx: Transaction, domain: str) -> Site | None:
    """Give the site of a domain, or None."""
    row = await tx.maybe(_LOAD, (domain,))
    if row is None:
        return None
    certificate = None
    if row[10] is not None and row[12] is not None:
        certificate = CertificateText(f"secret:{row[10]}:{row[11]}", f"secret:{row[12]}:{row[13]}")
    return Site(
        row=SiteRow(
            id=row[0],
            domain=row[1],
            account=row[2],
            logical_server=row[3],
            settings=row[4],
            www=row[5],
            certificate=certificate,
            alias=row[17],
        ),
        domain_id=row[15],
        server=row[6],
        address=row[7],
        port=row[8],
        version=row[9],
        tls_port=row[14],
        secrets=(row[10], row[12]) if certificate else (),
        dedicated=row[16],
    )


async def lock_site(tx: Transaction, domain: str) -> None:
    """Keep others from changing the site of a domain, if there is one, until the end."""
    await tx.rows(
        """SELECT 1 FROM site s JOIN domain d ON d.id = s.domain_id WHERE d.name = %s
           FOR UPDATE OF s""",
        (domain,),
    )


async def project_site(work: Work, site: Site) -> None:
    """Give the web server the site's object."""
    await work.change.upsert(
        site.row.logical_server,
        SITE,
        site.row.domain,
        site_spec(site.row),
        requires=[(DEDICATED.name, site.address)] if site.dedicated else (),
        secrets=site.secrets,
        owner_id=site.row.account,
    )


async def project_parent_site(work: Work, domain: str) -> None:
    """Project the site whose ``www.`` name is ``domain``, when that came or went.

    Whoever else changes or deletes that site waits, or is waited for: each reads it again then.
    """
    if domain.startswith("www."):
        above = domain.removeprefix("www.")
        await lock_site(work.tx, above)
        parent = await load_site(work.tx, above)
        if parent is not None:
            await project_site(work, parent)


def site_kept(site: Site) -> dict[str, Any]:
    """Give a site as changes keep it: what it needs to come back, its certificate by its id."""
    return {
        "id": site.row.id,
        "logical_server": site.server,
        "address": site.address,
        "dedicated": site.dedicated,
        "settings": msgspec.to_builtins(msgspec.convert(site.row.settings or {}, SiteSettings)),
        "certificate": site.secrets[1] if site.secrets else None,
        # Left out where there is none, as it was before there were any.
        **({"alias": site.row.alias.partition(".")[0]} if site.row.alias else {}),
    }


def site_shown(site: Site) -> dict[str, Any]:
    """Give a site as commands answer it."""
    return {
        "domain": site.row.domain,
        "alias": site.row.alias,
        "logical_server": site.server,
        "address": site.address,
        "dedicated": site.dedicated,
        "port": site.port,
        "tls_port": site.tls_port,
        "settings": None if site.row.settings is None else dict(site.row.settings),
        "has_certificate": site.row.certificate is not None,
        "version": site.version,
    }
