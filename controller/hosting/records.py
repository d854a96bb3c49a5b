"""Resource records as people give them: read by rules of their own, never passed on raw.

Values are taken apart here, rebuilt as rdata by dnspython, and stored as that rdata's text with
absolute names (S35): what was not understood is refused, so nothing of a value can become a second
record, a comment or a directive of a master file.

In MX, NS, CNAME, SRV and PTR, a target with a dot in it is absolute whether or not it ends in one;
a single label and ``@`` are relative to the zone.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address

import attrs
import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.ANY.TXT import TXT

from controller import names
from controller.refusal import CommandError
from templates.bind.objects import MOST_OF_A_TYPE

TYPES = ("A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT")
MAX_TTL = 2**31 - 1
"""RFC 2181 section 8."""
MAX_TEXT = 16384
"""The most bytes that one TXT record may hold."""

_WORDS = {"MX": 2, "SRV": 4, "CAA": 3}
_SHAPES = {
    "A": "an IPv4 address",
    "AAAA": "an IPv6 address",
    "CAA": "FLAGS TAG VALUE, such as 0 issue ca.example",
    "CNAME": "a name",
    "MX": "PREFERENCE HOST, such as 10 mail",
    "NS": "the name of a name server",
    "PTR": "a name",
    "SRV": "PRIORITY WEIGHT PORT HOST",
    "TXT": "text, or strings in double quotes as in a master file",
}
_TAG = re.compile(r"[a-z0-9]{1,15}")


@attrs.frozen(order=True)
class Rrset:
    """The name and type that a set of records share."""

    name: str
    """Relative to the zone, ``@`` the apex."""
    type: str


def record_type(text: str) -> str:
    """Read a record type; raises `CommandError` ``record.type.invalid``."""
    kind = text.upper()
    if kind not in TYPES:
        raise CommandError(
            "record.type.invalid",
            "SOA is kept by the system" if kind == "SOA" else "not a record type that can be set",
            field="type",
            value=text,
            allowed=", ".join(TYPES),
        )
    return kind


def ttl(seconds: int) -> int:
    """Check a time to live in seconds; raises `CommandError` ``record.ttl.invalid``."""
    if not 0 <= seconds <= MAX_TTL:
        raise CommandError(
            "record.ttl.invalid",
            "the time to live is out of range",
            field="ttl",
            value=str(seconds),
            allowed=f"0 to {MAX_TTL} seconds",
        )
    return seconds


def record_data(kind: str, values: Sequence[str], zone: str) -> tuple[str, ...]:
    """Read the values of records of one type; give each one's rdata text, absolute names.

    Words of one MX, SRV or CAA record may come as separate values (``10``, ``mail``): they are put
    together where every value is a single word. Raises `CommandError` ``record.value.invalid``.
    """
    if not values:
        raise _refused(kind, "", "a value is missing")
    words = _WORDS.get(kind)
    if words and len(values) % words == 0 and not any(" " in value.strip() for value in values):
        values = [" ".join(values[start : start + words]) for start in range(0, len(values), words)]
    data = tuple(_one(kind, value, zone) for value in values)
    if len(set(data)) < len(data):
        raise _refused(kind, ", ".join(values), "a value is given twice")
    return data


def _refused(kind: str, value: str, why: str) -> CommandError:
    return CommandError(
        "record.value.invalid", why, field="values", value=value, allowed=_SHAPES[kind]
    )


def _one(kind: str, value: str, zone: str) -> str:
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise _refused(kind, value, "line breaks and control characters are not allowed")
    try:
        return _READERS[kind](value.strip(), zone)
    except (ValueError, dns.exception.DNSException) as error:
        raise _refused(kind, value, f"not a value of type {kind}: {error}") from error


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):
        raise ValueError(f"{text!r} is not a number from 0 to {most}")
    return int(text)


def _fields(value: str, count: int) -> list[str]:
    parts = value.split()
    if len(parts) != count:
        raise ValueError(f"{count} words are needed")
    return parts


def _target(text: str, zone: str, *, host: bool) -> str:
    """Give the absolute name, ending in a dot, that ``text`` stands for."""
    if text == "@":
        return f"{zone}."
    try:
        labels = names.labels_to_ascii(
            text.removesuffix("."), value=text, field="values", error_id="record.value.invalid"
        )
    except CommandError as error:
        raise ValueError(error.message) from error
    name = ".".join(labels)
    if len(labels) == 1 and not text.endswith("."):
        name = f"{name}.{zone}"
    if host and not names.is_host_name(name):
        raise ValueError("the target must be a host name")
    if not names.is_host_name(name.replace("_", "a")):
        raise ValueError("the target is not a name")
    if name.rpartition(".")[2].isdigit():
        # RFC 1123 section 2.1: no name ends so, and nothing resolves an address as one.
        raise ValueError("the target is a name, not an address")
    return f"{name}."


def _rdata(kind: str, text: str) -> str:
    rdata = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text)
    return rdata.to_text()


def _a(value: str, zone: str) -> str:
    return str(IPv4Address(value))


def _aaaa(value: str, zone: str) -> str:
    address = IPv6Address(value)
    if address.scope_id:
        raise ValueError("an address with a zone index has no place in DNS")
    return _rdata("AAAA", str(address))


def _cname(value: str, zone: str) -> str:
    return _rdata("CNAME", _target(value, zone, host=False))


def _ptr(value: str, zone: str) -> str:
    return _rdata("PTR", _target(value, zone, host=False))


def _ns(value: str, zone: str) -> str:
    return _rdata("NS", _target(value, zone, host=True))


def _mx(value: str, zone: str) -> str:
    preference, host = _fields(value, 2)
    number = _number(preference, 65535)
    # RFC 7505: a null MX says that the domain takes no mail.
    name = "." if host == "." and number == 0 else _target(host, zone, host=True)
    return _rdata("MX", f"{number} {name}")


def _srv(value: str, zone: str) -> str:
    priority, weight, port, host = _fields(value, 4)
    name = "." if host == "." else _target(host, zone, host=True)
    numbers = (_number(word, 65535) for word in (priority, weight, port))
    return _rdata("SRV", " ".join([*map(str, numbers), name]))


def _caa(value: str, zone: str) -> str:
    parts = value.split(None, 2)
    if len(parts) != 3:
        raise ValueError("three words are needed")
    flags, tag, text = parts
    if not _TAG.fullmatch(tag.lower()):
        raise ValueError("the tag holds 1 to 15 letters and digits")
    strings = _strings(text)
    if len(strings) != 1:
        raise ValueError("one string is needed")
    rdata = CAA(  # type: ignore[no-untyped-call]
        dns.rdataclass.IN,
        dns.rdatatype.CAA,
        _number(flags, 255),
        tag.lower().encode(),
        strings[0],
    )
    return rdata.to_text()


def _txt(value: str, zone: str) -> str:
    chunks = [
        string[start : start + 255]
        for string in _strings(value)
        for start in range(0, len(string) or 1, 255)
    ]
    if sum(map(len, chunks)) > MAX_TEXT:
        raise ValueError(f"a text holds at most {MAX_TEXT} bytes")
    return TXT(dns.rdataclass.IN, dns.rdatatype.TXT, chunks).to_text()


def _strings(text: str) -> list[bytes]:
    """Give the character strings of a text: as it stands, or as quoted in a master file."""
    if not text.startswith('"'):
        return [text.encode()]
    tokens = dns.tokenizer.Tokenizer(text)
    strings: list[bytes] = []
    while True:
        token = tokens.get(want_comment=True)
        if token.is_eol_or_eof():
            return strings
        if not token.is_quoted_string():
            raise ValueError("every string of a quoted text must be in double quotes")
        strings.append(token.unescape_to_bytes().value)


_READERS = {
    "A": _a,
    "AAAA": _aaaa,
    "CAA": _caa,
    "CNAME": _cname,
    "MX": _mx,
    "NS": _ns,
    "PTR": _ptr,
    "SRV": _srv,
    "TXT": _txt,
}


def check_owner(rrset: Rrset) -> None:
    """Check that a type may stand at a name.

    Raises `CommandError`: the apex NS and SOA are the system's (``record.generated``), the apex
    holds no CNAME (RFC 1034 section 3.6.2), and address and mail records belong to host names.
    """
    if rrset.name == "@" and rrset.type in ("NS", "SOA"):
        raise CommandError(
            "record.generated",
            f"the {rrset.type} records of a zone itself are kept by the system",
            field="type",
            value=rrset.type,
            allowed="NS records below the zone's name, to delegate a part of it",
            status=409,
        )
    if rrset.name == "@" and rrset.type == "CNAME":
        raise CommandError(
            "record.cname.apex",
            "a CNAME cannot stand at the zone's own name, beside its SOA and NS",
            field="name",
            value=rrset.name,
            allowed="A and AAAA records at @, or a CNAME at another name",
        )
    if rrset.type in ("A", "AAAA", "MX") and not names.is_host_owner(rrset.name):
        raise CommandError(
            "record.name.invalid",
            f"a name with an underscore cannot hold {rrset.type} records",
            field="name",
            value=rrset.name,
            allowed="letters, digits and hyphens",
        )


def check_beside(wanted: Rrset, count: int, present: Iterable[Rrset]) -> None:
    """Check that ``count`` records of ``wanted`` may stand beside the RRsets ``present``.

    ``present`` holds the other RRsets of the zone. Raises `CommandError` ``record.cname.beside``:
    a CNAME stands alone at its name, and there is one of it (RFC 2181 section 10.1); and
    ``record.too-many``.
    """
    if count > MOST_OF_A_TYPE:
        raise CommandError(
            "record.too-many",
            f"{wanted.name} would have {count} {wanted.type} records",
            field="values",
            value=str(count),
            allowed=f"at most {MOST_OF_A_TYPE} of one name and type: name servers load no zone "
            "with more",
        )
    others = sorted(
        rrset.type for rrset in present if rrset.name == wanted.name and rrset.type != wanted.type
    )
    if wanted.type == "CNAME" and (others or count > 1):
        raise CommandError(
            "record.cname.beside",
            "a CNAME stands alone at its name",
            field="type",
            value="CNAME",
            allowed=f"delete the {', '.join(others)} records of {wanted.name} first"
            if others
            else "one value",
        )
    if "CNAME" in others:
        raise CommandError(
            "record.cname.beside",
            f"{wanted.name} is a CNAME, which stands alone at its name",
            field="type",
            value=wanted.type,
            allowed=f"delete the CNAME of {wanted.name} first",
        )
