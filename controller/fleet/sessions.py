"""Sessions: one box on one connection, from its Hello to its end.

A box is who its certificate says it is. It may speak of its own lanes only; one that speaks of
another's is refused, and the log says so.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import attrs
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from controller.crash_points import CrashSite, pass_by
from controller.fleet.bounds import storable, stored_text
from controller.fleet.certificates import Issuer, record
from controller.fleet.comparison import Comparisons
from controller.fleet.dispatch import Dispatcher
from controller.fleet.hello import Beginning
from controller.fleet.lanes import LaneRow, Verdict
from controller.fleet.link import LaneLink
from controller.fleet.monitoring import Dated, SampleStore
from controller.fleet.questions import Questions
from controller.fleet.reporting import Report, ReportStore
from controller.fleet.words import FLEET, ConditionWord, DriftWord, ObservedWord, OutcomeWord
from controller.storage.database import Database
from node_agent.wire.codec import WireError, printable
from node_agent.wire.messages import (
    MOST_FINDINGS,
    PROTOCOL_MAX,
    Alive,
    Answer,
    Assign,
    Drift,
    DriftFinding,
    FromAgent,
    Hello,
    Inventory,
    LaneAssignment,
    LaneState,
    Message,
    Monitor,
    Observe,
    Observed,
    Outcome,
    Outcomes,
    RenewalRequest,
    Renewed,
    Sample,
    Stored,
    SystemReport,
    Welcome,
)
from pki.keys import KeyRefusedError
from pki.policy import Peer

log = Logger()

LONGEST_FILE = 1000
"""Bytes of a file's path, at most: an index takes no more than 2,700 (S8)."""
LONGEST_WORDS = 500
"""Characters kept of what is said of a file."""
MOST_FILES = 2**31
LONGEST_AGO = 10 * 365 * 86400.0
MOST_UNWRITTEN = 64
"""Words of one session on their way to the database, about; nothing more is read meanwhile."""
RENEWAL_SECONDS = 60.0
"""A box may renew its certificate this often, at most."""


class FormerLaneError(Exception):
    """A box speaks of a lane that it had until lately."""


@attrs.frozen
class Services:
    """What every session works with."""

    database: Database
    reactor: IReactorTime
    dispatcher: Dispatcher
    comparisons: Comparisons
    issuer: Issuer
    interval: Callable[[], float]
    now: Callable[[], float]
    """The time of day (seconds since the epoch), which boxes compare their clocks with."""
    ended: Callable[["Session"], None]
    """Told of every session that has ended."""
    samples: SampleStore
    reports: ReportStore
    at: CrashSite = pass_by


class Session:
    """A box that was welcomed. Made by the listener after the Hello's transaction."""

    def __init__(
        self,
        services: Services,
        peer: Peer,
        beginning: Beginning,
        *,
        hello: Hello,
        send: Callable[[Message], None],
        lose: Callable[[str], None],
        read: Callable[[bool], None],
    ) -> None:
        self._services = services
        self.peer = peer
        self.box = peer.name.subject
        self.box_name = beginning.box_name
        self.machine_id = hello.machine_id
        self.boot_id = hello.boot_id
        self.protocol = min(hello.protocol_max, PROTOCOL_MAX)
        """What both sides speak: what a later one brought must not be said to an earlier one."""
        self.epoch = beginning.epoch
        self._history = beginning.history
        self.lose = lose
        self.interval = services.interval()
        self.heard = self.said = services.reactor.seconds()
        self._transport_send = send
        self._read = read
        self._unwritten = 0
        self.paused = False
        self._renewed_at = -RENEWAL_SECONDS
        self.questions = Questions(services.reactor, self.send)
        self._sample_every = -1.0
        self._sampled_at = -math.inf
        self.links: dict[str, LaneLink] = {}
        self._policies: dict[str, str] = {}
        """What the box was told to do with drift, by logical server."""
        self._former: set[str] = set()
        """Lanes taken from the box on this session: it may still speak of them for a while."""

    def send(self, message: Message) -> None:
        """Send one message; what was said last counts for the heartbeat."""
        self.said = self._services.reactor.seconds()
        self._transport_send(message)

    def begin(self, hello: Hello, beginning: Beginning) -> None:
        """Welcome the box, tell it its lanes, and let dispatch work them."""
        self.send(
            Welcome(
                protocol=self.protocol,
                history=beginning.history,
                session_epoch=beginning.epoch,
                interval=self.interval,
                now=self._services.now(),
            )
        )
        self.monitor(beginning.monitoring)
        self._assign([row for row, _ in beginning.lanes])
        reports = {report.lane: report for report in hello.lanes}
        for row, verdict in beginning.lanes:
            report = reports.get(row.server)
            self._open(row, verdict, report.stored_revision if report else 0)
        for watch, seen in beginning.watches:
            link = self.links[watch.server]
            link.watched_change = max(link.watched_change, watch.change_id)
            if not seen:
                self._services.dispatcher.watch(link, watch)

    def monitor(self, on: bool) -> None:
        """Have the box send samples at the session's interval, or none (R250)."""
        every = self.interval if on else 0.0
        if every != self._sample_every:
            self._sample_every = every
            self.send(Monitor(every=every))

    def _saying(self, words: int) -> None:
        """Read no faster than the database writes: a flood stays in the peer's own buffers."""
        self._unwritten += words
        if not self.paused and self._unwritten >= MOST_UNWRITTEN:
            self.paused = True
            self._read(False)
        elif self.paused and self._unwritten <= MOST_UNWRITTEN // 4:
            self.paused = False
            self.heard = self._services.reactor.seconds()
            self._read(True)

    def reassign(self, rows: Sequence[LaneRow]) -> None:
        """Take lanes that the box got or lost since its session began, and its maintenance."""
        wanted = {row.server: row for row in rows}
        for server, link in self.links.items():
            if server in wanted and link.paused != wanted[server].paused:
                link.paused = wanted[server].paused
                self._services.dispatcher.wake(link, bulk=True)
        policies = {row.server: row.drift for row in rows}
        if wanted.keys() == self.links.keys():
            if policies != self._policies:
                self._assign(rows)
            return
        for server in self.links.keys() - wanted.keys():
            self._former.add(server)
            self._let_go(self.links.pop(server))
        self._assign(rows)
        for server in wanted.keys() - self.links.keys():
            row = wanted[server]
            self._open(row, Verdict("repair" if row.stored else "resume"), 0)

    def _assign(self, rows: Sequence[LaneRow]) -> None:
        self._policies = {row.server: row.drift for row in rows}
        lanes = (LaneAssignment(r.server, r.name, r.service_type, r.drift) for r in rows)
        self.send(Assign(lanes=tuple(lanes)))

    def _open(self, row: LaneRow, verdict: Verdict, box_stored: int) -> None:
        """Begin to work a lane as ``verdict`` says."""
        link = LaneLink(
            key=(self.box, row.server),
            box_name=self.box_name,
            epoch=self.epoch,
            history=self._history,
            send=self.send,
            saying=self._saying,
            stored=row.stored,
            box_stored=box_stored,
            settled=row.settled,
            server_revision=row.server_revision,
            mode="closed" if verdict.step == "ahead" else "open",
            paused=row.paused,
            adopted=row.adopted,
        )
        self.links[row.server] = link
        if verdict.message:
            log.warn("lane {lane}: {words}", lane=link.key, words=verdict.message)
        # Before it is served: what is read at once may be there at once, and must not be sent.
        if verdict.step == "repair":
            self._services.comparisons.begin(link)
        elif verdict.step == "keep":
            self._services.comparisons.keep(link)
        self._services.dispatcher.attach(link)

    def _let_go(self, link: LaneLink) -> None:
        self._services.dispatcher.detach(link)
        self._services.comparisons.ended(link)

    def ended(self) -> None:
        """Let go of the lanes and of what was asked."""
        self.questions.end()
        for link in self.links.values():
            self._let_go(link)

    # --- what the box says ---

    def received(self, message: FromAgent) -> None:
        """Act on one message; raises `WireError` for one that this box may not say."""
        self.heard = self._services.reactor.seconds()
        with suppress(FormerLaneError):  # said before the box heard that it lost the lane
            self._act(message)

    def _act(self, message: FromAgent) -> None:
        match message:
            case Alive():
                pass
            case Stored() | Outcomes() | LaneState() | Drift() | Observed() | Inventory():
                self._act_on_lane(self._own(message.lane), message)
            case SystemReport():
                self._report(message)
            case Sample():
                self._sample(message)
            case Answer():
                self.questions.answered(message)
            case RenewalRequest():
                self._renew(message)
            case Hello():
                raise WireError("a second Hello")

    def _act_on_lane(
        self,
        link: LaneLink,
        message: Stored | Outcomes | LaneState | Drift | Observed | Inventory,
    ) -> None:
        match message:
            case Stored():
                try:
                    self._services.dispatcher.stored(link, message)
                except ValueError:
                    raise WireError("an object hash is not hexadecimal") from None
            case Outcomes():
                self._outcomes(link, message)
            case LaneState():
                self._lane_state(link, message)
            case Drift():
                self._drift(link, message)
            case Observed():
                self._observed(link, message)
            case Inventory():
                self._services.comparisons.page(link, message)

    def _own(self, lane: str) -> LaneLink:
        link = self.links.get(lane)
        if link is None and lane in self._former:
            raise FormerLaneError
        if link is None:
            log.error(
                "security: box {box} speaks of lane {lane}, which is not its own",
                box=self.box_name,
                lane=printable(lane, 80),
            )
            raise WireError("a lane that is not this box's")
        return link

    def _outcomes(self, link: LaneLink, message: Outcomes) -> None:
        limit = max(link.stored, link.box_stored, link.in_flight.through if link.in_flight else 0)
        if not 0 <= message.settled_revision <= limit:
            raise WireError(f"settled revision {message.settled_revision} of {limit} stored")
        outcomes = tuple(
            Outcome(o.kind, o.key, o.revision, o.outcome, stored_text(o.message))
            for o in message.outcomes
            if "\0" not in o.kind and "\0" not in o.key
        )
        complete, link.complete_outcomes = link.complete_outcomes, False
        changes = link.settle(message.settled_revision, complete=complete)
        word = OutcomeWord(
            message.settled_revision, outcomes, complete, changes, overtaken=link.overtaken()
        )
        self._services.dispatcher.say(link, word)

    def _lane_state(self, link: LaneLink, message: LaneState) -> None:
        if link.mode == "closed":
            return  # ahead, or held by the controller: that has to be settled first
        word = ConditionWord(message.condition, stored_text(message.message))
        if link.recovering:
            link.meanwhile = word
        else:
            self._services.dispatcher.say(link, word)

    def _drift(self, link: LaneLink, message: Drift) -> None:
        """Take what a box found in its files; what it says is bounded and may mean nothing (S8)."""
        if len(message.findings) > MOST_FINDINGS:
            raise WireError(f"{len(message.findings)} findings in one message")
        if not 0 <= len(message.findings) <= message.total <= message.files + MOST_FINDINGS:
            raise WireError(f"{message.total} files drifted of {message.files}")
        if not 0 <= message.files < MOST_FILES or not math.isfinite(message.verified_ago):
            raise WireError("a number about files is out of range")
        findings = tuple(
            DriftFinding(each.path, each.what, stored_text(each.words)[:LONGEST_WORDS])
            for each in message.findings
            if len(each.path.encode()) <= LONGEST_FILE and each.path.isprintable()
        )
        ago = min(message.verified_ago, LONGEST_AGO) if message.verified_ago >= 0 else None
        word = DriftWord(message.files, message.total, findings, ago)
        self._services.dispatcher.say(link, word)

    def _observed(self, link: LaneLink, message: Observed) -> None:
        if message.zone not in link.watches:
            return  # of a watch that has ended: said twice, or late
        if not 0 <= message.serial < 2**32:
            raise WireError("a serial is out of range")
        changes = link.seen(message.zone, message.serial)
        for watch in link.next_watches():
            link.send(Observe(lane=link.key[1], zone=watch.zone, serial=watch.serial))
        through = link.watched_change if not link.watches else None
        word = ObservedWord(message.zone, message.serial, changes, through)
        self._services.dispatcher.say(link, word)

    def _sample(self, message: Sample) -> None:
        now = self._services.reactor.seconds()
        if self._sample_every <= 0.0 or now - self._sampled_at < self._sample_every / 2:
            return  # not asked for, or more often than asked for
        self._sampled_at = now
        self._services.samples.take(Dated(self.box, self.epoch, self._services.now(), message))

    def _report(self, message: SystemReport) -> None:
        report = Report(self.box, self.box_name, self.epoch, storable(message.facts))
        self._services.reports.take(report)

    def _renew(self, message: RenewalRequest) -> None:
        now = self._services.reactor.seconds()
        if now - self._renewed_at < RENEWAL_SECONDS:
            return
        self._renewed_at = now
        try:
            issued = self._services.issuer.issue(message.csr, self.peer.name)
        except KeyRefusedError as error:
            raise WireError(f"renewal refused: {error}") from None
        recorded = ensureDeferred(
            self._services.database.transaction(
                FLEET, partial(record, issued=issued), name="fleet.renew"
            )
        )
        recorded.addCallback(
            lambda _: self.send(
                Renewed(certificate=issued.certificate_pem + self._services.issuer.certificate_pem)
            )
        )
        recorded.addErrback(
            lambda failure: log.error("renewal of {box}: {why}", box=self.box_name, why=failure)
        )
