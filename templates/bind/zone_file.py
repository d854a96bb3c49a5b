"""The master file of a zone, and the proof that it says what was asked."""

import re
from functools import lru_cache

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer

from templates.bind.layout import BASELINE_ZONE
from templates.bind.zone_data import LAST_SERIAL, ZoneData, ZoneRecord, zone_origin
from templates.render import render
from templates.service_type import PlanRefusedError

HEADER = "; Written by Heliosphere. Changes made here are reported as drift."
_REMEMBERED = 4096
"""Records kept written: a change of one record writes and reads none of its neighbours again."""
_SOA_LINE = re.compile(rf"(\S+ \d+ IN SOA \S+ \S+ ){LAST_SERIAL}((?: \d+){{4}}\n)", re.ASCII)


def master_file_text(zone: str, data: ZoneData) -> str:
    """Write a zone's master file (RFC 1035 section 5) and read it back, record by record.

    Each record has a line of its own with owner, TTL and class, and each line is read alone, to its
    end: so no line can change what another one says. Raises `PlanRefusedError` where the file would
    not hold exactly ``data``.
    """
    before, after = _around_serial(zone, data.apex)
    lines = (_line(zone, record) for record in data.records)
    return "".join([HEADER, "\n", before, str(data.serial), after, *lines])


def baseline_file_text() -> str:
    """Write the file of the lane's own zone."""
    return render("bind/baseline.zone.j2", zone=dns.name.from_text(BASELINE_ZONE))


@lru_cache(maxsize=_REMEMBERED)
def _around_serial(zone: str, apex: ZoneRecord) -> tuple[str, str]:
    """Give what stands before and after the serial in a zone's SOA.

    It is written and read back with one serial; in its place any other reads back as well.
    """
    line = _written(zone, apex)
    around = _SOA_LINE.fullmatch(line)
    if around is None:
        raise PlanRefusedError(f"{zone}: the serial has no place of its own in {line!a}")
    return around[1], around[2]


@lru_cache(maxsize=_REMEMBERED)
def _line(zone: str, record: ZoneRecord) -> str:
    return _written(zone, record)


def _written(zone: str, record: ZoneRecord) -> str:
    line = render("bind/record.j2", owner=record.owner, ttl=record.ttl, rdata=record.rdata)
    try:
        owner, ttl, rdata = _read_back(line, zone_origin(zone))
    except (dns.exception.DNSException, ValueError) as error:
        raise PlanRefusedError(f"{zone}: {line!a} cannot be read back: {error}") from error
    written = ZoneRecord.of(owner, ttl, rdata)
    if (rdata.rdclass, rdata.rdtype) != (record.rdata.rdclass, record.rdata.rdtype) or (
        (written.owner_key, ttl, written.digest) != (record.owner_key, record.ttl, record.digest)
    ):
        raise PlanRefusedError(f"{zone}: {line!a} reads back as something else")
    return line


def _read_back(line: str, origin: dns.name.Name) -> tuple[dns.name.Name, int, dns.rdata.Rdata]:
    """Read one line that holds one record and nothing else, from its first byte to its last."""
    if not line.endswith("\n") or line[0] in " \t$;\n":
        raise ValueError("not a line that begins with an owner")
    tokens = dns.tokenizer.Tokenizer(line)
    owner = tokens.get_name(origin)
    ttl = tokens.get_ttl()
    rdclass = dns.rdataclass.from_text(tokens.get_string())
    rdtype = dns.rdatatype.from_text(tokens.get_string())
    rdata = dns.rdata.from_text(rdclass, rdtype, tokens, origin, relativize=False)
    if not tokens.get().is_eof():
        raise ValueError("there is more than one line")
    return owner, ttl, rdata
