"""The address of a site: its server's shared one, or a dedicated one (R329, R355).

The server answers on a dedicated address from when a site takes it until the site gives it back.
"""

from collections.abc import Callable
from typing import Any, Literal

import attrs

from controller.cluster.addresses.rows import ANSWERED, web_port
from controller.cluster.servers.groups import DEFAULT_TAG
from controller.commands import Command, Work
from controller.hosting.names_below import follow
from controller.hosting.sites import Site, load_site, lock_site, project_site, site_kept, site_shown
from controller.hosting.zones import rewrite_zone, unknown_domain, zone_name, zone_of_domain
from controller.projection.servers import ServerRow
from controller.projection.zones import RecordRow
from controller.refusal import CommandError
from templates.apache.objects import DEDICATED, AddressSpec

_TAKE = """
UPDATE ip_address SET site_id = %s WHERE id = (
    SELECT i.id FROM ip_address i WHERE i.logical_server_id = %s AND i.type = 'dedicated'
    AND i.site_id IS NULL AND {which}
    ORDER BY i.id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, host(address), prefix, port
"""
# A text of its own for each: one for both could not be planned well.
_TAKE_ANY = _TAKE.format(which="i.port = %s")
# The port of the server's sites may be another one since.
_TAKE_THIS = _TAKE.format(which=f"i.address = %s::inet AND {ANSWERED}")

# Whoever deletes this one, or gives it another port, waits, and then finds the site beside it.
_BESIDE = """
SELECT 1 FROM ip_address WHERE logical_server_id = %s AND type = 'shared' AND port = %s
ORDER BY id LIMIT 1 FOR KEY SHARE
"""


@attrs.frozen
class SetSiteAddress:
    """Which address a site shall have; ``tag`` chooses among its server's shared ones (R351)."""

    name: str
    type: Literal["shared", "dedicated"]
    tag: int | None = None


def with_site_address(
    records: tuple[RecordRow, ...], before: str, after: str
) -> tuple[RecordRow, ...]:
    """Give a zone's records with the generated ones of its site at another address. Pure.

    What a person has written stays as it is.
    """
    kind = "AAAA" if ":" in after else "A"

    def moved(row: RecordRow) -> RecordRow:
        of_site = row.generated and row.type in ("A", "AAAA") and row.name in ("@", "www")
        if not of_site or row.data != before:
            return row
        return attrs.evolve(row, type=kind, data=after, id=0)

    return tuple(dict.fromkeys(moved(row) for row in records))


async def give_back(work: Work, site: Site) -> None:
    """Let nobody have the site's dedicated address: it is free, and goes down on the box."""
    await work.tx.run("UPDATE ip_address SET site_id = NULL WHERE site_id = %s", (site.row.id,))
    await work.change.remove(
        site.row.logical_server, DEDICATED, site.address, owner_id=site.row.account
    )


@attrs.frozen
class SiteAddresses:
    """The command ``site.address``; ``clock`` gives seconds since the epoch."""

    clock: Callable[[], float]

    async def set(self, work: Work, request: SetSiteAddress) -> dict[str, Any]:
        """Give a site a dedicated address of its server, or a shared one; its records follow."""
        if request.type == "dedicated" and request.tag is not None:
            raise CommandError(
                "ip.tag.not-shared",
                "only a shared address has a tag",
                field="tag",
                value=str(request.tag),
                allowed="leave the tag out",
            )
        dedicated = request.type == "dedicated"
        return await self._set(work, request.name, dedicated=dedicated, tag=request.tag)

    async def bring_back(self, work: Work, name: str, address: str, dedicated: bool) -> None:
        """Give a site the very address that it had."""
        if dedicated:
            await self._set(work, name, dedicated=True, address=address)
            return
        row = await work.tx.maybe(
            """SELECT i.tag FROM ip_address i JOIN site s ON s.logical_server_id =
               i.logical_server_id JOIN domain d ON d.id = s.domain_id
               WHERE d.name = %s AND i.address = %s::inet AND i.type = 'shared'""",
            (name, address),
        )
        # Without it the site gets the default one, and whoever undoes sees the difference.
        await self._set(work, name, dedicated=False, tag=None if row is None else row[0])

    async def _set(
        self, work: Work, given: str, *, dedicated: bool, tag: int | None = None, address: str = ""
    ) -> dict[str, Any]:
        name = zone_name(given, field="name")
        zone = await zone_of_domain(work.tx, name, lock=True, field="name")
        await lock_site(work.tx, name)
        site = await load_site(work.tx, name)
        if site is None:
            raise unknown_domain(name, field="name")
        if dedicated:
            if site.dedicated:
                return site_shown(site)
            chosen = await self._take(work, site, address)
        else:
            chosen = await self._shared(work, site, tag)
            if site.dedicated:
                await give_back(work, site)
        await work.tx.run(
            """UPDATE site SET ip_address_id = %s, version = version + 1
               WHERE id = %s AND ip_address_id <> %s""",
            (chosen, site.row.id, chosen),
        )
        after = await load_site(work.tx, name)
        assert after is not None
        if after.address != site.address:
            work.change.row("site", name, site_kept(site), site_kept(after))
            records = with_site_address(zone.records, site.address, after.address)
            await rewrite_zone(work, zone, records, now=int(self.clock()))
            await project_site(work, after)
            await follow(work, [name], now=int(self.clock()))
        return site_shown(after)

    async def _take(self, work: Work, site: Site, address: str) -> int:
        """Take a free dedicated address of the site's server; two sites never get the same.

        It is ``address`` where one is named, else the first.
        """
        server = await self._server(work, site)
        if server.settings.get("prohibit_dedicated_ip"):
            raise CommandError(
                "site.address.prohibited",
                f"{server.name} does not give sites dedicated addresses",
                field="type",
                value="dedicated",
                allowed=f"hsctl lserver set {server.name} prohibit_dedicated_ip=false",
                status=409,
            )
        taken = await work.tx.maybe(
            _TAKE_THIS if address else _TAKE_ANY,
            (site.row.id, server.id, address or await web_port(work.tx, server)),
        )
        if taken is None or await work.tx.maybe(_BESIDE, (server.id, taken[3])) is None:
            raise CommandError(
                "site.address.none-free",
                f"{server.name} has no free dedicated address {address}".strip(),
                field="type",
                value="dedicated",
                allowed=f"hsctl ip add {server.name} --type dedicated, then again",
                status=409,
            )
        chosen, given, prefix, port = taken
        await work.change.upsert(
            server.id,
            DEDICATED,
            given,
            AddressSpec(prefix=prefix, port=port),
            owner_id=site.row.account,
        )
        return int(chosen)

    async def _shared(self, work: Work, site: Site, tag: int | None) -> int:
        """Give the server's shared address with the tag; without one, the default of the server.

        A site that has a shared address keeps it where no tag is asked for.
        """
        row = await work.tx.maybe(
            """SELECT i.id FROM ip_address i WHERE i.logical_server_id = %s AND i.type = 'shared'
               AND (%s::int IS NULL OR i.tag = %s)
               ORDER BY (%s::int IS NULL
                         AND EXISTS (SELECT FROM site x WHERE x.id = %s
                                     AND x.ip_address_id = i.id)) DESC,
                        i.tag <> %s, i.tag LIMIT 1 FOR KEY SHARE""",
            (site.row.logical_server, tag, tag, tag, site.row.id, DEFAULT_TAG),
        )
        if row is None:
            raise CommandError(
                "site.address.no-shared",
                f"{site.server} has no shared address" + ("" if tag is None else f" of tag {tag}"),
                field="tag",
                value="" if tag is None else str(tag),
                allowed=f"hsctl ip list {site.server} shows the addresses",
                status=409,
            )
        return int(row[0])

    async def _server(self, work: Work, site: Site) -> ServerRow:
        row = await work.tx.row(
            """SELECT id::text, name, group_name, service_type, settings FROM logical_server
               WHERE id = %s""",
            (site.row.logical_server,),
        )
        return ServerRow(*row)

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "site.address",
                "PUT",
                "/domains/{name}/site/address",
                SetSiteAddress,
                "account.write",
                "Give the site of a domain a dedicated address, or a shared one",
                self.set,
                "The box answers on a dedicated address from when a site takes it until the site "
                "gives it back. The records of the site follow.",
            ),
        )
