"""Domains: the commands ``domain.add``, ``list``, ``show`` and ``delete`` (R74 to R78).

A domain comes and goes with its zone and its site in one transaction and one change.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import attrs

from controller import names
from controller.cluster.placement.candidates import (
    WebServerCandidate,
    name_server_candidates,
    web_server_candidates,
)
from controller.cluster.placement.dns_roles import PROVIDER, place_zone
from controller.cluster.placement.placement import draw_web_server
from controller.cluster.placement.rows import (
    Group,
    read_for_domain,
    read_for_draw,
    read_group,
)
from controller.cluster.servers.groups import DEFAULT_TAG
from controller.cluster.servers.logical_servers import find_server
from controller.commands import Command, Work
from controller.hosting.accounts import find_account
from controller.hosting.domain_rows import (
    domain_row,
    project_new_site,
    remove_domain,
    remove_site,
    write_domain,
)
from controller.hosting.generated_records import ZONE_TTL, generated_records
from controller.hosting.instant_access import free_alias
from controller.hosting.names_below import follow
from controller.hosting.ownership import check_free
from controller.hosting.sites import load_site, lock_site, project_parent_site, site_shown
from controller.hosting.zones import create_zone, remove_zone, zone_name, zone_of_domain
from controller.moments import time_text
from controller.pages import after_text, limit, page, prefix_range
from controller.projection.zones import NameServer, ZoneRow
from controller.refusal import CommandError
from controller.serials import next_serial
from templates.apache.names import RESERVED


@attrs.frozen
class AddDomain:
    """A domain to host for ``account``; ``on`` names its web server, else one is drawn."""

    name: str
    account: str
    on: str = ""


@attrs.frozen
class NamedDomain:
    """A domain by its name."""

    name: str


@attrs.frozen
class ListDomains:
    """A page of domains whose name begins with ``filter``, of one account where given."""

    filter: str = ""
    account: str = ""
    limit: int = 100
    cursor: str = ""


_OF_OWNER = "AND d.owner_id = %s"

_LIST = """
SELECT d.id, d.name, a.name, d.created_at FROM domain d JOIN account a ON a.id = d.owner_id
WHERE d.name > %s AND d.name >= %s AND d.name < %s
  AND d.name <> (SELECT service_domain FROM cluster)
"""
"""The provider's own site is at a domain that is no customer's."""

_SEEN = """
SELECT s.name, min(CASE WHEN n.role = 'secondary' THEN v.serial
                        WHEN greatest(l.settled_revision, a.revision) >= o.revision
                             AND e.outcome IS NULL THEN z.serial
                   END)
FROM zone z JOIN zone_server n ON n.zone_id = z.id
JOIN logical_server s ON s.id = n.logical_server_id
JOIN lane l ON l.logical_server_id = s.id
JOIN desired_object o ON o.logical_server_id = s.id AND o.kind = 'zone' AND o.key = z.name
LEFT JOIN object_outcome e ON e.box_id = l.box_id AND e.logical_server_id = s.id
                          AND e.kind = o.kind AND e.key = o.key
LEFT JOIN applied_early a ON a.box_id = l.box_id AND a.logical_server_id = s.id
                         AND a.kind = o.kind AND a.key = o.key
LEFT JOIN zone_observation v ON v.box_id = l.box_id AND v.logical_server_id = s.id
                            AND v.zone = z.name
WHERE z.id = %s GROUP BY s.name
"""
"""A master has been probed when its lane has settled, or early; a secondary is watched."""

_WEB_SERVER = """
SELECT s.id::text, s.name, min(b.name), i.id, host(i.address)
FROM logical_server s JOIN lane l ON l.logical_server_id = s.id JOIN box b ON b.id = l.box_id
JOIN LATERAL (SELECT * FROM ip_address a WHERE a.logical_server_id = s.id AND a.type = 'shared'
              ORDER BY a.tag <> %s, a.tag LIMIT 1) i ON true
WHERE s.group_name = 'web' AND s.id = %s GROUP BY s.id, i.id, i.address
"""


@attrs.frozen
class Domains:
    """The commands on domains; ``clock`` gives seconds since the epoch, ``draw`` the chance."""

    clock: Callable[[], float]
    draw: Random

    async def add(self, work: Work, request: AddDomain) -> dict[str, Any]:
        """Add a domain with its zone on drawn name servers (R26, R28) and its site."""
        name = names.domain_name(request.name)
        if name == RESERVED or name.endswith(f".{RESERVED}"):
            raise CommandError(
                "domain.reserved",
                f"names under {RESERVED} are the web servers' own",
                field="name",
                value=name,
                allowed=f"a domain outside {RESERVED}",
            )
        account, account_shown = await find_account(work.tx, request.account, field="account")
        service = await check_free(work.tx, name, account)
        if request.on:
            servers = self._draw_name_servers(work, await read_group(work.tx, "dns"))
            web = await self.web_server(work, request.on)
        else:
            name_servers, web_servers = await read_for_domain(work.tx, self.draw)
            servers = self._draw_name_servers(work, name_servers)
            web = self._draw_web_server(work, web_servers)
        below = name.endswith(f".{service.name}")
        wanted = service.instant_access and not below
        alias = await free_alias(work.tx, name) if wanted else ""
        write_domain(work, name, account, web, alias)
        row = ZoneRow(
            id=0,
            name=name,
            serial=next_serial(0, int(self.clock())),
            ttl=ZONE_TTL,
            contact=f"hostmaster.{service.name}.",
            owner_id=account,
        )
        zone = await create_zone(
            work,
            row,
            domain=name,
            servers=servers,
            records=generated_records(name, servers, web.address),
        )
        site = await project_new_site(work, name, account_shown)
        if below or alias:
            await follow(work, [name], now=int(self.clock()))
        return {
            "id": site.domain_id,
            "name": name,
            "unicode": names.unicode_name(name),
            "account": account_shown,
            "serial": zone.row.serial,
            "name_servers": [{"name": s.name, "role": s.role} for s in servers],
            "site": site_shown(site),
        }

    def _draw_name_servers(self, work: Work, group: Group) -> tuple[NameServer, ...]:
        # Every account is the provider's own customer, until there are resellers.
        master, secondaries, drawn = place_zone(
            name_server_candidates(group), PROVIDER, self.draw, group.policy
        )
        if drawn:
            work.change.drew("master name server", master.name)
            if secondaries:
                work.change.drew("secondary name servers", ", ".join(s.name for s in secondaries))
        return (
            master.serving("master"),
            *(secondary.serving("secondary") for secondary in secondaries),
        )

    def _draw_web_server(self, work: Work, group: Group) -> WebServerCandidate:
        chosen = draw_web_server(web_server_candidates(group), self.draw, group.policy)
        work.change.drew("web server", chosen.name)
        return chosen

    async def web_server(self, work: Work, on: str) -> WebServerCandidate:
        """Give the web server ``on`` with its shared address, or one that is drawn."""
        if not on:
            return self._draw_web_server(work, await read_for_draw(work.tx, "web", self.draw))
        server = await find_server(work.tx, on, field="on")
        found = await work.tx.rows(_WEB_SERVER, (DEFAULT_TAG, server.id))
        if not found:
            raise CommandError(
                "domain.on.unfit",
                "not a web server with a shared address",
                field="on",
                value=on,
                allowed="a logical server of the group web with a shared IP (hsctl ip add)",
            )
        id_, name, box, ip_address_id, address = found[0]
        return WebServerCandidate(id_, name, box, ip_address_id=ip_address_id, address=address)

    async def list(self, work: Work, request: ListDomains) -> dict[str, Any]:
        """List domains by name."""
        size = limit(request.limit)
        first, last = prefix_range(request.filter.lower())
        owner = None
        if request.account:
            owner, _ = await find_account(work.tx, request.account, field="account")
        # A text of its own for each: one for both could not be planned well.
        owners = () if owner is None else (owner,)
        found = await work.tx.rows(
            f"{_LIST} {'' if owner is None else _OF_OWNER} ORDER BY d.name LIMIT %s",
            (after_text(request.cursor), first, last, *owners, size + 1),
        )
        items = [
            {
                "id": row[0],
                "name": row[1],
                "unicode": names.unicode_name(row[1]),
                "account": row[2],
                "created_at": time_text(row[3]),
            }
            for row in found
        ]
        return page(items, size, lambda item: str(item["name"]))

    async def show(self, work: Work, request: NamedDomain) -> dict[str, Any]:
        """Show a domain with its zone and its site.

        ``seen`` of a name server is the serial that it was seen to answer, None where not known.
        """
        name = zone_name(request.name, field="name")
        domain_id, account, created = await domain_row(work.tx, name)
        zone = await zone_of_domain(work.tx, name)
        site = await load_site(work.tx, name)
        seen = dict(await work.tx.rows(_SEEN, (zone.row.id,)))
        return {
            "id": domain_id,
            "name": name,
            "unicode": names.unicode_name(name),
            "account": account,
            "created_at": time_text(created),
            "serial": zone.row.serial,
            "ttl": zone.row.ttl,
            "records": len(zone.records),
            "name_servers": [
                {
                    "name": server.name,
                    "role": server.role,
                    "address": server.endpoint.address,
                    "port": server.endpoint.port,
                    "seen": seen.get(server.name),
                }
                for server in sorted(zone.servers, key=lambda server: (server.role, server.name))
            ],
            "site": None if site is None else site_shown(site),
        }

    async def delete(self, work: Work, request: NamedDomain) -> dict[str, Any]:
        """Delete a domain with its zone and its site; answers what went."""
        name = zone_name(request.name, field="name")
        domain_id, account, _ = await domain_row(work.tx, name)
        zone = await zone_of_domain(work.tx, name, lock=True)
        await lock_site(work.tx, name)
        site = await load_site(work.tx, name)
        if site is not None:
            await remove_site(work, site)
        await remove_zone(work, zone)
        left = "" if site is None else site.row.alias.partition(".")[0]
        await follow(work, [name], now=int(self.clock()), left=left)
        await remove_domain(work, domain_id, name, account)
        await project_parent_site(work, name)
        return {
            "name": name,
            "records": len(zone.records),
            "name_servers": [server.name for server in zone.servers],
            "site": None if site is None else site.server,
        }

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "domain.add",
                "POST",
                "/domains",
                AddDomain,
                "account.write",
                "Host a domain: its zone and its site",
                self.add,
                "Name servers, and without `on` the web server, are chosen among those that are "
                "open for signup, as the placement of their group says: at random if nobody chose.",
            ),
            Command(
                "domain.list",
                "GET",
                "/domains",
                ListDomains,
                "account.read",
                "List domains",
                self.list,
            ),
            Command(
                "domain.show",
                "GET",
                "/domains/{name}",
                NamedDomain,
                "account.read",
                "Show a domain",
                self.show,
            ),
            Command(
                "domain.delete",
                "DELETE",
                "/domains/{name}",
                NamedDomain,
                "account.write",
                "Delete a domain with its zone and its site",
                self.delete,
                "The files of the site stay on the web server.",
            ),
        )
