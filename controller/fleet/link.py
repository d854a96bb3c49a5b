"""One lane of one session: what it has stored, what is on its way, what it is waited for."""

from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from controller.fleet.committed import Pending, Watch
from controller.fleet.lane_store import BATCH_OBJECTS, LaneKey
from controller.fleet.repair import ObjectName
from controller.fleet.words import Acknowledged, ConditionWord
from controller.serials import at_least
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
    taken for the hash that it comes to; ``repaired``, that a repair sends nothing after it.
    """

    batch: int
    through: int
    complete: bool
    objects: tuple[Acknowledged, ...]
    trusted: bool = False
    repaired: bool = False


@attrs.frozen
class Turn:
    """Objects that a lane is to be sent next by their names: of its ``again`` or its ``early``."""

    sort: Literal["again", "early"]
    names: tuple[ObjectName, ...]


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
    paused: bool = False
    """Whether the box is in maintenance."""
    in_flight: InFlight | None = None
    fetching: bool = False
    batches: int = 0
    again: tuple[ObjectName, ...] = ()
    """Objects that a repair sends again, whatever their revision."""
    early: dict[ObjectName, int] = attrs.field(factory=dict)
    """Objects of small changes (with their revisions) that overtake what the lane is behind by."""
    filling: bool = False
    """Whether more than the last batch of the backlog was pending when it was read."""
    overtook: bool = False
    """Whether the last batch was one of ``early``: the next is not, so that a fill goes on."""
    sent_early: int = 0
    """The highest revision that was sent early and is not known to be settled."""
    looked_early: bool = False
    """Whether it was looked what else is to overtake, since the session began."""
    adopted: bool = False
    """Whether the box keeps what it had before a restore: it may be overwritten still."""
    repaired: bool = False
    """Whether a comparison was made on this session: one is enough."""
    recovering: bool = False
    """Whether an operator chose a side, and what the box holds is not compared yet."""
    meanwhile: ConditionWord | None = None
    """What the box said of its condition since then: told once that has ended."""
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
            not self.ended
            and not self.paused
            and self.mode == "open"
            and self.in_flight is None
            and not self.fetching
        )

    @property
    def behind(self) -> bool:
        """Whether it takes more than the next batch to send all that is committed."""
        return self.filling or self.server_revision - self.stored > BATCH_OBJECTS

    @property
    def _overtakes(self) -> bool:
        """Whether anything would be overtaken: what is next in turn anyway needs no other way."""
        return self.behind and min(self.early.values()) > self.stored + 1

    def put_early(self, objects: Mapping[ObjectName, int]) -> None:
        """Have objects overtake, if the lane turns out to be behind; a batch of them at most."""
        if len(self.early) + len(objects) <= BATCH_OBJECTS:
            self.early.update(objects)

    def turn(self) -> Turn | None:
        """Give what is to be sent by name next; None for the oldest of what is not stored."""
        if self.early and not self.overtook and (self.again or self._overtakes):
            return Turn("early", tuple(self.early))
        return Turn("again", self.again[:BATCH_OBJECTS]) if self.again else None

    def took(self, turn: Turn | None, left: tuple[ObjectName, ...], complete: bool) -> None:
        """Note what the next batch holds: a turn but for what is ``left`` of it, or a backlog."""
        self.overtook = turn is not None and turn.sort == "early"
        if turn is None:
            self.filling = not complete
        elif turn.sort == "again":
            self.again = left + self.again[len(turn.names) :]
        else:
            for name in set(turn.names).difference(left):
                self.sent_early = max(self.sent_early, self.early.pop(name, 0))

    def advance(self, stored: int) -> None:
        """Note that the batch on its way is stored."""
        self.stored, self.in_flight = stored, None
        if self.early:
            self.early = {name: last for name, last in self.early.items() if last > stored}

    def expect(self, change_id: int, revision: int) -> bool:
        """Note that a change is on its way up to ``revision``; tell whether it was not before."""
        known = self.changes.get(change_id)
        self.changes[change_id] = max(known or 0, revision)
        return known is None

    def awaited(self) -> list[int]:
        """Give the changes that it is waited for, once for each thing that it has yet to tell."""
        watches = (watch.change_id for waiting in self.watches.values() for watch in waiting)
        return [*self.changes, *watches]

    def settle(self, revision: int, *, complete: bool) -> tuple[int, ...]:
        """Note that all up to ``revision`` has an outcome; give the changes that end by it.

        ``complete`` may take back what an earlier session told.
        """
        self.settled = revision if complete else max(self.settled, revision)
        done = tuple(change for change, last in self.changes.items() if last <= revision)
        for change in done:
            del self.changes[change]
        return done

    def overtaken(self) -> bool:
        """Tell, once, that all that was sent early has come to be settled in its turn."""
        if not 0 < self.sent_early <= self.settled:
            return False
        self.sent_early = 0
        return True

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
        done = tuple(w.change_id for w in waiting if at_least(serial, w.serial))
        left = [w for w in waiting if not at_least(serial, w.serial)]
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


def acknowledged(pending: Pending, spec: bytes | None) -> Acknowledged:
    """Give what is to be remembered of an object once it is stored.

    ``spec`` is as it was sent, secrets included, because that is what the box hashes.
    """
    share = None
    if spec is not None:
        share = element(pending.kind, pending.key, pending.revision, spec)
    return Acknowledged(pending.kind, pending.key, pending.revision, share)
