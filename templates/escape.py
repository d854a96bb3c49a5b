"""Escaping, one function per syntax: the only way a value gets into a generated file (S17).

Every function takes one value and gives the text to write, quotes included. A value that its syntax
cannot carry unchanged raises `EscapeError`: nothing is stripped or repaired in silence. No shell
syntax is here because no shell is ever started.
"""

import html
import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import dns.name
import dns.rdata
import dns.rdatatype

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


class EscapeError(ValueError):
    """A value cannot be written in a syntax; ``args[0]`` tells the operator which and why."""


def _printable(value: object, syntax: str) -> str:
    if not isinstance(value, str):
        raise EscapeError(f"{syntax}: text was expected, not {type(value).__name__}")
    if not value.isprintable():
        raise EscapeError(f"{syntax}: {value!a} has a character that cannot be printed")
    return value


def _number(value: object, syntax: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise EscapeError(f"{syntax}: {value!a} is not a number from 0 to 4294967295")
    return str(value)


def _address(value: object, syntax: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    text = _printable(value, syntax)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EscapeError(f"{syntax}: {value!a} is not an IPv4 or IPv6 address") from None
    if "%" in text:
        raise EscapeError(f"{syntax}: {value!a} has a scope, which is not possible here")
    return address


def _word(value: object, syntax: str) -> str:
    text = _printable(value, syntax)
    if not _WORD.fullmatch(text):
        raise EscapeError(f"{syntax}: {value!a} is not a word of letters, digits, '.', '_' and '-'")
    return text


def named_string(value: object) -> str:
    """Quote a string of named.conf.

    named keeps a backslash before anything but a quote, so neither can be carried unchanged by
    every version: both are refused.
    """
    text = _printable(value, "named.conf string")
    if '"' in text or "\\" in text:
        raise EscapeError(f"named.conf string: {value!a} has a quote or a backslash")
    return f'"{text}"'


def named_word(value: object) -> str:
    """Write a keyword or identifier of named.conf, such as an algorithm."""
    return _word(value, "named.conf word")


def named_number(value: object) -> str:
    """Write a number of named.conf."""
    return _number(value, "named.conf number")


def named_address(value: object) -> str:
    """Write an address of named.conf in its canonical form."""
    return str(_address(value, "named.conf address"))


def zone_name(value: object) -> str:
    """Write an absolute domain name of a master file (RFC 1035 section 5.1)."""
    if not isinstance(value, dns.name.Name) or not value.is_absolute():
        raise EscapeError(f"master file name: {value!a} is not an absolute domain name")
    return value.to_text()


def zone_number(value: object) -> str:
    """Write a time or serial of a master file."""
    return _number(value, "master file number")


def zone_rdata(value: object) -> str:
    """Write the type and data of a record from parsed data, never from text (S35)."""
    if not isinstance(value, dns.rdata.Rdata):
        raise EscapeError(f"master file data: {value!a} was not parsed")
    text = _printable(value.to_text(), "master file data")
    return f"{dns.rdatatype.to_text(value.rdtype)} {text}"


def apache_argument(value: object) -> str:
    """Quote one argument of an Apache directive.

    ``${`` would be read as a variable even inside quotes, and cannot be escaped: it is refused.
    """
    text = _printable(value, "Apache argument")
    if "${" in text:
        raise EscapeError(f"Apache argument: {value!a} has '${{', which Apache would replace")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def apache_word(value: object) -> str:
    """Write a keyword or identifier of an Apache configuration without quotes."""
    return _word(value, "Apache word")


def apache_number(value: object) -> str:
    """Write a number of an Apache configuration."""
    return _number(value, "Apache number")


def apache_address(value: object) -> str:
    """Write an address of an Apache configuration; IPv6 stands in brackets."""
    address = _address(value, "Apache address")
    return f"[{address}]" if address.version == 6 else str(address)


def html_text(value: object) -> str:
    """Escape text of an HTML page, inside or outside of a quoted attribute."""
    return html.escape(_printable(value, "HTML text"), quote=True)


ESCAPES: Mapping[str, Callable[[object], str]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            named_string,
            named_word,
            named_number,
            named_address,
            zone_name,
            zone_number,
            zone_rdata,
            apache_argument,
            apache_word,
            apache_number,
            apache_address,
            html_text,
        )
    }
)
"""The filters of templates; every ``{{ }}`` ends in one of them."""
