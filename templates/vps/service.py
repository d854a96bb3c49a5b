"""The service type ``vps``, modelled: its setting (R315, M5). No box serves it yet."""

from typing import Annotated, Literal

import msgspec

from templates.objects import Spec
from templates.service_type import KnownType


class VpsSettings(Spec, frozen=True):
    """What an operator may set for a server of virtual private servers."""

    solution: Annotated[
        Literal["openvz", "freevps"],
        msgspec.Meta(
            title="VPS solution",
            description="What runs the virtual private servers of this box.",
            extra={
                "section": "Virtual private servers",
                "choices": {"openvz": "OpenVZ", "freevps": "FreeVPS"},
            },
        ),
    ] = "openvz"


VPS = KnownType(
    name="vps",
    group="vps",
    platforms=frozenset({"linux"}),
    settings=VpsSettings,
    default_port=22,
)
