"""The service type ``iis``, modelled: its settings (R298 to R302). No box serves it yet."""

from typing import Annotated, Literal

import msgspec

from templates.objects import Spec
from templates.service_type import KnownType
from templates.settings import MivaVersion, ProhibitDedicatedIp


class IisSettings(Spec, frozen=True):
    """What an operator may set for a Windows web server."""

    ftp_server: Annotated[
        Literal["iis", "ftp"],
        msgspec.Meta(
            title="FTP server type",
            description="Which program serves FTP on the box.",
            extra={
                "section": "Web hosting",
                "choices": {"iis": "the FTP service of IIS", "ftp": "a separate FTP server"},
            },
        ),
    ] = "iis"
    miva: MivaVersion = "none"
    shared_pool_workers: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1000,
            title="Max worker processes, shared pool",
            description="The most worker processes of the Shared Application Pool. "
            "Customers cannot exceed it.",
            extra={"section": "Application pools"},
        ),
    ] = 1
    dedicated_pool_workers: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=1000,
            title="Max worker processes, dedicated pool",
            description="The most worker processes of a Dedicated Application Pool. "
            "Customers cannot exceed it.",
            extra={"section": "Application pools"},
        ),
    ] = 1
    prohibit_dedicated_ip: ProhibitDedicatedIp = False


IIS = KnownType(
    name="iis",
    group="windows",
    platforms=frozenset({"windows"}),
    settings=IisSettings,
    default_port=80,
)
