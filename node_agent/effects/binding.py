"""Whether a daemon of this box could listen on an address."""

import socket

from node_agent.effects.failures import EffectFailedError


def see_bound(address: str) -> None:
    """See that the address is on an interface; raises `EffectFailedError` where it is on none.

    The kernel is asked as a daemon would ask it, at a port that nobody else has.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as asking:
            asking.bind((address, 0))
    except OSError as error:
        raise EffectFailedError(
            f"{address} is not brought up on this box, or not yet ({error.strerror or error}): "
            "bring it up by hand, then retry"
        ) from error
