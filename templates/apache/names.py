"""What may stand in an Apache configuration: host names, directories, documents, addresses.

The controller has checked all of it before; a box believes nothing, because these words become file
names and directives (S3, S17). Each function gives its argument back or raises `PlanRefusedError`.
"""

import re

from templates.service_type import PlanRefusedError

RESERVED = "heliosphere.invalid"
"""The names under this one are the server's own (RFC 2606: ``invalid`` never resolves)."""
HEALTH = f"health.{RESERVED}"
"""The host that answers 204 while the server is alive, whatever the sites are."""
NEUTRAL = f"default.{RESERVED}"
"""The server's own name: what it calls itself to a client that named nothing."""

_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})+", re.ASCII)
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", re.ASCII)
_DOCUMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)
SHARED_LENGTH = 128
"""Characters of a domain whose names share a certificate, at the most."""
MAILBOX = rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,63}}@{_LABEL}(\.{_LABEL})+"
"""The pattern of a mail address that may stand on error pages."""
_TEXT = r"(?:[A-Za-z0-9._~:/@!&()*+,;=-]|%[0-9A-Fa-f]{2})*"
_PATH = "[A-Za-z0-9._~/:@!&()*+,=-]*"
"""What Apache writes into a Location header as it stands: it would write ``%20`` as ``%2520``."""
_URL = re.compile(
    r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    rf"(?:/{_PATH})?(?:\?(?:{_TEXT}|\?)*)?(?:#{_TEXT})?",
    re.ASCII,
)
URL_LENGTH = 2000


def host_name(value: str) -> str:
    """Check a host name: A-labels, lower case, at least two labels (RFC 1123 section 2.1).

    An address is none: what a client names by address gets the neutral page.
    """
    if len(value) > 253 or not _HOST.fullmatch(value):
        raise PlanRefusedError(
            f"{value!a} is not a host name: labels of a-z, 0-9 and '-', up to 63 characters each"
        )
    if value.rpartition(".")[2].isdigit():
        raise PlanRefusedError(f"{value!a} is an address, not a host name")
    if value == RESERVED or value.endswith("." + RESERVED):
        raise PlanRefusedError(f"{value!a} is a name of the server's own")
    return value


def shared_domain(value: str) -> str:
    """Check a domain whose names share a certificate: it stands in the name of a variable too."""
    if len(value) > SHARED_LENGTH:
        raise PlanRefusedError(f"{value!a} is longer than {SHARED_LENGTH} characters")
    return host_name(value)


def shared_name(domain: str) -> str:
    """Give the name by which the server itself asks for what is shared below ``domain``.

    No site can have it, so that nobody decides what the probe of a shared certificate finds.
    """
    return f"{domain}.{RESERVED}"


def site_directory(value: str) -> str:
    """Check the id of a site, which names its directory."""
    if not _SITE.fullmatch(value):
        raise PlanRefusedError(f"site id {value!a} is not 1 to 64 of A-Z, a-z, 0-9 and '-'")
    return value


def document(value: str) -> str:
    """Check the name of an index document: one file name, not Apache's word ``disabled``."""
    if not _DOCUMENT.fullmatch(value) or value.lower() == "disabled":
        raise PlanRefusedError(
            f"index document {value!a} is not a file name of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return value


def redirect_url(value: str) -> str:
    """Check the target of a redirect (RFC 3986), without userinfo.

    Apache reads ``%{``, ``$1`` and backslashes in it as its own: none of them can come through.
    """
    if len(value) > URL_LENGTH or not _URL.fullmatch(value):
        raise PlanRefusedError(
            f"redirect {value!a} is not an http or https URL of at most {URL_LENGTH} characters, "
            "without user name, quotes and '$', and without '%' and ';' in its path"
        )
    return value


def mailbox(value: str) -> str:
    """Check the mail address of the server's administrator."""
    if not re.fullmatch(MAILBOX, value, re.ASCII):
        raise PlanRefusedError(f"server_admin {value!a} is not a mail address")
    return value
