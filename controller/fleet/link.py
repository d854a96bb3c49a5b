"""One lane of one session: what it has stored, what is on its way, what it is waited for."""

from collections.abc import Callable
from typing import Literal

import attrs

from controller.fleet.committed import Pending, Watch
from controller.fleet.lane_store import LaneKey
from controller.fleet.repair import ObjectName
from controller.fleet.words import Acknowledged
from node_agent.wire.messages import Message
from node_agent.wire.object_hash import element

Mode = Literal["open", "comparing", "closed"]
"""``open``: may be sent to. ``comparing``: an inventory is on its way. ``closed``: ahead, held."""

OUTSTANDING_WATCHES = 1000
"""Zones that a lane is asked to watch at one time."""


@attrs.frozen
class InFlight:
    """A batch that was sent and not yet acknowledged.

    ``complete`` says that nothing further was pending; ``trusted``, that the box's own word is
    taken for the hash that it comes to.
    """

    batch: int
    through: int
    complete: bool
    objects: tuple[Acknowledged, ...]
    trusted: bool = False


@attrs.define(eq=False)
class LaneLink:
    """A lane as its session works it. Dispatch reads and moves it; the session owns it."""

    key: LaneKey
    box_name: str
    epoch: int
    history: str
    send: Callable[[Message], None]
    saying: Callable[[int], None]
    """Told +1 for each word on its way to the database, and -1 when it has arrived."""
    stored: int
    box_stored: int
    """What the box said it stored: more than ``stored`` where an acknowledgement was lost."""
    settled: int
    server_revision: int
    mode: Mode = "open"
    ended: bool = False
    in_flight: InFlight | None = None
    fetching: bool = False
    batches: int = 0
    again: tuple[ObjectName, ...] = ()
    """Objects that a repair sends again, whatever their revision."""
    repaired: bool = False
    """Whether a comparison was made on this session: one is enough."""
    complete_outcomes: bool = True
    """Whether the next outcomes name every exception: the first of a session do."""
    changes: dict[int, int] = attrs.field(factory=dict)
    """Changes on their way -> their last revision here."""
    watches: dict[str, list[Watch]] = attrs.field(factory=dict)
    watching: set[str] = attrs.field(factory=set)
    watched_change: int = 0
    """The newest change whose watches are known here."""

    @property
    def ready(self) -> bool:
        """Whether a batch may be sent now."""
        return (
            not self.ended and self.mode == "open" and self.in_flight is None and not self.fetching
        )

    def settle(self, revision: int, *, complete: bool) -> tuple[int, ...]:
        """Note that all up to ``revision`` has an outcome; give the changes that end by it.

        ``complete`` may take back what an earlier session told.
        """
        self.settled = revision if complete else max(self.settled, revision)
        done = tuple(change for change, last in self.changes.items() if last <= revision)
        for change in done:
            del self.changes[change]
        return done

    def watch(self, watch: Watch) -> bool:
        """Take a watch; tell whether the box is to be asked now."""
        waiting = self.watches.setdefault(watch.zone, [])
        if watch in waiting:
            return False
        waiting.append(watch)
        self.watched_change = max(self.watched_change, watch.change_id)
        if watch.zone not in self.watching and len(self.watching) >= OUTSTANDING_WATCHES:
            return False
        self.watching.add(watch.zone)
        return True

    def seen(self, zone: str, serial: int) -> tuple[int, ...]:
        """Note an observation; give the changes whose watch of the zone ends by it."""
        waiting = self.watches.get(zone, [])
        done = tuple(w.change_id for w in waiting if serial_reached(serial, w.serial))
        left = [w for w in waiting if not serial_reached(serial, w.serial)]
        if left:
            self.watches[zone] = left
        else:
            self.watches.pop(zone, None)
            self.watching.discard(zone)
        return done

    def next_watches(self) -> list[Watch]:
        """Give watches that had to wait for their turn, as many as may be outstanding now."""
        room = OUTSTANDING_WATCHES - len(self.watching)
        if room <= 0 or len(self.watching) == len(self.watches):
            return []
        zones = [zone for zone in self.watches if zone not in self.watching][:room]
        self.watching.update(zones)
        return [self.watches[zone][-1] for zone in zones]


def serial_reached(seen: int, wanted: int) -> bool:
    """Whether a serial is ``wanted`` or a later one (RFC 1982 section 3.2)."""
    return (seen - wanted) % 2**32 < 2**31


def acknowledged(pending: Pending, spec: bytes | None) -> Acknowledged:
    """Give what is to be remembered of an object once it is stored.

    ``spec`` is as it was sent, secrets included, because that is what the box hashes.
    """
    share = None
    if spec is not None:
        share = element(pending.kind, pending.key, pending.revision, spec)
    return Acknowledged(pending.kind, pending.key, pending.revision, share)
