"""Who stands in a door without having proven who it is, and how many of one address may.

A whole fleet may come from one address, behind its own translator of addresses: that many come is
nothing bad. To come and stay silent is. While a door is full, the silent ones of the address with
the most of them have to go, down to its share; for a while after that nobody else of such an
address is let in beside as many who have stood there silent (ADR 24).

Pure: the clock is the caller's.
"""

from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv4Address, ip_address, ip_network

import attrs

SILENT_SECONDS = 10.0
"""Who has not proven itself by then, has to go where others cannot come in. Boxes that share a busy
machine, or wait for a busy controller, take seconds: to end them would only make more work."""
SETTLED_SECONDS = 1.0
"""Who has stood there for so long counts against its suspect address; boxes that come and prove
themselves at once do not."""
SUSPECT_SECONDS = 60.0
"""From the last that had to go: so long the others of its address are limited to their share."""


def neighbourhood(host: str) -> str:
    """Give whom to take together: an IPv4 address, or the /64 that one customer gets of IPv6."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


@attrs.define
class Crowd:
    """Those in one door who have proven nothing yet. ``share``: places of one address that may be
    taken from all others for good."""

    share: int
    _since: dict[Hashable, tuple[str, float]] = attrs.field(factory=dict)
    """In the order in which they came."""
    _suspect: dict[str, float] = attrs.field(factory=dict)

    def came(self, who: Hashable, host: str, now: float) -> bool:
        """Take one in; False where its address is suspect, and more than its share stand there."""
        place = neighbourhood(host)
        self._since[who] = place, now
        self._suspect = {
            each: at for each, at in self._suspect.items() if now - at < SUSPECT_SECONDS
        }
        return place not in self._suspect or self._settled(place, now) < self.share

    def left(self, who: Hashable) -> None:
        """Count one no more: it went, or has proven who it is."""
        self._since.pop(who, None)

    def overdue(self, now: float) -> list[Hashable]:
        """Give those who have to go from a door that is full; their address is suspect then."""
        most = Counter(place for place, _ in self._since.values()).most_common(1)
        if not most or most[0][1] <= self.share:
            return []
        place, count = most[0]
        silent = [
            who
            for who, (of, since) in self._since.items()
            if of == place and now - since >= SILENT_SECONDS
        ]
        if silent:
            self._suspect[place] = now
        return silent[: count - self.share]

    def _settled(self, place: str, now: float) -> int:
        return sum(
            each == place and now - since >= SETTLED_SECONDS for each, since in self._since.values()
        )
