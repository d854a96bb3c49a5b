"""Zones as master files (RFC 1035 section 5): written from records, read back into records. Pure.

A file that is read is data: ``$INCLUDE`` and ``$GENERATE`` are refused, and each record goes
through the same rules as one typed in.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile

from controller import names
from controller.hosting import records
from controller.hosting.records import Rrset
from controller.hosting.zones import Zone
from controller.projection.zones import RecordRow
from controller.refusal import CommandError

MAX_RECORDS = 20000
"""The most records that one file may bring."""


class _Collector(dns.zonefile.RRsetsReaderTransaction):
    """Takes records from dnspython's reader as they come, those outside the zone too.

    dnspython's own zones skip a name that is not theirs without a word; here it must be refused.
    CNAME beside other data is our own rule, checked over the whole zone.
    """

    def __init__(self) -> None:
        super().__init__(dns.zonefile.RRSetsReaderManager(dns.name.root), True, False)  # type: ignore[no-untyped-call]
        self.read: list[tuple[dns.name.Name, int, dns.rdata.Rdata]] = []

    def add(self, *record: Any) -> None:
        """Take one record: owner, TTL and rdata."""
        owner, ttl, rdata = record
        if len(self.read) == MAX_RECORDS:
            raise ValueError(f"more than {MAX_RECORDS} records")
        self.read.append((owner, ttl, rdata))


class _Lines(dns.tokenizer.Tokenizer):
    """Says where the record or directive that is read begins, not how far it was looked ahead."""

    _begun = 1

    def get(self, want_leading: bool = False, want_comment: bool = False) -> dns.tokenizer.Token:
        """Give the next token; one with ``want_leading`` begins a line."""
        if want_leading:
            self._begun = self.line_number
        return super().get(want_leading, want_comment)

    def where(self) -> tuple[str, int]:
        """Tell the file and the line."""
        return self.filename, self._begun


def master_file(zone: Zone) -> str:
    """Write a zone as a master file, its SOA and NS included."""
    row = zone.row
    lines = [
        f"$ORIGIN {row.name}.",
        f"$TTL {row.ttl}",
        f"@ {row.ttl} IN SOA {zone.master.name}. {row.contact} {row.serial} "
        "10800 3600 1209600 3600",
    ]
    lines += [f"{r.name} {r.ttl} IN {r.type} {r.data}" for r in zone.records]
    return "\n".join(lines) + "\n"


def read_master_file(text: str, zone: str) -> tuple[RecordRow, ...]:
    """Read the records of ``zone`` from a master file; SOA and NS of the zone itself are left out.

    Raises `CommandError`: ``zone-file.invalid`` where it does not parse, or that of a record.
    """
    if "\0" in text:
        raise _refused("the file holds NUL bytes")
    collector = _Collector()
    try:
        reader = dns.zonefile.Reader(
            _Lines(text.removeprefix("\ufeff"), "zone file"),
            dns.rdataclass.IN,
            collector,
            allow_include=False,
            allow_directives=("$ORIGIN", "$TTL"),
        )
        reader.current_origin = dns.name.from_text(f"{zone}.")
        reader.read()
    except (dns.exception.DNSException, ValueError, KeyError, UnicodeError) as error:
        raise _refused(f"not a master file: {error}") from error
    found: list[RecordRow] = []
    for owner, ttl, rdata in collector.read:
        name = names.owner_name(owner.to_text(), zone)
        kind = dns.rdatatype.to_text(rdata.rdtype)
        if name == "@" and kind in ("SOA", "NS"):
            continue
        rrset = Rrset(name, records.record_type(kind))
        records.check_owner(rrset)
        (data,) = records.record_data(kind, [rdata.to_text()], zone)
        found.append(RecordRow(name, kind, data, records.ttl(ttl)))
    return tuple(sorted(found))


def _refused(why: str) -> CommandError:
    return CommandError(
        "zone-file.invalid",
        why,
        field="text",
        allowed="a master file (RFC 1035 section 5) with a TTL for each record (by $TTL, its SOA "
        "or its own) and without $INCLUDE and $GENERATE",
    )


def merged(
    present: Iterable[RecordRow], given: Iterable[RecordRow], *, replace: bool
) -> tuple[RecordRow, ...]:
    """Give the records of a zone after an import; raises `CommandError` for what cannot stand.

    ``replace`` keeps of the present only the zone's NS; else what is given is added, and the TTL
    that it brings becomes that of its whole RRset.
    """
    kept = [row for row in present if not replace or (row.name == "@" and row.type == "NS")]
    ttls = {Rrset(row.name, row.type): row.ttl for row in given}
    rows = {(row.name, row.type, row.data): row for row in kept}
    for row in given:
        rows.setdefault((row.name, row.type, row.data), row)
    merged_rows = tuple(
        sorted(
            RecordRow(
                row.name,
                row.type,
                row.data,
                ttls.get(Rrset(row.name, row.type), row.ttl),
                row.generated,
                row.id,
            )
            for row in rows.values()
        )
    )
    _check(merged_rows)
    return merged_rows


def _check(rows: Iterable[RecordRow]) -> None:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        counts[row.name][row.type] += 1
    for name, types in counts.items():
        for kind, count in types.items():
            records.check_beside(
                Rrset(name, kind), count, [Rrset(name, other) for other in types if other != kind]
            )
