"""The daemons' programs that tests start: also where AppArmor keeps the distribution's named from
all that tests write."""

from collections.abc import Mapping
from functools import cache

from controller.local.programs import daemon_programs
from tests.scratch import scratch


@cache
def programs() -> Mapping[str, str]:
    """Give the path of each by its name, as the agent's table of programs has it."""
    copies = scratch("heliosphere-programs-")
    copies.chmod(0o755)
    return daemon_programs(copies)
