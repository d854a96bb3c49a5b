"""The settings of a service type as data: what a form, a command line and a check need of each.

A settings class is a `Spec` whose fields say everything by their types: ``Annotated`` with
``msgspec.Meta(title=..., description=...)`` and, in ``extra``, the keys of `Extra`.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

import attrs
import msgspec
import msgspec.inspect

from templates.objects import Spec

LOCAL = "LOCAL"
"""The value of a reference that names no server: the default one, or the same box (A5)."""

_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+"
REFERENCE = rf"^({LOCAL}|{_NAME})$(?!\n)"
"""The pattern of a setting that names another logical server."""
PATH = r"^(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*$(?!\n)"
"""An absolute path of plain names, or nothing."""
ADDRESS = r"^[0-9A-Fa-f:.]{2,45}$(?!\n)"
"""The letters of an IP address; whether it is one is checked where it is set."""
VOLUME = r"^([A-Za-z0-9.:\[\]-]{1,255}:(/[A-Za-z0-9._-]+)+)?$(?!\n)"
"""HOST:/PATH of a storage volume, or nothing."""
WORD = r"^[A-Za-z0-9 ._-]{0,40}$(?!\n)"

FILER = "Load-balanced cluster"
"""The section of the settings that hold only where a server has several lanes (R317, A4)."""

FilerType = Annotated[
    str,
    msgspec.Meta(
        pattern=WORD,
        title="File server type",
        description="Operating system of the storage, such as UNIX for a generic Linux NFS server.",
        extra={"section": FILER, "balanced": True},
    ),
]
FilerServer = Annotated[
    str,
    msgspec.Meta(
        pattern=VOLUME,
        title="File server",
        description="Where the storage volume is, such as 10.9.8.7:/vol/vol0.",
        extra={"section": FILER, "balanced": True},
    ),
]
FilerPath = Annotated[
    str,
    msgspec.Meta(
        pattern=PATH,
        title="File path",
        description="Directory of the product on the volume, such as /vol/vol0/hsphere.",
        extra={"section": FILER, "balanced": True},
    ),
]
FilerVolume = Annotated[
    str,
    msgspec.Meta(
        pattern=WORD,
        title="File server volume ID",
        description="Such as vol0.",
        extra={"section": FILER, "balanced": True},
    ),
]

DriftPolicy = Annotated[
    Literal["report", "repair", "keep"],
    msgspec.Meta(
        title="Files changed by others",
        description="What becomes of a file of this server that somebody changed on a box. "
        "Settings of your own have their place in override files, which are never written to.",
        extra={
            "section": "Drift",
            "choices": {
                "report": "report: shown; the object's next change writes it anew",
                "repair": "repair: brought back when it is found",
                "keep": "keep: it stays, and changes that would overwrite it wait",
            },
        },
    ),
]

MivaVersion = Annotated[
    Literal["none", "mv", "mvc"],
    msgspec.Meta(
        title="Miva Merchant version",
        description="Decides the file extension of its pages; set it before Miva is installed.",
        extra={
            "section": "Web hosting",
            "choices": {
                "none": "not offered",
                "mv": "4.12 and older (.mv)",
                "mvc": "4.14 and later (.mvc)",
            },
        },
    ),
]
ProhibitDedicatedIp = Annotated[
    bool,
    msgspec.Meta(
        title="Prohibit dedicated IP",
        description="No customer of this server may switch a site to a dedicated IP.",
        extra={"section": "Web hosting"},
    ),
]


@attrs.frozen
class Setting:
    """One setting as a form shows it and a command line explains it.

    ``server_group`` is the group of the logical servers that it may name, empty where it names
    none; ``balanced`` tells that it holds only for a server with several lanes.
    """

    name: str
    title: str
    help: str
    section: str
    kind: Literal["text", "number", "switch", "choice", "list"]
    default: Any
    choices: Mapping[str, str]
    """Values and what they mean; empty where it is no choice."""
    minimum: int | None
    maximum: int | None
    server_group: str
    balanced: bool
    addresses: bool
    """Whether each item is an IP address."""

    def read(self, value: Any) -> Any:
        """Read a value as a person types it; an empty one is the default."""
        if not isinstance(value, str):
            return value
        if value == "":
            return self.default
        if self.kind == "list":
            return [part for part in re.split(r"[\s,]+", value) if part]
        if self.server_group and value.upper() != LOCAL:
            return value.lower().removesuffix(".")
        return value.upper() if self.server_group else value

    @property
    def allowed(self) -> str:
        """Say what it takes."""
        if self.choices:
            return ", ".join(self.choices)
        if self.kind == "switch":
            return "true, false"
        if self.kind == "number":
            return f"{self.minimum} to {self.maximum}"
        if self.server_group:
            return f"{LOCAL}, or the name of a logical server of the group {self.server_group}"
        return self.help


@cache
def settings_of(settings: type[Spec]) -> Mapping[str, Setting]:
    """Give the settings of a class by name, in the order they are declared."""
    described = msgspec.inspect.type_info(settings)
    assert isinstance(described, msgspec.inspect.StructType)
    return {field.name: _setting(field) for field in described.fields}


def _setting(field: msgspec.inspect.Field) -> Setting:
    described = field.type
    told: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    while isinstance(described, msgspec.inspect.Metadata):
        told = {**(described.extra_json_schema or {}), **told}
        extra = {**(described.extra or {}), **extra}
        described = described.type
    choices: Mapping[str, str] = {}
    if isinstance(described, msgspec.inspect.LiteralType):
        choices = extra.get("choices") or {str(value): str(value) for value in described.values}
    number = described if isinstance(described, msgspec.inspect.IntType) else None
    return Setting(
        name=field.name,
        title=told.get("title", field.name),
        help=told.get("description", ""),
        section=extra.get("section", "Server"),
        kind=_kind(described),
        default=_plain(field.default),
        choices=choices,
        minimum=None if number is None else number.ge,
        maximum=None if number is None else number.le,
        server_group=extra.get("server", ""),
        balanced=extra.get("balanced", False),
        addresses=extra.get("addresses", False),
    )


def _plain(value: Any) -> Any:
    """Give a value as it is stored: JSON knows no tuples."""
    return list(value) if isinstance(value, tuple) else value


def _kind(
    described: msgspec.inspect.Type,
) -> Literal["text", "number", "switch", "choice", "list"]:
    match described:
        case msgspec.inspect.BoolType():
            return "switch"
        case msgspec.inspect.IntType():
            return "number"
        case msgspec.inspect.LiteralType():
            return "choice"
        case msgspec.inspect.VarTupleType():
            return "list"
        case _:
            return "text"
