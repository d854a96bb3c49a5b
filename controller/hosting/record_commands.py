"""The records of a zone: the commands ``record.*`` (R29)."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from controller import names
from controller.commands import Command, Work
from controller.hosting import records
from controller.hosting.records import Rrset
from controller.hosting.zones import (
    Zone,
    record_shown,
    rewrite_zone,
    zone_name,
    zone_of_domain,
)
from controller.pages import after_text, limit, page
from controller.projection.zones import RecordRow
from controller.refusal import CommandError


@attrs.frozen
class WriteRecords:
    """Records of one name and type; ``ttl`` in seconds, None takes the RRset's or the zone's."""

    domain: str
    name: str
    type: str
    values: tuple[str, ...]
    ttl: int | None = None


@attrs.frozen
class DeleteRecords:
    """What to delete; ``type`` and ``values`` narrow it down until it is not ambiguous."""

    domain: str
    name: str
    type: str = ""
    values: tuple[str, ...] = ()


@attrs.frozen
class ListRecords:
    """A page of a zone's records, of one relative ``name`` or ``type`` where given."""

    domain: str
    name: str = ""
    type: str = ""
    limit: int = 100
    cursor: str = ""


def checked_beside(zone: Zone, wanted: Rrset, count: int) -> None:
    """Check an RRset of ``count`` records against the others of the zone."""
    present = {Rrset(row.name, row.type) for row in zone.records}
    records.check_beside(wanted, count, present - {wanted})


def is_glue(zone: Zone, row: RecordRow) -> bool:
    """Tell whether a record is the address of one of the zone's own name servers."""
    return row.generated and any(
        server.name in (f"{row.name}.{zone.row.name}", zone.row.name if row.name == "@" else "")
        for server in zone.servers
    )


@attrs.frozen
class Records:
    """The commands on records; ``clock`` gives seconds since the epoch."""

    clock: Callable[[], float]

    async def add(self, work: Work, request: WriteRecords) -> dict[str, Any]:
        """Add records to an RRset; it is made where there is none."""
        zone, rrset, data = await self._read(work, request)
        present = [row for row in zone.records if (row.name, row.type) == (rrset.name, rrset.type)]
        for value in data:
            if any(row.data == value for row in present):
                raise CommandError(
                    "record.duplicate",
                    "the record is there already",
                    field="values",
                    value=value,
                    allowed="another value",
                )
        if present and request.ttl is not None and request.ttl != present[0].ttl:
            raise CommandError(
                "record.ttl.differs",
                f"the records of {rrset.name} {rrset.type} have the TTL {present[0].ttl}, "
                "and all of one name and type share it (RFC 2181 section 5.2)",
                field="ttl",
                value=str(request.ttl),
                allowed=f"{present[0].ttl}, or record set to give all of them anew",
            )
        checked_beside(zone, rrset, len(present) + len(data))
        new = _rows(rrset, data, _ttl(request, zone, present))
        after = await rewrite_zone(work, zone, [*zone.records, *new], now=int(self.clock()))
        return _answer(after, new)

    async def set(self, work: Work, request: WriteRecords) -> dict[str, Any]:
        """Make an RRset hold exactly the given records."""
        zone, rrset, data = await self._read(work, request)
        checked_beside(zone, rrset, len(data))
        present = [row for row in zone.records if (row.name, row.type) == (rrset.name, rrset.type)]
        self._refuse_glue(zone, present)
        new = _rows(rrset, data, _ttl(request, zone, present))
        others = [row for row in zone.records if row not in present]
        after = await rewrite_zone(work, zone, [*others, *new], now=int(self.clock()))
        return _answer(after, new)

    async def delete(self, work: Work, request: DeleteRecords) -> dict[str, Any]:
        """Delete records; refused where more than one could be meant."""
        zone = await zone_of_domain(work.tx, zone_name(request.domain), lock=True)
        name = names.owner_name(request.name, zone.row.name)
        kind = records.record_type(request.type) if request.type else ""
        if kind:
            records.check_owner(Rrset(name, kind))
        found = [row for row in zone.records if row.name == name and kind in ("", row.type)]
        if request.values:
            if not kind:
                raise CommandError(
                    "record.type.missing",
                    "a value is read by its type",
                    field="type",
                    allowed=", ".join(records.TYPES),
                )
            data = records.record_data(kind, request.values, zone.row.name)
            missing = [value for value in data if value not in {row.data for row in found}]
            if missing:
                raise _no_such(name, kind, ", ".join(missing), found)
            found = [row for row in found if row.data in data]
        elif len(found) > 1:
            raise CommandError(
                "record.delete.ambiguous",
                f"{len(found)} records could be meant",
                field="values" if kind else "type",
                value=request.name,
                allowed="name one of: " + "; ".join(f"{r.type} {r.data}" for r in found),
                status=409,
            )
        if not found:
            raise _no_such(name, kind, "", [row for row in zone.records if row.name == name])
        if any(row.name == "@" and row.type == "NS" for row in found):
            records.check_owner(Rrset("@", "NS"))
        self._refuse_glue(zone, found)
        after = await rewrite_zone(
            work, zone, [row for row in zone.records if row not in found], now=int(self.clock())
        )
        return _answer(after, found)

    async def list(self, work: Work, request: ListRecords) -> dict[str, Any]:
        """List the records of a zone by name and type."""
        size = limit(request.limit)
        zone = await zone_of_domain(work.tx, zone_name(request.domain))
        name = names.owner_name(request.name, zone.row.name) if request.name else ""
        kind = records.record_type(request.type) if request.type else ""
        start = after_text(request.cursor)
        shown = [
            {**record_shown(zone.row.name, row), "id": row.id}
            for row in zone.records
            if name in ("", row.name) and kind in ("", row.type) and _place(row) > start
        ]
        return page(
            shown[: size + 1],
            size,
            lambda item: "\x1f".join((item["name"], item["type"], item["data"])),
        )

    async def _read(self, work: Work, request: WriteRecords) -> tuple[Zone, Rrset, tuple[str, ...]]:
        """Check all that does not need the zone, then load it for writing."""
        domain = zone_name(request.domain)
        rrset = Rrset(names.owner_name(request.name, domain), records.record_type(request.type))
        records.check_owner(rrset)
        if request.ttl is not None:
            records.ttl(request.ttl)
        data = records.record_data(rrset.type, request.values, domain)
        return await zone_of_domain(work.tx, domain, lock=True), rrset, data

    def _refuse_glue(self, zone: Zone, rows: Sequence[RecordRow]) -> None:
        for row in rows:
            if is_glue(zone, row):
                raise CommandError(
                    "record.generated",
                    "the address of the zone's own name server is kept by the system",
                    field="name",
                    value=row.name,
                    allowed="records of other names",
                    status=409,
                )

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        path = "/domains/{domain}/records"
        return (
            Command(
                "record.add",
                "POST",
                path,
                WriteRecords,
                "account.write",
                "Add records to a zone",
                self.add,
                "Names are relative to the zone, @ is the zone; the stored name is answered.",
            ),
            Command(
                "record.set",
                "PUT",
                path,
                WriteRecords,
                "account.write",
                "Replace all records of one name and type",
                self.set,
            ),
            Command(
                "record.list",
                "GET",
                path,
                ListRecords,
                "account.read",
                "List the records of a zone",
                self.list,
            ),
            Command(
                "record.delete",
                "DELETE",
                path,
                DeleteRecords,
                "account.write",
                "Delete records of a zone",
                self.delete,
                "Refused where more than one record could be meant: give the type, then the value.",
            ),
        )


def _place(row: RecordRow) -> str:
    return f"{row.name}\x1f{row.type}\x1f{row.data}"


def _ttl(request: WriteRecords, zone: Zone, present: Sequence[RecordRow]) -> int:
    if request.ttl is not None:
        return request.ttl
    return present[0].ttl if present else zone.row.ttl


def _rows(rrset: Rrset, data: Sequence[str], ttl: int) -> list[RecordRow]:
    return [RecordRow(rrset.name, rrset.type, value, ttl) for value in data]


def _answer(zone: Zone, rows: Sequence[RecordRow]) -> dict[str, Any]:
    return {
        "domain": zone.row.name,
        "serial": zone.row.serial,
        "records": [record_shown(zone.row.name, row) for row in rows],
    }


def _no_such(name: str, kind: str, value: str, beside: Sequence[RecordRow]) -> CommandError:
    present = "; ".join(f"{row.type} {row.data}" for row in beside)
    return CommandError(
        "record.unknown",
        f"{name} has no such record",
        field="values" if value else "type" if kind else "name",
        value=value or kind or name,
        allowed=f"{name} has: {present}" if present else "hsctl record list shows the records",
        status=404,
    )
