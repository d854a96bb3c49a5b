"""Core dumps: a process that holds keys leaves none (S14)."""

import resource


def write_no_core() -> None:
    """Have the system write no core of this process, whose memory holds keys.

    What is started from here inherits that, and may lift it for itself.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
