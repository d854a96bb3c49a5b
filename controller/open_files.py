"""How many files the controller may have open: each box that is connected is one."""

import resource


def allow_most() -> int:
    """Raise the soft limit of open files to the hard one; give what it is now.

    A shell's soft limit is often 1,024. systemd's unit sets its own (``LimitNOFILE``).
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
