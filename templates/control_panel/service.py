"""The service type ``control-panel``, modelled: nothing can be set. No box serves it yet."""

from templates.objects import Spec
from templates.service_type import KnownType


class ControlPanelSettings(Spec, frozen=True):
    """The control panel has no settings of its own."""


CONTROL_PANEL = KnownType(
    name="control-panel",
    group="control-panel",
    platforms=frozenset({"linux"}),
    settings=ControlPanelSettings,
    default_port=8443,
)
