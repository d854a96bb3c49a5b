"""The places that one cluster keeps from the others of this machine, also while they are silent.

A controller that died is started again on its port; a cluster that is made in that moment must not
find the port free.
"""

import errno
import socket
from types import TracebackType

from controller.local.layout import Place


class Claims:
    """What one supervisor claims, until it ends, however it ends.

    Each place is a name among the abstract Unix sockets (unix(7)). The kernel gives a name to one
    process at a time, in each network namespace as it does with ports, and takes it back itself.
    """

    def __init__(self) -> None:
        self._held: dict[Place, socket.socket] = {}

    def __enter__(self) -> "Claims":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for held in self._held.values():
            held.close()
        self._held.clear()

    def claim(self, place: Place) -> bool:
        """Claim a place; False where another cluster has.

        Where the machine allows no such names, nothing is kept from anybody.
        """
        if place in self._held:
            return True
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            name.bind(f"\0heliosphere-local {place}")
        except OSError as error:
            name.close()
            return error.errno != errno.EADDRINUSE
        self._held[place] = name
        return True

    def give_up(self, place: Place) -> None:
        """Leave a place to others."""
        held = self._held.pop(place, None)
        if held is not None:
            held.close()
