"""The provider's own site at the service domain (R23): ``service.host`` and ``service.unhost``.

It is a site as any other, in the name of the account that the provider chose for it, with its
names in the service zone: these follow its web server's address.
"""

from typing import Any

import attrs

from controller.cluster.ports import ServiceZonePort
from controller.commands import Command, Work
from controller.hosting.accounts import find_account
from controller.hosting.domain_rows import (
    domain_row,
    project_new_site,
    remove_domain,
    remove_site,
    write_domain,
)
from controller.hosting.domains import Domains
from controller.hosting.sites import load_site, site_shown
from controller.hosting.third_level import LOCK
from controller.refusal import CommandError


@attrs.frozen
class HostCorporateSite:
    """The account that the site is kept in; ``on`` names its web server, else one is drawn."""

    account: str
    on: str = ""


@attrs.frozen
class UnhostCorporateSite:
    """Nothing is asked for."""


@attrs.frozen
class CorporateSite:
    """The commands on the provider's own site."""

    domains: Domains
    service_zone: ServiceZonePort

    async def host(self, work: Work, request: HostCorporateSite) -> dict[str, Any]:
        """Host a site at the service domain, and at ``www.`` before it."""
        account, account_shown = await find_account(work.tx, request.account, field="account")
        name = await self._service_domain(work)
        if await load_site(work.tx, name) is not None:
            raise CommandError(
                "service.hosted",
                f"the service domain {name} has its site already",
                field="account",
                value=request.account,
                allowed="hsctl service unhost, and then again; hsctl site set changes its settings",
                status=409,
            )
        web = await self.domains.web_server(work, request.on)
        write_domain(work, name, account, web)
        site = await project_new_site(work, name, account_shown)
        await self.service_zone.sync(work)
        return {"domain": name, "account": account_shown, "site": site_shown(site)}

    async def unhost(self, work: Work, request: UnhostCorporateSite) -> dict[str, Any]:
        """Host no site at the service domain any more."""
        name = await self._service_domain(work)
        site = await load_site(work.tx, name)
        if site is None:
            raise CommandError(
                "service.not-hosted",
                f"the service domain {name} has no site",
                allowed="hsctl service host --account ACCOUNT",
                status=404,
            )
        domain_id, account, _ = await domain_row(work.tx, name)
        await remove_site(work, site)
        await remove_domain(work, domain_id, name, account)
        await self.service_zone.sync(work)
        return {"domain": name, "site": site.server}

    async def _service_domain(self, work: Work) -> str:
        """Give the service domain, whose site nobody else makes or takes away meanwhile."""
        (name,) = await work.tx.row(f"{LOCK}; SELECT service_domain FROM cluster")  # noqa: S608
        return str(name)

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "service.host",
                "PUT",
                "/service-domain/site",
                HostCorporateSite,
                "provider.write",
                "Host the provider's own site at the service domain",
                self.host,
                "It answers at the domain itself and at `www.` before it. Without `on` its web "
                "server is chosen as that of a customer's site is.",
            ),
            Command(
                "service.unhost",
                "DELETE",
                "/service-domain/site",
                UnhostCorporateSite,
                "provider.write",
                "Host no site at the service domain any more",
                self.unhost,
                "The files of the site stay on the web server.",
            ),
        )
