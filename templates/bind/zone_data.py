"""From a master zone's specification to parsed records: what named cannot serve is refused here.

named answers a reload before it has read the file, and a bad file leaves the old data in place.
So every rule by which named refuses a zone is checked before anything is written.
"""

import re
from functools import lru_cache

import attrs
import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.SOA import SOA

from templates.bind.layout import BASELINE_ZONE
from templates.bind.objects import MOST_OF_A_TYPE, MasterZone, Record, StartOfAuthority
from templates.service_type import PlanRefusedError

TYPES = frozenset(
    [
        *("A", "AAAA", "CAA", "CNAME", "DS", "HINFO", "HTTPS", "LOC", "MX", "NAPTR", "NS", "PTR"),
        *("RP", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT", "URI"),
    ]
)
"""Record types that a zone may hold beside its SOA."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_LONGEST_NAME = 253
_MAX_TTL = 2**31 - 1
_MAX_RDATA = 65535
LAST_SERIAL = 2**32 - 1
"""More than any time of an SOA (RFC 1035, RFC 1982)."""


_REMEMBERED = 4096
"""Records kept parsed: a change of one record reads none of its neighbours again."""


@attrs.frozen(eq=False)
class ZoneRecord:
    """One record, parsed; ``owner`` is absolute, ``ttl`` in seconds.

    ``owner_key`` and ``digest`` are equal for names and data that DNS holds equal. Two records are
    the same only where they were parsed once, since names are written as they were given.
    """

    owner: dns.name.Name
    ttl: int
    rdata: dns.rdata.Rdata
    owner_key: str
    digest: bytes

    @classmethod
    def of(cls, owner: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> "ZoneRecord":
        """Make one with its keys."""
        return cls(owner, ttl, rdata, owner.to_text().lower(), rdata.to_digestable())


@attrs.frozen
class ZoneData:
    """All records of a zone, parsed and checked.

    ``apex`` is its SOA with `LAST_SERIAL` in place of ``serial``, which alone is new in every
    version.
    """

    serial: int
    apex: ZoneRecord
    records: tuple[ZoneRecord, ...]


@lru_cache(maxsize=_REMEMBERED)
def zone_origin(zone: str) -> dns.name.Name:
    """Read a zone's name: A-labels in lower case, without the final dot (RFC 1035, RFC 5890).

    Raises `PlanRefusedError`, also for the name that the lane's own zone has.
    """
    if (
        len(zone) > _LONGEST_NAME
        or not all(_LABEL.fullmatch(label) for label in zone.split("."))
        or zone == BASELINE_ZONE
    ):
        raise PlanRefusedError(f"{zone!a} cannot be the name of a zone here")
    return dns.name.from_text(zone, dns.name.root)


def zone_data(zone: str, spec: MasterZone) -> ZoneData:
    """Parse and check all records of a zone; raises `PlanRefusedError`."""
    apex = _apex(zone, spec.soa)
    records = tuple(_record(zone, record) for record in spec.records)
    _check_sets(zone, (apex, *records))
    _check_name_servers(zone, records)
    return ZoneData(_serial(zone, spec.serial), apex, records)


def _serial(zone: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LAST_SERIAL:
        raise PlanRefusedError(f"{zone}: {value!a} is not a serial (RFC 1982)")
    return value


def _time(zone: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_TTL:
        raise PlanRefusedError(f"{zone}: {value!a} is not a time from 0 to {_MAX_TTL} seconds")
    return value


def _name(zone: str, text: str, origin: dns.name.Name | None) -> dns.name.Name:
    """Read a name; absolute ones only where there is no ``origin``."""
    try:
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise PlanRefusedError(f"{zone}: {text!a} is not a domain name")
        name = dns.name.from_text(text, origin)
    except (dns.exception.DNSException, ValueError) as error:
        raise PlanRefusedError(f"{zone}: {text!a} is not a domain name: {error}") from error
    if not name.is_absolute():
        raise PlanRefusedError(f"{zone}: {text!a} must end in a dot")
    return name


@lru_cache(maxsize=_REMEMBERED)
def _apex(zone: str, soa: StartOfAuthority) -> ZoneRecord:
    rdata = SOA(  # type: ignore[no-untyped-call]
        dns.rdataclass.IN,
        dns.rdatatype.SOA,
        _name(zone, soa.primary, None),
        _name(zone, soa.contact, None),
        LAST_SERIAL,
        *(_time(zone, value) for value in (soa.refresh, soa.retry, soa.expire, soa.minimum)),
    )
    return ZoneRecord.of(zone_origin(zone), _time(zone, soa.ttl), rdata)


@lru_cache(maxsize=_REMEMBERED)
def _record(zone: str, record: Record) -> ZoneRecord:
    origin = zone_origin(zone)
    owner = _name(zone, record.owner, origin)
    if not owner.is_subdomain(origin):
        raise PlanRefusedError(f"{zone}: {record.owner!a} is outside of the zone")
    if record.type not in TYPES:
        raise PlanRefusedError(f"{zone}: records of type {record.type!a} are not possible here")
    if not record.data.isprintable():
        raise PlanRefusedError(
            f"{zone}: {record.type} of {record.owner}: {record.data!a} has a character that cannot"
            " be printed"
        )
    try:
        rdata, digest = _rdata(record.type, record.data)
    except (dns.exception.DNSException, ValueError) as error:
        raise PlanRefusedError(
            f"{zone}: {record.type} of {record.owner}: {record.data!a}: {error}"
        ) from error
    if digest is None:
        raise PlanRefusedError(
            f"{zone}: {record.type} of {record.owner}: a name in {record.data!a} has no final dot"
        )
    if rdata.rdcomment is not None:
        raise PlanRefusedError(
            f"{zone}: {record.type} of {record.owner}: {record.data!a} has a comment"
        )
    if len(digest) > _MAX_RDATA:
        raise PlanRefusedError(
            f"{zone}: {record.type} of {record.owner} is over {_MAX_RDATA} bytes"
        )
    return ZoneRecord(owner, _time(zone, record.ttl), rdata, owner.to_text().lower(), digest)


@lru_cache(maxsize=_REMEMBERED)
def _rdata(rdtype: str, data: str) -> tuple[dns.rdata.Rdata, bytes | None]:
    """Read a record's data, with its digest: None where a name in it is not absolute.

    Zones of one cluster have the same name servers and web servers in them.
    """
    rdata = dns.rdata.from_text(
        dns.rdataclass.IN, dns.rdatatype.from_text(rdtype), data, relativize=False
    )
    values = (getattr(rdata, slot) for slot in rdata._get_all_slots())  # type: ignore[no-untyped-call]
    absolute = all(value.is_absolute() for value in values if isinstance(value, dns.name.Name))
    return rdata, rdata.to_digestable() if absolute else None


def _check_sets(zone: str, records: tuple[ZoneRecord, ...]) -> None:
    """One TTL for each set, no record twice (RFC 2181), nothing beside a CNAME (RFC 1034)."""
    sets: dict[tuple[str, int], tuple[int, set[bytes]]] = {}
    for record in records:
        ttl, digests = sets.setdefault((record.owner_key, record.rdata.rdtype), (record.ttl, set()))
        if ttl != record.ttl:
            raise PlanRefusedError(f"{zone}: {_set_text(record)} has more than one TTL")
        if record.digest in digests:
            raise PlanRefusedError(f"{zone}: {_set_text(record)} is there twice")
        digests.add(record.digest)
    aliases = {owner for owner, rdtype in sets if rdtype == dns.rdatatype.CNAME}
    for (owner, rdtype), (_, digests) in sets.items():
        if owner in aliases and rdtype != dns.rdatatype.CNAME:
            raise PlanRefusedError(f"{zone}: {owner} has a CNAME and other records")
        if owner in aliases and len(digests) > 1:
            raise PlanRefusedError(f"{zone}: {owner} has more than one CNAME")
        if len(digests) > MOST_OF_A_TYPE:
            words = f"{len(digests)} {dns.rdatatype.RdataType(rdtype).name} records"
            raise PlanRefusedError(f"{zone}: {owner} has {words}, at most {MOST_OF_A_TYPE} load")


def _set_text(record: ZoneRecord) -> str:
    return f"{dns.rdatatype.to_text(record.rdata.rdtype)} of {record.owner}"


def _check_name_servers(zone: str, records: tuple[ZoneRecord, ...]) -> None:
    """A zone has NS records, and those of its names that they lead to have an address.

    named does not load a zone otherwise.
    """
    origin = zone_origin(zone)
    apex = origin.to_text()
    servers = [(record, record.rdata) for record in records if isinstance(record.rdata, NS)]
    own = [rdata.target for record, rdata in servers if record.owner_key == apex]
    if not own:
        raise PlanRefusedError(f"{zone}: there is no NS record at {origin}")
    inside = [server for server in own if server.is_subdomain(origin)]
    if not inside:
        return
    cuts = [record.owner for record, _ in servers if record.owner_key != apex]
    addresses = {
        record.owner_key
        for record in records
        if record.rdata.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
    }
    for server in inside:
        names = (server, dns.name.Name(("*", *server.labels[1:])))
        if any(server.is_subdomain(cut) for cut in cuts):
            continue
        if not any(name.to_text().lower() in addresses for name in names):
            raise PlanRefusedError(f"{zone}: the name server {server} has no address in the zone")
