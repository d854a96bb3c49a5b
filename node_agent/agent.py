"""The agent: its lanes on one side, the session with a controller on the other."""

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from node_agent.answering import Answering
from node_agent.box.interface import Box, is_lane_id
from node_agent.concurrency import Blocking
from node_agent.effects.failures import BoxUnavailableError
from node_agent.engine import Engine
from node_agent.entries import Point, pass_by
from node_agent.identity import Identity, Renewal, now
from node_agent.journal import Journal
from node_agent.lanes import Lane
from node_agent.logs import event
from node_agent.monitoring import Gauge
from node_agent.records import LaneRecord
from node_agent.sysinfo import LaneFacts, sample
from node_agent.verifying import VERIFY_EVERY
from node_agent.wire.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Adopt,
    Answer,
    Assign,
    Batch,
    Forget,
    FromAgent,
    FromController,
    Hello,
    InventoryRequest,
    LaneAssignment,
    LaneState,
    Monitor,
    Observe,
    Question,
    RenewalRequest,
    Renewed,
    Retry,
    SystemReport,
    SystemRequest,
    Welcome,
)
from node_agent.wire.older import speaking
from node_agent.wire.questions import Declined
from pki import __version__
from pki.keys import KeyRefusedError
from pki.policy import PeerRefusedError
from templates.service_type import ServiceType

REPORT_EVERY = 60.0
"""Seconds between two system reports."""
SHORTEST_SAMPLING = 1.0
"""Seconds between two samples, at least, whatever a controller asks for."""
RENEWAL_EVERY = 3600.0
LONGEST_GRANT = 2000
"""Characters that are told of one table of grants."""
HOLD_EVERY = 0.25
"""Seconds between two looks for a hold or release set by ``hs-agent`` on the box."""


@attrs.define
class Credentials:
    """The box's identity in use; ``swap`` gives a renewed one to new connections."""

    state: Path
    identity: Identity
    swap: Callable[[bytes, bytes], None]


@attrs.frozen
class Host:
    """Who the box is, for the `Hello`, and what its owner grants, in words."""

    machine_id: str
    boot_id: str
    granted: Mapping[str, str] = attrs.Factory(dict)


class Agent:
    """Works the lanes that are assigned to this box; a session may come and go meanwhile."""

    def __init__(
        self,
        *,
        host: Host,
        box: Box,
        journal: Journal,
        blocking: Blocking,
        aside: Blocking,
        clock: IReactorTime,
        time: Callable[[], float],
        service_types: Mapping[str, ServiceType],
        renderer: Callable[[ServiceType], str],
        credentials: Credentials | None = None,
        watch_daemons: bool = True,
        answering: Answering | None = None,
        verify_every: float = VERIFY_EVERY,
        at: Callable[[Point], None] = pass_by,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self._host = host
        self._box = box
        self._journal = journal
        self._blocking = blocking
        self._aside = aside
        self._clock = clock
        self._time = time
        self._types = service_types
        self._renderer = renderer
        self._credentials = credentials
        self._watch_daemons = watch_daemons
        self._answering = answering
        self._verify_every = verify_every
        self._at = at
        self._send: Callable[[FromAgent], None] | None = None
        self._kept: list[FromAgent] | None = None
        self._inbox: deque[FromController] = deque()
        self._working = False
        self._renewal: Renewal | None = None
        self._skew = 0.0
        self._gauge = Gauge()
        self._calls: dict[str, IDelayedCall] = {}
        self._declined: list[LaneAssignment] = []
        self._stopped = False

    # --- life ---

    async def start(self) -> None:
        """Look after what is here already; no controller is needed for it."""
        for record in await self._blocking(self._journal.lanes.all):
            if record.assigned:
                await self._add(record)
        self._every("hold", HOLD_EVERY, self.notice_holds)

    async def stop(self) -> None:
        """End the rounds under way; the daemons run on."""
        self._stopped = True
        for call in self._calls.values():
            if call.active():
                call.cancel()
        for lane in tuple(self.lanes.values()):
            await lane.stop()
        self.lanes.clear()

    async def notice_holds(self) -> None:
        """See what the operator set in the journal from outside."""
        records = await self._blocking(self._changed_records)
        for record in records:
            lane = self.lanes.get(record.id)
            if lane is not None:
                lane.hold(record.held)
            if self._answering is not None and not record.held:
                await self._blocking(partial(self._answering.desk.released, record.id))

    _seen_version = -1

    def _changed_records(self) -> tuple[LaneRecord, ...]:
        version = self._journal.data_version()
        if version == self._seen_version:
            return ()
        self._seen_version = version
        return self._journal.lanes.all()

    # --- the session's side ---

    async def hello(self) -> Hello:
        """Describe the box and its lanes."""
        lanes = list(self.lanes.values())
        reports = await self._blocking(lambda: [lane.reports.report() for lane in lanes])
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            agent_version=__version__,
            boot_id=self._host.boot_id,
            machine_id=self._host.machine_id,
            os_family=self._box.os_family,
            kinds={
                name: {kind.name: kind.version for kind in each.kinds.values()}
                for name, each in self._types.items()
                if self._box.os_family in each.platforms
            },
            lanes=tuple(reports),
        )

    def welcomed(self, send: Callable[[FromAgent], None], welcome: Welcome) -> None:
        """Begin a session. What lanes say is kept until all of each has been reported once."""
        self._send, self._kept = speaking(welcome.protocol, send), []
        self._inbox.clear()
        self._skew = welcome.now - self._time()
        for lane in self.lanes.values():
            lane.meet_history(welcome.history)
        event("welcomed", epoch=welcome.session_epoch, interval=welcome.interval)
        self._every("report", REPORT_EVERY, self._report_system, at_once=True)
        self._every("renewal", RENEWAL_EVERY, self._renew, at_once=True)

    def received(self, message: FromController) -> None:
        """Act on one message, in order; an `Assign` is done before what follows it."""
        self._inbox.append(message)
        if not self._working:
            self._working = True
            self._detach(self._drain())

    def ended(self) -> None:
        """Drop what is said from now on; it is all reported on the next session."""
        self._send = self._kept = self._renewal = None
        self._inbox.clear()
        for lane in self.lanes.values():
            lane.session_over()
        for name in ("report", "renewal", "sample"):
            self._end_task(name)

    def say(self, message: FromAgent) -> None:
        """Send what a lane says, or keep it for the end of the first report."""
        if self._kept is not None:
            self._kept.append(message)
        elif self._send is not None:
            self._send(message)

    # --- messages ---

    async def _drain(self) -> None:
        try:
            while self._inbox:
                message = self._inbox.popleft()
                if isinstance(message, Assign):
                    await self._assign(message)
                else:
                    self._act(message)
        finally:
            self._working = False

    def _act(self, message: FromController) -> None:
        match message:
            case SystemRequest():
                self._detach(self._report_system())
            case Renewed():
                self._renewed(message)
            case Monitor():
                self._monitor(message.every)
            case Question():
                self._detach(self._answer(message))
            case Batch() | Observe() | InventoryRequest() | Forget() | Retry() | Adopt():
                lane = self.lanes.get(message.lane)
                if lane is None:
                    event("unknown-lane", lane=message.lane, message=type(message).__name__)
                else:
                    self._act_on_lane(lane, message)

    def _act_on_lane(
        self,
        lane: Lane,
        message: Batch | Observe | InventoryRequest | Forget | Retry | Adopt,
    ) -> None:
        match message:
            case Batch():
                lane.take(message)
            case Observe():
                lane.zones.watch(message.zone, message.serial)
            case InventoryRequest():
                self._detach(lane.reports.inventory())
            case Forget():
                self._detach(lane.forget(message.items))
            case Retry():
                self._detach(lane.retry(message.kind, message.key))
            case Adopt():
                self._detach(lane.adopt(message.history, overwrite=message.overwrite))

    async def _assign(self, message: Assign) -> None:
        # What is not kept here stays out of the journal too: the next start would meet it again.
        named = [each for each in message.lanes if is_lane_id(each.lane)]
        for strange in {each.lane for each in message.lanes} - {each.lane for each in named}:
            event("not-a-lane-id", level=logging.WARNING, lane=strange)
        known = [each for each in named if each.service_type in self._types]
        self._declined = [each for each in named if each not in known]
        for each in self._declined:
            event("declined", level=logging.WARNING, lane=each.name, type=each.service_type)
        wanted = [(each.lane, each.name, each.service_type) for each in known]
        drift = {each.lane: each.drift for each in known}
        await self._blocking(lambda: self._journal.lanes.assign(wanted, drift))
        for id, lane in self.lanes.items():
            if id in drift:
                await lane.drift.set_policy(drift[id])
        for id in [id for id in self.lanes if id not in {each.lane for each in known}]:
            await self.lanes.pop(id).stop()
            event("unassigned", lane=id)
        for record in await self._blocking(self._journal.lanes.all):
            if record.assigned and record.id not in self.lanes:
                await self._add(record)
        await self._report_lanes()

    async def _report_lanes(self) -> None:
        """Say all of each lane once, then what was kept meanwhile."""
        send, lanes = self._send, list(self.lanes.values())
        reports = await self._blocking(lambda: [lane.reports.outcomes() for lane in lanes])
        drifts = await self._blocking(lambda: [lane.drift.verifier.report() for lane in lanes])
        if send is None or send is not self._send:
            return
        kept, self._kept = self._kept or [], None
        for lane, pages, drift in zip(lanes, reports, drifts, strict=True):
            for outcomes in pages:
                send(outcomes)
            send(lane.reports.state())
            send(drift)
        for each in self._declined:
            send(LaneState(lane=each.lane, condition="held", message=declined(each)))
        for message in kept:
            send(message)

    async def _add(self, record: LaneRecord) -> None:
        service_type = self._types.get(record.service_type)
        if service_type is None:
            event("unknown-service-type", lane=record.name, type=record.service_type)
            return

        def prepare() -> Engine:
            if self._journal.lanes.set_renderer(record.id, self._renderer(service_type)):
                # Another renderer may accept what the former one refused.
                self._journal.retry(record.id, None, ("quarantined",))
            return Engine(
                record.id,
                service_type,
                self._box,
                self._journal,
                blocking=self._blocking,
                at=self._at,
            )

        engine = await self._blocking(prepare)
        lane = Lane(
            record,
            engine=engine,
            journal=self._journal,
            blocking=self._blocking,
            clock=self._clock,
            send=self.say,
            watch_daemon=self._watch_daemons,
            verify_every=self._verify_every,
        )
        self.lanes[record.id] = lane
        event("lane", lane=record.name, id=record.id, type=record.service_type)
        lane.start()

    # --- what is said from time to time ---

    async def _report_system(self) -> None:
        facts = [
            LaneFacts(
                lane.id,
                lane.name,
                lane.service_type,
                lane.reports.condition,
                await lane.daemon.running(),
            )
            for lane in list(self.lanes.values())
        ]
        report = await self._aside(lambda: sample(facts))
        report["clock_skew"] = round(self._skew, 3)
        report["grants"] = {name: what[:LONGEST_GRANT] for name, what in self._host.granted.items()}
        if self._credentials is not None:
            leaf = self._credentials.identity.leaf
            report["certificate_not_after"] = leaf.not_valid_after_utc.timestamp()
        if self._send is not None:
            self._send(SystemReport(sampled_at=self._time(), facts=report))

    def _monitor(self, every: float) -> None:
        """Send samples at this interval; at 0 none of them, and no reports unasked."""
        self._end_task("sample")
        if every <= 0.0:
            self._end_task("report")
            return
        if "report" not in self._calls:
            self._every("report", REPORT_EVERY, self._report_system)
        self._every("sample", max(every, SHORTEST_SAMPLING), self._send_sample, at_once=True)

    async def _send_sample(self) -> None:
        send = self._send
        sample = await self._aside(self._gauge.sample)
        if sample is not None and send is not None and send is self._send:
            send(sample)

    async def _answer(self, question: Question) -> None:
        send = self._send
        if self._answering is None:
            found = Declined(reason="unknown", words="this box answers no questions")
            answer = Answer(id=question.id, found=found)
        else:
            answer = await self._answering.answer(question, tuple(self.lanes.values()))
        if send is not None and send is self._send:
            send(answer)

    async def _renew(self) -> None:
        credentials = self._credentials
        if credentials is None or not credentials.identity.renewal_due(now()):
            return
        self._renewal = await self._aside(lambda: Renewal(credentials.state))
        if self._send is not None:
            event("renewal-asked")
            self._send(RenewalRequest(csr=self._renewal.request))

    def _renewed(self, message: Renewed) -> None:
        renewal, self._renewal = self._renewal, None
        credentials = self._credentials
        if renewal is None or credentials is None:
            event("renewal-unasked")
            return
        try:
            identity = renewal.accept(message.certificate, credentials.identity.ca, now())
            credentials.swap(identity.certificate, identity.key)
        except (KeyRefusedError, PeerRefusedError, OSError, ValueError) as error:
            event("renewal-refused", why=error)
            return
        credentials.identity = identity
        event("renewed", until=identity.leaf.not_valid_after_utc.isoformat())

    # --- calls ---

    def _every(
        self,
        name: str,
        seconds: float,
        task: Callable[[], Coroutine[Any, Any, None]],
        *,
        at_once: bool = False,
    ) -> None:
        async def run() -> None:
            try:
                await task()
            except BoxUnavailableError as error:
                event("put-off", task=name, why=error)

        def again() -> None:
            if not self._stopped:
                self._calls[name] = self._clock.callLater(seconds, again)
                self._detach(run())

        self._calls[name] = self._clock.callLater(0 if at_once else seconds, again)

    def _end_task(self, name: str) -> None:
        call = self._calls.pop(name, None)
        if call is not None and call.active():
            call.cancel()

    @staticmethod
    def _detach(task: Coroutine[Any, Any, None]) -> None:
        def tell(failure: Any) -> None:
            event("internal-error", level=40, why=failure.getTraceback())

        Deferred.fromCoroutine(task).addErrback(tell)


def declined(lane: LaneAssignment) -> str:
    """Say of a lane that this box does not work, why."""
    return (
        f"not granted: this box works no logical servers of the type {lane.service_type}: its owner"
        " has not named it in service_types of grants.toml, or the agent is too old for it"
    )
