"""Whole zones as text: the commands ``domain.export`` and ``domain.import``."""

from typing import Any

import attrs

from controller.commands import Command, Work
from controller.hosting.domains import AddDomain, Domains, NamedDomain
from controller.hosting.master_files import master_file, merged, read_master_file
from controller.hosting.record_commands import is_glue
from controller.hosting.zones import load_zone, rewrite_zone, zone_name, zone_of_domain
from controller.projection.zones import RecordRow
from controller.refusal import CommandError


@attrs.frozen
class ImportZone:
    """A master file for ``name``; ``account`` makes the domain where it is new.

    ``replace`` True gives the zone the records of the file alone, False adds them.
    """

    name: str
    text: str
    replace: bool = False
    account: str = ""
    on: str = ""


@attrs.frozen
class ZoneFiles:
    """The commands on master files."""

    domains: Domains

    async def export(self, work: Work, request: NamedDomain) -> dict[str, Any]:
        """Give the zone of a domain as a master file."""
        zone = await zone_of_domain(work.tx, zone_name(request.name, field="name"), field="name")
        return {"name": zone.row.name, "serial": zone.row.serial, "text": master_file(zone)}

    async def import_(self, work: Work, request: ImportZone) -> dict[str, Any]:
        """Take the records of a master file into a domain, new or present."""
        made = False
        name = zone_name(request.name, field="name")
        zone = await load_zone(work.tx, name, lock=True)
        if (zone is None or zone.row.owner_id is None) and request.account:
            await self.domains.add(work, AddDomain(request.name, request.account, request.on))
            made = True
        zone = await zone_of_domain(work.tx, name, lock=True, field="name")
        given = read_master_file(request.text, name)
        if request.replace and not given:
            raise CommandError(
                "zone-file.empty",
                "the file holds no record: the zone would be emptied",
                field="text",
                allowed="a master file with records",
            )
        kept: list[RecordRow] = [row for row in zone.records if is_glue(zone, row)]
        records = merged(zone.records, [*kept, *given], replace=request.replace)
        after = await rewrite_zone(work, zone, records, now=int(self.domains.clock()))
        return {
            "name": name,
            "made": made,
            "read": len(given),
            "records": len(after.records),
            "serial": after.row.serial,
        }

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        path = "/domains/{name}/zone-file"
        return (
            Command(
                "domain.export",
                "GET",
                path,
                NamedDomain,
                "account.read",
                "Give the zone of a domain as a master file",
                self.export,
            ),
            Command(
                "domain.import",
                "PUT",
                path,
                ImportZone,
                "account.write",
                "Take the records of a master file into a domain",
                self.import_,
                "SOA and NS of the zone itself are left out: the system keeps them.",
            ),
        )
