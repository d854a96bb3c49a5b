"""Sending lanes what they have not stored: newest versions, in order, one batch at a time.

The process that commits a change hands it over, and a lane that waits for nothing else is sent it
from memory (ADR 11). Else the commit's NOTIFY names the change, and one read finds the lanes it
touched and what each is to be sent. Lanes with a long way to go are read apart, so that a fill
never delays what a person waits for on another lane; on the same lane it overtakes the fill
(ADR 12). A rescan finds what a lost wake-up missed.
"""

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from controller.crash_points import CrashSite, pass_by
from controller.fleet.acknowledgement import AcknowledgementWriter
from controller.fleet.committed import Committed, ServerChange, Watch
from controller.fleet.lane_store import (
    BATCH_BYTES,
    BATCH_OBJECTS,
    SMALL_CHANGE,
    LaneKey,
    Touched,
    behind,
    missed_watches,
)
from controller.fleet.link import InFlight, LaneLink, acknowledged
from controller.fleet.loading import Found, Inline, Load, fetched, read
from controller.fleet.under_way import UnderWay
from controller.fleet.words import (
    FLEET,
    ConditionWord,
    ObservedWord,
    OutcomeWord,
    Said,
    StoredWord,
    Word,
    Written,
)
from controller.storage.database import Database, Transaction
from node_agent.wire.codec import WireError
from node_agent.wire.messages import Batch, Item, Observe, Stored
from node_agent.wire.object_hash import from_text

log = Logger()

URGENT_LANES = 64
BULK_LANES = 8
"""Lanes read at one time, at most: it bounds the memory that batches take."""
HANDED_LANES = 16
"""Lanes of one server that are sent a change from memory, at most: its answer waits meanwhile."""
HANDED_CHANGES = 1000
"""Changes handed over whose NOTIFY is still awaited, at most; an older one costs a read."""
LOOK_SECONDS = 0.05
"""From the first session that begins to the look whether it, and those since, are behind."""
RETRY_SECONDS = 1.0


class Dispatcher:
    """All lanes with a live session, and what is on its way to them."""

    def __init__(
        self,
        database: Database,
        reactor: IReactorTime,
        writer: AcknowledgementWriter,
        inline: Inline,
        *,
        mismatch: Callable[[LaneLink], None],
        lanes_changed: Callable[[], None],
        at: CrashSite = pass_by,
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._writer = writer
        self._inline = inline
        self._mismatch = mismatch
        self._lanes_changed = lanes_changed
        self._at = at
        self._links: dict[LaneKey, LaneLink] = {}
        self._by_server: dict[str, dict[LaneKey, LaneLink]] = {}
        self._under_way = UnderWay()
        self._changes: list[int] = []
        self._committing: dict[int, bool] = {}
        """Changes that this process commits now, and whether their NOTIFY has come already."""
        self._handed: dict[int, None] = {}
        self._came: dict[LaneKey, LaneLink] = {}
        """Lanes whose session has begun, and which may be behind or not."""
        self._looking: IDelayedCall | None = None
        self._waiting: dict[bool, dict[LaneKey, LaneLink]] = {True: {}, False: {}}
        self._running = {True: False, False: False}
        self._stopped = False

    # --- who is there ---

    def attach(self, link: LaneLink) -> None:
        """Serve a lane from now on."""
        self._links[link.key] = link
        self._by_server.setdefault(link.key[1], {})[link.key] = link
        if link.server_revision > link.stored:
            self.wake(link, bulk=link.server_revision - link.stored > SMALL_CHANGE)
            return
        # Nothing to send, as the Hello's transaction saw it; a change of the moment since then is
        # looked for, for all who came meanwhile at once.
        self._came[link.key] = link
        if self._looking is None and not self._stopped:
            self._looking = self._reactor.callLater(LOOK_SECONDS, self._look)

    def detach(self, link: LaneLink) -> None:
        """Serve it no more; a newer link of the same lane stays."""
        if not link.ended:
            self._under_way.ends(link.awaited())
        link.ended = True
        if self._links.get(link.key) is link:
            del self._links[link.key]
            servers = self._by_server[link.key[1]]
            del servers[link.key]
            if not servers:
                del self._by_server[link.key[1]]

    def links_of(self, server: str) -> list[LaneLink]:
        """Give the live lanes of a logical server."""
        return list(self._by_server.get(server, {}).values())

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped = True
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    # --- what wakes it ---

    def notified(self, change_id: int) -> None:
        """Note a commit: send what it touched, unless it is, or will be, handed over."""
        if change_id in self._committing:
            self._committing[change_id] = True
        elif change_id in self._handed:
            del self._handed[change_id]
        else:
            self._changes.append(change_id)
            self._start(urgent=True)

    def committing(self, change_id: int) -> None:
        """Know that a change is about to be committed: its NOTIFY may come before `committed`."""
        self._committing[change_id] = False

    def ended(self, change_id: int) -> None:
        """Know that `committed` does not come any more for a change, if it did not."""
        if self._committing.pop(change_id, False):
            self.notified(change_id)

    def committed(self, committed: Committed) -> None:
        """Send what was just committed from memory where a lane waits for nothing else, and wake
        the others. What no lane here serves is left to the NOTIFY.
        """
        if self._stopped:
            return
        small = sum(len(change.objects) for change in committed.servers) <= SMALL_CHANGE
        for change in committed.servers:
            touched = Touched(committed.change_id, change.server, change.revision)
            names = {(each.kind, each.key): each.revision for each in change.objects}
            sendable = _fits(change)
            for number, link in enumerate(self.links_of(change.server)):
                waits_for_nothing = link.ready and not link.again and link.stored == change.before
                self._touch(link, touched)
                if waits_for_nothing and sendable and number < HANDED_LANES:
                    objects = tuple((pending, pending.spec) for pending in change.objects)
                    self._send(Load(link, change.revision, True, objects))
                    continue
                if small:
                    link.put_early(names)
                if link.ready:
                    self.wake(link)
        for watch in committed.watches:
            for link in self.links_of(watch.server):
                self.watch(link, watch)
        if committed.servers and all(c.server in self._by_server for c in committed.servers):
            self._forget_notify(committed.change_id)

    def _forget_notify(self, change_id: int) -> None:
        """Have the NOTIFY of a change cost no read, whether it has come or is still to come."""
        if self._committing.pop(change_id, False):
            return
        if len(self._handed) >= HANDED_CHANGES:
            del self._handed[next(iter(self._handed))]
        self._handed[change_id] = None

    def wake(self, link: LaneLink, *, bulk: bool = False) -> None:
        """Look at a lane soon."""
        self._waiting[not bulk][link.key] = link
        self._start(urgent=not bulk)

    def _look(self) -> None:
        self._looking = None
        ensureDeferred(self._wake_behind()).addErrback(
            lambda failure: log.error("who came was not looked at: {why}", why=failure.value)
        )

    async def _wake_behind(self) -> None:
        """Wake those who came that are behind. Where it fails, the rescan finds them."""
        came, self._came = self._came, {}
        ready = {key: link.stored for key, link in came.items() if link.ready}
        if not ready or self._stopped:
            return
        late = await self._database.transaction(
            FLEET, partial(behind, lanes=ready), name="fleet.came", single=True
        )
        for key in late:
            self.wake(came[key], bulk=True)

    async def rescan(self) -> None:
        """Find lanes and watches whose wake-up was lost."""
        if not self._links:
            return
        ready = {link.key: link.stored for link in self._links.values() if link.ready}

        async def look(tx: Transaction) -> tuple[set[LaneKey], list[Watch]]:
            return await behind(tx, ready), await missed_watches(tx, list(self._links))

        late, missed = await self._database.transaction(FLEET, look, name="fleet.rescan")
        for key in late:
            if key in self._links:
                self.wake(self._links[key], bulk=True)
        for watch in missed:
            for link in self.links_of(watch.server):
                self.watch(link, watch)

    # --- sending ---

    def _start(self, *, urgent: bool) -> None:
        if not self._running[urgent] and not self._stopped:
            self._running[urgent] = True
            ensureDeferred(self._serve(urgent)).addErrback(self._broken, urgent)

    def _broken(self, failure: Failure, urgent: bool) -> None:
        """Go on after a mistake of ours: it may cost one lane its turn, never all of them."""
        log.failure("dispatching was broken off", failure=failure)
        self._running[urgent] = False
        if not self._stopped:
            self._reactor.callLater(RETRY_SECONDS, partial(self._start, urgent=urgent))

    async def _serve(self, urgent: bool) -> None:
        queue = self._waiting[urgent]
        while not self._stopped and (queue or (urgent and self._changes)):
            changes: list[int] = []
            if urgent:
                changes, self._changes = self._changes, []
            keys = list(queue)[: URGENT_LANES if urgent else BULK_LANES]
            links = [queue.pop(key) for key in keys]
            chosen: list[LaneLink] = []
            try:
                found = await self._database.transaction(
                    FLEET,
                    partial(
                        read,
                        changes=changes,
                        links=links,
                        served=self._by_server,
                        chosen=chosen,
                        inline=self._inline,
                    ),
                    name="fleet.dispatch",
                    reads=True,
                )
            except Exception as error:
                # The database is away, whatever way it says so: nothing may be forgotten, and the
                # loop must live on.
                fetched(chosen)
                log.error("nothing can be dispatched now: {error}", error=error)
                if urgent:
                    self._changes = changes + self._changes
                for link in links:
                    queue.setdefault(link.key, link)
                self._running[urgent] = False
                if not self._stopped:
                    self._reactor.callLater(RETRY_SECONDS, partial(self._start, urgent=urgent))
                return
            fetched(chosen)
            self._announce(found, chosen)
            if changes and not found.touched:
                self._lanes_changed()
            for load in found.loads:
                self._send(load)
        self._running[urgent] = False

    def _announce(self, found: Found, chosen: Sequence[LaneLink]) -> None:
        for touch in found.touched:
            if touch.server not in self._by_server:
                self._lanes_changed()
            for link in self.links_of(touch.server):
                self._touch(link, touch)
                # The other loop may just have read this lane, too early to see the change.
                if link.ready and link not in chosen and link.server_revision > link.stored:
                    self.wake(link)
        for watch in found.watches:
            for link in self.links_of(watch.server):
                self.watch(link, watch)

    def _touch(self, link: LaneLink, touched: Touched) -> None:
        link.server_revision = max(link.server_revision, touched.revision)
        if touched.revision > link.settled:
            self._expect(link, touched.change_id, touched.revision)

    def _expect(self, link: LaneLink, change_id: int, revision: int) -> None:
        if link.expect(change_id, revision):
            self._under_way.begins(change_id)

    def watch(self, link: LaneLink, watch: Watch) -> None:
        """Have a lane's name server observed for a change."""
        if link.watch(watch):
            self._under_way.begins(watch.change_id)
            link.send(Observe(lane=link.key[1], zone=watch.zone, serial=watch.serial))
            self._at("observing")

    def _send(self, load: Load) -> None:
        link = load.link
        if not link.ready:
            return
        if load.refused:
            self._hold(link, load.refused)
            return
        link.took(load.turn, load.left, load.complete)
        if not load.objects and load.through <= link.stored:
            if link.again or link.server_revision > link.stored:
                self.wake(link, bulk=bool(link.again))
            return
        link.server_revision = max(link.server_revision, load.through)
        link.batches += 1
        for pending, _ in load.objects:
            self._expect(link, pending.change_id, pending.revision)
        link.in_flight = InFlight(
            link.batches,
            max(load.through, link.stored),
            load.complete,
            tuple(acknowledged(pending, spec) for pending, spec in load.objects),
            repaired=load.turn is not None and load.turn.sort == "again" and not link.again,
        )
        batch = Batch(
            lane=link.key[1],
            batch=link.batches,
            history=link.history,
            through=link.in_flight.through,
            items=tuple(
                Item(p.kind, p.key, p.revision, p.kind_version, spec, p.requires, p.change_id)
                for p, spec in load.objects
            ),
        )
        try:
            link.send(batch)
        except WireError as error:
            self._hold(link, f"a batch cannot be sent: {error}")
            return
        self._at("sent")

    def _hold(self, link: LaneLink, words: str) -> None:
        """Send a lane nothing more on this session; the others go on."""
        link.mode = "closed"
        log.error("lane {lane} is held: {words}", lane=link.key, words=words)
        self.say(link, ConditionWord("held", words))

    def skip(self, link: LaneLink, through: int) -> None:
        """Have a lane count as complete through a revision, whatever it holds."""
        link.batches += 1
        link.in_flight = InFlight(link.batches, through, True, (), trusted=True)
        link.send(
            Batch(
                lane=link.key[1],
                batch=link.batches,
                history=link.history,
                through=through,
                items=(),
            )
        )

    # --- what comes back ---

    def stored(self, link: LaneLink, message: Stored) -> None:
        """Take the acknowledgement of the batch on its way; one of another batch does nothing.

        Raises `WireError` for one that contradicts the batch.
        """
        flight = link.in_flight
        if flight is None or message.batch != flight.batch:
            return
        if not flight.through <= message.stored_revision <= max(flight.through, link.box_stored):
            raise WireError(
                f"batch {flight.batch} through {flight.through} was stored"
                f" as {message.stored_revision}"
            )
        self._at("acknowledged")
        link.box_stored = max(link.box_stored, message.stored_revision)
        told = from_text(message.object_hash)
        # Where an acknowledgement was lost the box holds later objects than those acknowledged;
        # only what is complete can be compared.
        comparable = flight.complete and link.box_stored == flight.through
        word = StoredWord(flight.through, told, flight.trusted, flight.objects, flight.repaired)
        self.say(link, word, partial(self._stored, link, flight, told if comparable else None))

    def _stored(self, link: LaneLink, flight: InFlight, told: int | None, written: Written) -> None:
        link.advance(flight.through)
        if link.ended:
            return
        if told is not None and told != written.hashes.get(link.key, told):
            self._mismatch(link)
        if link.again or not flight.complete:
            self.wake(link, bulk=link.overtook or not link.early)
        elif link.server_revision > link.stored:
            self.wake(link)

    def say(
        self, link: LaneLink, word: Word, then: Callable[[Written], None] | None = None
    ) -> None:
        """Write what a lane said, soon, or at once where it is the last that a change waited for.

        A link that turns out to be of an older session ends.
        """

        def arrived(written: Written) -> None:
            link.saying(-1)
            if then is not None:
                then(written)

        def stale() -> None:
            link.saying(-1)
            self.detach(link)

        link.saying(1)
        ended = word.changes if isinstance(word, OutcomeWord | ObservedWord) else ()
        self._writer.say(
            Said(link.key, link.box_name, link.epoch, word, arrived, stale),
            last=self._under_way.ends(ended),
        )


def _fits(change: ServerChange) -> bool:
    """Whether a change is one batch as it is: no secret to be put in, and not too much."""
    return (
        len(change.objects) <= BATCH_OBJECTS
        and sum(len(each.spec or b"") for each in change.objects) <= BATCH_BYTES
        and not any(each.secrets for each in change.objects)
    )
