"""Another name for a logical server: the command ``lserver.rename`` (R264).

Its generated records, its settings and those of others that name it follow. A name server that has
zones of customers keeps its name: their NS records and the delegations at the parents say it.
"""

from typing import Any

import attrs

from controller import names
from controller.cluster.ports import ServiceZonePort
from controller.cluster.rules.guard import watch
from controller.cluster.servers.logical_servers import find_server, lock_server
from controller.cluster.servers.settings import references_to
from controller.commands import Command, Work
from controller.hosting.address_mentions import glue, records_naming
from controller.projection.servers import ServerRow
from controller.projection.stored import ServerProjection, drop_secrets
from controller.refusal import CommandError
from controller.storage.database import Transaction

COUNTED = 1000
"""Zones that keep a name are counted up to here."""


@attrs.frozen
class RenameServer:
    """A logical server, and the domain name that it shall have."""

    name: str
    to: str


@attrs.frozen
class ServerNames:
    """The command that renames a logical server."""

    servers: ServerProjection
    service_zone: ServiceZonePort

    async def rename(self, work: Work, request: RenameServer) -> dict[str, Any]:
        """Give a logical server another name; tell what still names the old one.

        Raises `CommandError` ``lserver.name.invalid``, ``lserver.name.taken`` and
        ``lserver.rename.zones``.
        """
        server = await lock_server(work.tx, request.name)
        name = names.domain_name(request.to, field="to", error_id="lserver.name.invalid")
        if name == server.name:
            return {"name": name, "was": name, "settings": [], "parents": [], "by_hand": []}
        guard = await watch(work.tx, servers=[server.id])
        await _check_free(work.tx, name)
        await self.service_zone.check_name(work, name, field="to")
        await work.tx.lock("SELECT 1 FROM logical_server WHERE id = %s FOR UPDATE", (server.id,))
        await _check_no_zones(work.tx, server)
        parents = await glue(work.tx, server.id, server.name)
        naming = await references_to(work.tx, server.name)
        await work.tx.run(
            """UPDATE logical_server SET name = %s, version = version + 1 WHERE id = %s;
               UPDATE address_move SET server = %s WHERE server_id = %s AND ended_at IS NULL""",
            (name, server.id, name, server.id),
        )
        warnings = await guard.check(work.tx)
        work.change.row("logical_server", server.name, {"name": server.name}, {"name": name})
        for each in naming:
            user = name if each.server == server.name else each.server
            await self._named_anew(work, user, each.setting, server.name, name)
        # What is shown for names without a certificate of their own says the server's name.
        await drop_secrets(work.tx, f"fallback:{server.id}")
        await self.servers.project(work, await find_server(work.tx, name))
        await self.service_zone.sync(work, server.name, name)
        return {
            "name": name,
            "was": server.name,
            "settings": [{"server": each.server, "setting": each.setting} for each in naming],
            "parents": parents,
            "by_hand": await records_naming(work.tx, server.name),
            "warnings": warnings,
        }

    async def _named_anew(
        self, work: Work, user: str, setting: str, before: str, after: str
    ) -> None:
        """Have a setting of a server that names the renamed one follow."""
        await work.tx.run(
            """UPDATE logical_server SET version = version + 1,
                      settings = jsonb_set(settings, ARRAY[%s::text], to_jsonb(%s::text))
               WHERE name = %s""",
            (setting, after, user),
        )
        work.change.row("logical_server", user, {setting: before}, {setting: after})
        await self.servers.project(work, await find_server(work.tx, user))

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "lserver.rename",
                "PUT",
                "/lservers/{name}/name",
                RenameServer,
                "provider.write",
                "Give a logical server another name",
                self.rename,
                "Generated records and settings that name it follow. `by_hand` are records written "
                "by people that name the old one, `parents` the zones whose delegation does. "
                "Refused for a name server that has zones of customers.",
            ),
        )


async def _check_free(tx: Transaction, name: str) -> None:
    """See that no server has the name; two at once meet the constraint of the database."""
    if await tx.maybe("SELECT 1 FROM logical_server WHERE name = %s", (name,)) is not None:
        raise CommandError(
            "lserver.name.taken",
            "a logical server has this name",
            field="to",
            value=name,
            allowed="a name that no logical server has",
        )


async def _check_no_zones(tx: Transaction, server: ServerRow) -> None:
    (zones,) = await tx.row(
        """SELECT count(*) FROM (SELECT 1 FROM zone_server n JOIN zone z ON z.id = n.zone_id
           WHERE n.logical_server_id = %s AND z.owner_id IS NOT NULL LIMIT %s) z""",
        (server.id, COUNTED),
    )
    if zones:
        many = f"{zones} zones" if zones < COUNTED else f"{zones} zones or more"
        raise CommandError(
            "lserver.rename.zones",
            f"the NS records and delegations of {'a zone' if zones == 1 else many} say "
            f"{server.name}",
            field="to",
            value=server.name,
            allowed="a name server without zones of customers: add one with the new name, give it "
            "the roles of this one (hsctl dns roles), and move the zones (hsctl dns apply)",
            status=409,
        )
