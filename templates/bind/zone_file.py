"""The master file of a zone, and the proof that it says what was asked."""

import dns.exception
import dns.name
import dns.zone

from templates.bind.layout import BASELINE_ZONE
from templates.bind.zone_data import ZoneRecord, zone_origin
from templates.render import render
from templates.service_type import PlanRefusedError


def master_file_text(zone: str, records: tuple[ZoneRecord, ...]) -> str:
    """Write a zone's master file (RFC 1035 section 5) and read it back, record by record.

    Raises `PlanRefusedError` where the file would not hold exactly ``records``.
    """
    text = render(
        "bind/zone.j2",
        records=[(record.owner, record.ttl, record.rdata) for record in records],
    )
    _read_back(zone, text, records)
    return text


def baseline_file_text() -> str:
    """Write the file of the lane's own zone."""
    return render("bind/baseline.zone.j2", zone=dns.name.from_text(BASELINE_ZONE))


def _read_back(zone: str, text: str, records: tuple[ZoneRecord, ...]) -> None:
    origin = zone_origin(zone)
    try:
        parsed = dns.zone.from_text(
            text, origin=origin, relativize=False, check_origin=True, allow_include=False
        )
    except (dns.exception.DNSException, ValueError) as error:
        raise PlanRefusedError(f"{zone}: the zone file cannot be read back: {error}") from error
    found = {
        (owner, ttl, rdata.rdtype, rdata.to_wire()) for owner, ttl, rdata in parsed.iterate_rdatas()
    }
    expected = {
        (record.owner, record.ttl, record.rdata.rdtype, record.rdata.to_wire())
        for record in records
    }
    if found != expected:
        raise PlanRefusedError(f"{zone}: the zone file reads back as other records than asked for")
