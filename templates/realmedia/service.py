"""The service type ``realmedia``, modelled: nothing can be set. No box serves it yet."""

from templates.objects import Spec
from templates.service_type import KnownType


class RealmediaSettings(Spec, frozen=True):
    """A Real media server has no settings of its own."""


REALMEDIA = KnownType(
    name="realmedia",
    group="realmedia",
    platforms=frozenset({"linux", "windows"}),
    settings=RealmediaSettings,
    default_port=554,
)
