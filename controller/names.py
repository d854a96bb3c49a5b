"""Domain names: what is accepted, how it is stored, and how it is shown.

A name is stored as A-labels (RFC 5891) in lower case without the trailing dot. Limits are those of
RFC 1035 section 2.3.4: 63 bytes a label, 253 a name as text.
"""

import re

import idna

from controller.refusal import CommandError

_HOST_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OWNER_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})

_ALLOWED = (
    "labels of letters, digits and inner hyphens, 1 to 63 bytes each, at most 253 bytes in all, "
    "such as shop.example"
)


def _refuse(error_id: str, why: str, value: str, field: str) -> CommandError:
    return CommandError(error_id, why, field=field, value=value, allowed=_ALLOWED)


def _label_to_ascii(label: str, value: str, field: str, error_id: str) -> str:
    """Give the A-label of one label, or refuse it."""
    try:
        if not label.isascii():
            encoded = idna.encode(label, uts46=True, std3_rules=True).decode("ascii")
        else:
            encoded = label.lower()
            if encoded.startswith("xn--"):
                idna.decode(encoded)
    except (idna.IDNAError, UnicodeError) as error:
        raise _refuse(error_id, f"not an internationalised name: {error}", value, field) from error
    if encoded[2:4] == "--" and not encoded.startswith("xn--"):
        raise _refuse(error_id, "hyphens in places 3 and 4 are reserved (RFC 5891)", value, field)
    return encoded


def labels_to_ascii(text: str, *, value: str, field: str, error_id: str) -> list[str]:
    """Split ``text`` at its dots and give each label in A-label form, lower case.

    Raises `CommandError` for empty labels, labels over 63 bytes, control characters and white
    space. What a label may consist of beyond that is the caller's rule.
    """
    if not text or any(ord(c) <= 0x20 or ord(c) == 0x7F or c.isspace() for c in text):
        raise _refuse(
            error_id,
            "a name is not empty and has no white space or control characters",
            value,
            field,
        )
    labels = []
    for label in text.translate(_DOTS).split("."):
        if not label:
            raise _refuse(error_id, "a label is empty (two dots in a row?)", value, field)
        encoded = _label_to_ascii(label, value, field, error_id)
        if len(encoded) > 63:
            raise _refuse(error_id, "a label is longer than 63 bytes", value, field)
        labels.append(encoded)
    return labels


def domain_name(text: str, *, field: str = "name", error_id: str = "domain.name.invalid") -> str:
    """Read the name of a domain or a server as a person writes it; give it as it is stored.

    One trailing dot is taken off. Raises `CommandError` where the name is not a host name
    (RFC 1123 section 2.1), is a single label, or ends in a label that begins with a digit: no
    top-level domain does (RFC 3696 section 2), and Apache 2.4 answers 400 to such a host.
    """
    labels = labels_to_ascii(
        text.translate(_DOTS).removesuffix("."), value=text, field=field, error_id=error_id
    )
    for label in labels:
        if not _HOST_LABEL.fullmatch(label):
            raise _refuse(
                error_id,
                "a label holds only letters, digits and hyphens, and no hyphen at its ends",
                text,
                field,
            )
    name = ".".join(labels)
    if len(labels) < 2:
        raise _refuse(error_id, "a single label is not a domain name", text, field)
    if labels[-1][0].isdigit():
        raise _refuse(error_id, "the last label cannot begin with a digit", text, field)
    if len(name) > 253:
        raise _refuse(error_id, "the name is longer than 253 bytes", text, field)
    return name


def owner_name(text: str, zone: str, *, field: str = "name") -> str:
    """Read the owner of a record in ``zone``; give it relative to the zone, ``@`` for the apex.

    A name is relative unless it ends in a dot or in the zone's own name. ``*`` may stand alone in
    the leftmost label (RFC 4592), underscores anywhere (RFC 8552). Raises `CommandError` with
    ``record.name.out-of-zone`` or ``record.name.invalid``.
    """
    if text in ("", "@"):
        return "@"
    plain = text.translate(_DOTS)
    absolute = plain.endswith(".")
    labels = labels_to_ascii(
        plain.removesuffix("."), value=text, field=field, error_id="record.name.invalid"
    )
    for place, label in enumerate(labels):
        if not _OWNER_LABEL.fullmatch(label) and not (place == 0 and label == "*"):
            raise CommandError(
                "record.name.invalid",
                "a label of a record's name holds letters, digits, underscores and inner hyphens",
                field=field,
                value=text,
                allowed="@ for the zone itself, or a name relative to it such as www or _sip._tcp",
            )
    name = ".".join(labels)
    if name == zone:
        return "@"
    if name.endswith("." + zone):
        name = name[: -len(zone) - 1]
    elif absolute:
        raise CommandError(
            "record.name.out-of-zone",
            f"the name is not in the zone {zone}",
            field=field,
            value=text,
            allowed=f"a name that ends in .{zone}. or one relative to it",
        )
    if len(name) + 1 + len(zone) > 253:
        raise CommandError(
            "record.name.invalid",
            "the name with its zone is longer than 253 bytes",
            field=field,
            value=text,
            allowed=f"at most {253 - 1 - len(zone)} bytes before .{zone}",
        )
    return name


def is_host_owner(owner: str) -> bool:
    """Tell whether a relative owner name is a host name (no underscore); ``*`` counts as one."""
    return owner == "@" or all(
        _HOST_LABEL.fullmatch(label) or (place == 0 and label == "*")
        for place, label in enumerate(owner.split("."))
    )


def is_host_name(name: str) -> bool:
    """Tell whether an absolute ASCII name without its trailing dot is made of host labels."""
    return len(name) <= 253 and all(_HOST_LABEL.fullmatch(label) for label in name.split("."))


def unicode_name(name: str) -> str:
    """Give the name as people read it (U-labels), or unchanged where it has none."""
    try:
        return idna.decode(name)
    except idna.IDNAError:
        return name


def reversed_name(name: str) -> str:
    """Give the labels of a stored name from the root down: ``shop.test`` is ``test.shop``.

    Children of a name are then one range of an ordered index.
    """
    return ".".join(reversed(name.split(".")))


def ancestors(name: str) -> list[str]:
    """Give the reversed names of all names above a stored name, the top-level domain left out."""
    labels = name.split(".")[::-1]
    return [".".join(labels[:length]) for length in range(2, len(labels))]


def box_name(text: str) -> str:
    """Read the name of a box: a host name, one label or several; raises `CommandError`."""
    labels = labels_to_ascii(text, value=text, field="name", error_id="pserver.name.invalid")
    name = ".".join(labels)
    if not is_host_name(name):
        raise _refuse(
            "pserver.name.invalid",
            "a label holds only letters, digits and hyphens, and no hyphen at its ends",
            text,
            "name",
        )
    return name


def server_name(text: str) -> str:
    """Give the name of a logical server that should exist, in the form in which it is stored."""
    return text.lower().removesuffix(".")
