"""The master file of a zone, and the proof that it says what was asked."""

from functools import lru_cache

import dns.exception
import dns.name
import dns.zonefile

from templates.bind.layout import BASELINE_ZONE
from templates.bind.zone_data import ZoneRecord, zone_origin
from templates.render import render
from templates.service_type import PlanRefusedError

HEADER = "; Written by Heliosphere. Changes made here are reported as drift."
_REMEMBERED = 4096


def master_file_text(zone: str, records: tuple[ZoneRecord, ...]) -> str:
    """Write a zone's master file (RFC 1035 section 5) and read it back, record by record.

    Each record has a line of its own with owner, TTL and class, and each line is read alone, to its
    end: so no line can change what another one says. Raises `PlanRefusedError` where the file would
    not hold exactly ``records``.
    """
    text = render(
        "bind/zone.j2",
        records=[(record.owner, record.ttl, record.rdata) for record in records],
    )
    header, *lines = text.split("\n")
    if header != HEADER or lines.pop() != "" or len(lines) != len(records):
        raise PlanRefusedError(f"{zone}: the zone file does not have a line for each record")
    for line, record in zip(lines, records, strict=True):
        _read_back(zone, line, record)
    return text


def baseline_file_text() -> str:
    """Write the file of the lane's own zone."""
    return render("bind/baseline.zone.j2", zone=dns.name.from_text(BASELINE_ZONE))


@lru_cache(maxsize=_REMEMBERED)
def _read_back(zone: str, line: str, record: ZoneRecord) -> None:
    try:
        found = dns.zonefile.read_rrsets(line, rdclass=None, origin=zone_origin(zone))
    except (dns.exception.DNSException, ValueError) as error:
        raise PlanRefusedError(f"{zone}: {line!a} cannot be read back: {error}") from error
    expected = [(record.owner, record.ttl, [record.rdata])]
    if [(rrset.name, rrset.ttl, list(rrset)) for rrset in found] != expected:
        raise PlanRefusedError(f"{zone}: {line!a} reads back as something else")
