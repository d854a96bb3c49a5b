"""The names in certificates: one URI SAN each, compared exactly.

A name is the whole identity of a peer. There is one spelling for each, so equal names are equal
texts: lower-case ASCII only, no escapes, no trailing dots (S4, S13).
"""

import re
from typing import Literal, get_args

import attrs

Role = Literal["controller", "box", "operator"]
ROLES: frozenset[str] = frozenset(get_args(Role))

CLUSTER = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
BOX = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OPERATOR = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,30}[a-z0-9])?")


class NameRefusedError(ValueError):
    """A name, or a part of one, that is not of the one allowed spelling."""


def _shown(text: str) -> str:
    """Escape foreign text for an error: ASCII only, and not longer than a line."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def check_cluster(cluster: str) -> str:
    """Give the cluster id back, or raise `NameRefusedError`."""
    if not CLUSTER.fullmatch(cluster):
        raise NameRefusedError(
            f"cluster id {_shown(cluster)}: allowed are 1 to 63 of a-z, 0-9, '.' and '-',"
            " beginning and ending with a letter or digit"
        )
    return cluster


def check_box(subject: str) -> str:
    """Give the box's uuid back (lower case, with hyphens), or raise `NameRefusedError`."""
    if not BOX.fullmatch(subject):
        raise NameRefusedError(f"box {_shown(subject)}: a uuid in lower case is expected")
    return subject


def _check_subject(role: str, subject: str) -> None:
    if role == "box":
        check_box(subject)
    elif role == "operator":
        if not OPERATOR.fullmatch(subject):
            raise NameRefusedError(
                f"operator {_shown(subject)}: allowed are 1 to 32 of a-z, 0-9, '.' and '-',"
                " beginning and ending with a letter or digit"
            )
    elif role == "controller":
        if subject:
            raise NameRefusedError(f"controller {_shown(subject)}: a controller has no subject")
    else:
        raise NameRefusedError(f"role {_shown(role)}: allowed are controller, box and operator")


@attrs.frozen
class Name:
    """Who a certificate speaks for: ``subject`` is a box's uuid, an operator's name, or empty.

    Raises `NameRefusedError` for any part that is not of the allowed spelling.
    """

    cluster: str
    role: Role
    subject: str = ""

    def __attrs_post_init__(self) -> None:
        check_cluster(self.cluster)
        _check_subject(self.role, self.subject)

    @property
    def uri(self) -> str:
        """The URI SAN: ``urn:heliosphere:<cluster>:<role>[:<subject>]``."""
        parts = ["urn", "heliosphere", self.cluster, self.role]
        return ":".join([*parts, self.subject] if self.subject else parts)

    @classmethod
    def parse(cls, uri: str) -> "Name":
        """Read a URI SAN; anything but the one spelling that `uri` gives is refused."""
        parts = uri.split(":")
        if parts[:2] != ["urn", "heliosphere"]:
            raise NameRefusedError(f"name {_shown(uri)}: it does not begin with urn:heliosphere:")
        match parts[2:]:
            case [cluster, "controller"]:
                return cls(cluster, "controller")
            case [cluster, ("box" | "operator") as role, subject]:
                return cls(cluster, role, subject)
        raise NameRefusedError(f"name {_shown(uri)}: neither a controller, a box nor an operator")
