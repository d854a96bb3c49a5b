"""What may stand in ``[services]`` of grants.toml: a name, and the systemd unit it means."""

import re

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}", re.ASCII)
UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,199}\.service", re.ASCII)
OWN_UNITS = "heliosphere-"
"""Units of the product itself: they are run as logical servers, or by the box's owner alone."""


def may_be_managed(name: str, unit: str) -> bool:
    """Tell whether a row of ``[services]`` is one."""
    return bool(NAME.fullmatch(name) and UNIT.fullmatch(unit)) and not unit.startswith(OWN_UNITS)
