"""The service type ``mrtg``, modelled: nothing can be set. No box serves it yet."""

from templates.objects import Spec
from templates.service_type import KnownType


class MrtgSettings(Spec, frozen=True):
    """The MRTG server has no settings of its own."""


MRTG = KnownType(
    name="mrtg",
    group="mrtg",
    platforms=frozenset({"linux", "freebsd"}),
    settings=MrtgSettings,
    default_port=80,
)
