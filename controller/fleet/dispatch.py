"""Sending lanes what they have not stored: newest versions, in order, one batch at a time.

A commit's NOTIFY names the change; one read finds the lanes it touched and what each is to be sent.
Lanes with a long way to go are read apart, so that a fill never delays what a person waits for on
another lane. A rescan finds what a lost wake-up missed.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import attrs
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from controller.fleet.acknowledgement import AcknowledgementWriter
from controller.fleet.lane_store import (
    BATCH_OBJECTS,
    Backlog,
    LaneKey,
    Pending,
    Touched,
    Watch,
    backlogs,
    behind,
    missed_watches,
    named,
    touched_by,
)
from controller.fleet.link import InFlight, LaneLink, acknowledge
from controller.fleet.words import FLEET, ConditionWord, Said, StoredWord, Word
from controller.storage.database import Database, Transaction
from controller.storage.secrets import SecretError
from node_agent.wire.codec import WireError
from node_agent.wire.messages import Batch, Item, Observe, Stored
from node_agent.wire.object_hash import from_text

log = Logger()

Inline = Callable[[Transaction, bytes, Sequence[int]], Awaitable[bytes]]
"""Puts secrets into a spec's bytes where it refers to them (`controller.storage.secrets`)."""

URGENT_LANES = 64
BULK_LANES = 8
"""Lanes read at one time, at most: it bounds the memory that batches take."""
RETRY_SECONDS = 1.0


@attrs.frozen
class Load:
    """What one read found for one lane, with specs as they are sent; ``refused`` says why not."""

    link: LaneLink
    through: int
    complete: bool
    objects: tuple[tuple[Pending, bytes | None], ...]
    again: int
    """How many names of the link's ``again`` this load takes."""
    refused: str = ""


@attrs.frozen
class Found:
    """What one read found."""

    touched: Sequence[Touched]
    watches: Sequence[Watch]
    loads: Sequence[Load]


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
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._writer = writer
        self._inline = inline
        self._mismatch = mismatch
        self._lanes_changed = lanes_changed
        self._links: dict[LaneKey, LaneLink] = {}
        self._by_server: dict[str, dict[LaneKey, LaneLink]] = {}
        self._changes: list[int] = []
        self._waiting: dict[bool, dict[LaneKey, LaneLink]] = {True: {}, False: {}}
        self._running = {True: False, False: False}
        self._stopped = False

    # --- who is there ---

    def attach(self, link: LaneLink) -> None:
        """Serve a lane from now on."""
        self._links[link.key] = link
        self._by_server.setdefault(link.key[1], {})[link.key] = link
        self.wake(link, bulk=True)

    def detach(self, link: LaneLink) -> None:
        """Serve it no more; a newer link of the same lane stays."""
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

    # --- what wakes it ---

    def committed(self, change_id: int) -> None:
        """Note a commit: send what it touched."""
        self._changes.append(change_id)
        self._start(urgent=True)

    def wake(self, link: LaneLink, *, bulk: bool = False) -> None:
        """Look at a lane soon."""
        self._waiting[not bulk][link.key] = link
        self._start(urgent=not bulk)

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
                    partial(self._read, changes=changes, links=links, chosen=chosen),
                    name="fleet.dispatch",
                    reads=True,
                )
            except Exception as error:
                # The database is away, whatever way it says so: nothing may be forgotten, and the
                # loop must live on.
                self._fetched(chosen)
                log.error("nothing can be dispatched now: {error}", error=error)
                if urgent:
                    self._changes = changes + self._changes
                for link in links:
                    queue.setdefault(link.key, link)
                self._running[urgent] = False
                if not self._stopped:
                    self._reactor.callLater(RETRY_SECONDS, partial(self._start, urgent=urgent))
                return
            self._fetched(chosen)
            self._announce(found, chosen)
            if changes and not found.touched:
                self._lanes_changed()
            for load in found.loads:
                self._send(load)
        self._running[urgent] = False

    @staticmethod
    def _fetched(chosen: Iterable[LaneLink]) -> None:
        for link in chosen:
            link.fetching = False

    async def _read(
        self,
        tx: Transaction,
        changes: Sequence[int],
        links: Sequence[LaneLink],
        chosen: list[LaneLink],
    ) -> Found:
        self._fetched(chosen)  # a retried transaction begins anew
        chosen.clear()
        touched, watches = await touched_by(tx, changes) if changes else ([], [])
        candidates = {link.key: link for link in links}
        for touch in touched:
            candidates.update(self._by_server.get(touch.server, {}))
        chosen.extend(link for link in candidates.values() if link.ready)
        for link in chosen:
            link.fetching = True
        plain = {link.key: link.stored for link in chosen if not link.again}
        found = await backlogs(tx, plain) if plain else {}
        loads = []
        for link in chosen:
            if link.again:
                names = link.again[:BATCH_OBJECTS]
                objects: Sequence[Pending] = await named(tx, link.key, names)
                backlog = Backlog(link.stored, True, tuple(objects))
                loads.append(await self._load(tx, link, backlog, len(names)))
            elif link.key in found:
                loads.append(await self._load(tx, link, found[link.key], 0))
        return Found(touched, watches, loads)

    async def _load(self, tx: Transaction, link: LaneLink, backlog: Backlog, again: int) -> Load:
        objects = []
        for pending in backlog.objects:
            spec = pending.spec
            if spec is not None and pending.secrets:
                try:
                    spec = await self._inline(tx, spec, pending.secrets)
                except SecretError as error:
                    words = f"{pending.kind} {pending.key}: a secret cannot be opened: {error}"
                    return Load(link, link.stored, True, (), 0, words)
            objects.append((pending, spec))
        return Load(link, backlog.through, not backlog.more, tuple(objects), again)

    def _announce(self, found: Found, chosen: Sequence[LaneLink]) -> None:
        for touch in found.touched:
            if touch.server not in self._by_server:
                self._lanes_changed()
            for link in self.links_of(touch.server):
                link.server_revision = max(link.server_revision, touch.revision)
                if touch.revision > link.settled:
                    link.changes[touch.change_id] = touch.revision
                # The other loop may just have read this lane, too early to see the change.
                if link.ready and link not in chosen and link.server_revision > link.stored:
                    self.wake(link)
        for watch in found.watches:
            for link in self.links_of(watch.server):
                self.watch(link, watch)

    def watch(self, link: LaneLink, watch: Watch) -> None:
        """Have a lane's name server observed for a change."""
        if link.watch(watch):
            link.send(Observe(lane=link.key[1], zone=watch.zone, serial=watch.serial))

    def _send(self, load: Load) -> None:
        link = load.link
        if not link.ready:
            return
        if load.refused:
            self._hold(link, load.refused)
            return
        link.again = link.again[load.again :]
        if not load.objects and load.through <= link.stored:
            if link.again or link.server_revision > link.stored:
                self.wake(link, bulk=bool(link.again))
            return
        link.server_revision = max(link.server_revision, load.through)
        link.batches += 1
        expected, objects = acknowledge(link.expected_hash, load.objects)
        for pending, _ in load.objects:
            last = link.changes.get(pending.change_id, 0)
            link.changes[pending.change_id] = max(last, pending.revision)
        link.in_flight = InFlight(
            link.batches, max(load.through, link.stored), expected, load.complete, objects
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

    def _hold(self, link: LaneLink, words: str) -> None:
        """Send a lane nothing more on this session; the others go on."""
        link.mode = "closed"
        log.error("lane {lane} is held: {words}", lane=link.key, words=words)
        self.say(link, ConditionWord("held", words))

    def skip(self, link: LaneLink, through: int) -> None:
        """Have a lane count as complete through a revision, whatever it holds."""
        link.batches += 1
        link.in_flight = InFlight(link.batches, through, None, True, ())
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
        link.box_stored = max(link.box_stored, message.stored_revision)
        told = from_text(message.object_hash)
        expected = told if flight.expected is None else flight.expected
        # Where an acknowledgement was lost the box holds later objects than those acknowledged;
        # only what is complete can be compared.
        differs = flight.complete and link.box_stored == flight.through and told != expected
        word = StoredWord(flight.through, expected, flight.objects)
        self.say(link, word, partial(self._stored, link, flight, expected, differs))

    def _stored(self, link: LaneLink, flight: InFlight, expected: int, differs: bool) -> None:
        link.stored, link.expected_hash, link.in_flight = flight.through, expected, None
        if link.ended:
            return
        if differs:
            self._mismatch(link)
        if link.again or not flight.complete:
            self.wake(link, bulk=True)
        elif link.server_revision > link.stored:
            self.wake(link)

    def say(self, link: LaneLink, word: Word, written: Callable[[], None] | None = None) -> None:
        """Write what a lane said; a link that turns out to be of an older session ends."""

        def arrived() -> None:
            link.saying(-1)
            if written is not None:
                written()

        def stale() -> None:
            link.saying(-1)
            self.detach(link)

        link.saying(1)
        self._writer.say(Said(link.key, link.box_name, link.epoch, word, arrived, stale))
