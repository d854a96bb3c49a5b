"""The fleet as the composition root builds it and as commands speak to it."""

import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from controller.crash_points import CrashSite, pass_by
from controller.fleet.acknowledgement import AcknowledgementWriter
from controller.fleet.certificates import Issuer, revoked_among
from controller.fleet.committed import Handover
from controller.fleet.comparison import Comparisons
from controller.fleet.dispatch import Dispatcher
from controller.fleet.enrolment import EnrolmentListener
from controller.fleet.lane_store import lanes_of_boxes
from controller.fleet.lanes import LaneRow
from controller.fleet.listener import AgentListener
from controller.fleet.liveness import SHORTEST_INTERVAL, interval
from controller.fleet.loading import Inline
from controller.fleet.monitoring import SampleStore, monitored_among
from controller.fleet.presence import Presence, known_boxes
from controller.fleet.questions import BoxAwayError, NoAnswerError
from controller.fleet.reporting import ReportStore
from controller.fleet.session_table import SessionTable
from controller.fleet.sessions import Services
from controller.fleet.words import FLEET
from controller.storage.database import Database
from node_agent.wire.messages import PROTOCOL_PREVIEW, Retry, SystemRequest
from node_agent.wire.questions import AnyAsk, AnyFound, AskPreview
from pki.revocation import DenyList

log = Logger()

CHANGE_CHANNEL = "hs_change"
RESCAN_SECONDS = 30.0
PRESENCE_SECONDS = 5.0


class UnbufferedTls(TLSMemoryBIOFactory):
    """TLS that has encrypted a frame when it was said: see `FrameProtocol.push`."""

    protocol = TLSMemoryBIOProtocol


class Fleet:
    """Every agent of the cluster, from this controller's side.

    ``agent_tls`` serves mutual TLS for boxes with the deny-list inside; ``enrolment_tls`` asks for
    no client certificate. ``agent_port`` is what an enrolled box is told to dial.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        database: Database,
        issuer: Issuer,
        *,
        agent_tls: IOpenSSLServerConnectionCreator,
        enrolment_tls: IOpenSSLServerConnectionCreator,
        deny_list: DenyList,
        cluster: str,
        agent_port: int,
        inline: Inline,
        now: Callable[[], float] = time.time,
        at: CrashSite = pass_by,
    ) -> None:
        self._reactor = reactor
        self._database = database
        self._agent_tls = agent_tls
        self._enrolment_tls = enrolment_tls
        self._deny_list = deny_list
        self.sessions = SessionTable()
        self._writer = AcknowledgementWriter(database, reactor, at)
        self._comparisons = Comparisons(database, reactor, inline, at)
        self._dispatcher = Dispatcher(
            database,
            reactor,
            self._writer,
            inline,
            mismatch=self._comparisons.begin,
            lanes_changed=self._lanes_changed,
            at=at,
        )
        self._comparisons.dispatcher = self._dispatcher
        self._known_boxes = 0
        self._presence = Presence(database, reactor, self.sessions, self._interval)
        self._samples = SampleStore(database)
        self._reports = ReportStore(database, reactor)
        services = Services(
            database=database,
            reactor=reactor,
            dispatcher=self._dispatcher,
            comparisons=self._comparisons,
            issuer=issuer,
            interval=self._interval,
            now=now,
            ended=self._presence.ended,
            samples=self._samples,
            reports=self._reports,
            at=at,
        )
        self._listener = AgentListener(services, self.sessions)
        self._enrolment = EnrolmentListener(
            reactor, database, issuer, self.revoke, cluster=cluster, agent_port=agent_port
        )
        self._looking = False
        self._look_again = False
        self._keeping: Deferred[None] | None = None
        """The writing of the deny-list that is under way."""
        self._ports: list[IListeningPort] = []
        self._loops: list[LoopingCall] = []

    async def start(
        self, agent_endpoint: IStreamServerEndpoint, enrolment_endpoint: IStreamServerEndpoint
    ) -> tuple[IListeningPort, IListeningPort]:
        """Listen for agents and for boxes that enrol; give both ports."""
        await self._count_boxes()
        await self._database.listen(
            CHANGE_CHANNEL, self._committed, recovered=lambda: self._later(self._rescan())
        )
        doors = (
            (agent_endpoint, self._agent_tls, self._listener),
            (enrolment_endpoint, self._enrolment_tls, self._enrolment),
        )
        for endpoint, tls, factory in doors:
            wrapped = UnbufferedTls(tls, False, factory)
            wrapped.noisy = False
            self._ports.append(await endpoint.listen(wrapped))
        self._listener.listening(self._ports[0])
        self._every(SHORTEST_INTERVAL / 4, self._beat)
        self._every(PRESENCE_SECONDS, lambda: ensureDeferred(self._presence.save()))
        self._every(PRESENCE_SECONDS, lambda: ensureDeferred(self._samples.save()))
        self._every(RESCAN_SECONDS, lambda: ensureDeferred(self._rescan()))
        return self._ports[0], self._ports[1]

    async def stop(self) -> None:
        """End every session and listen no more. What is committed stays for the next start."""
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self._dispatcher.stop()
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        self._listener.stop()
        self._enrolment.stop()
        if self._keeping is not None:
            await self._keeping
        await self._writer.drained()
        await self._presence.save()
        self._writer.close()
        self._reports.close()

    @property
    def handover(self) -> Handover:
        """Who is to be given each change that this process commits."""
        return self._dispatcher

    # --- what commands ask for ---

    def revoke(self, serials: Iterable[int]) -> None:
        """Deny certificates from now on, and end the sessions that they opened.

        The deny-list's file is written soon: its lock may be held by another process. Until then,
        and should this one end, they are revoked in the database.
        """
        denied = set(serials)
        self._deny_list.deny(denied)
        for session in self.sessions:
            if session.peer.serial in denied:
                session.lose("its certificate was revoked")
        self._keep_denied()

    def _keep_denied(self) -> None:
        if self._deny_list.unwritten and self._keeping is None:
            self._keeping = deferToThread(
                _write_denied, self._deny_list.path, self._deny_list.unwritten
            )
            self._keeping.addBoth(self._kept)

    def _kept(self, result: object) -> None:
        self._keeping = None
        if isinstance(result, Failure):
            log.error("the deny-list is not written, again soon: {why}", why=result.value)
            return
        self._deny_list.refresh()
        self._keep_denied()  # what came meanwhile

    def retry(self, server: str, kind: str = "", key: str = "") -> int:
        """Have a logical server's lanes try an object again, or all; give how many were asked."""
        links = self._dispatcher.links_of(server)
        for link in links:
            link.send(Retry(lane=server, kind=kind, key=key))
        return len(links)

    def adopt(
        self,
        server: str,
        *,
        overwrite: bool,
        removed: int | None = None,
        boxes: Collection[str] | None = None,
    ) -> int:
        """Go on with the lanes of a logical server that are ahead or held; give how many there are.

        See `Comparisons.adopt`. Lanes that were adopted before may be overwritten. Boxes that are
        not connected stay as they are, and those that are not among ``boxes`` (ids), where given.
        """
        links = [
            link
            for link in self._dispatcher.links_of(server)
            if (boxes is None or link.key[0] in boxes)
            and (link.mode == "closed" or (overwrite and link.adopted))
        ]
        for link in links:
            self._comparisons.adopt(link, overwrite=overwrite, removed=removed)
        return len(links)

    def request_facts(self, box: str) -> bool:
        """Ask a box for a system report; False where it is not connected."""
        session = self.sessions.get(box)
        if session is not None:
            session.send(SystemRequest())
        return session is not None

    async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
        """Ask a box a question; raises `controller.fleet.questions.NoAnswerError`."""
        session = self.sessions.get(box)
        if session is None:
            raise BoxAwayError("the box is not connected")
        if isinstance(ask, AskPreview) and session.protocol < PROTOCOL_PREVIEW:
            raise NoAnswerError("its agent is older and cannot say: upgrade it")
        return await session.questions.ask(ask, seconds)

    def set_monitoring(self, box: str, on: bool) -> None:
        """Have a box send samples of its load, or none. One that is away hears it on connecting."""
        session = self.sessions.get(box)
        if session is not None:
            session.monitor(on)

    def connected(self, box: str) -> bool:
        """Whether a box has a session with this controller."""
        return self.sessions.get(box) is not None

    def refused(self, box: str, seconds: float = 600.0) -> str:
        """Why a session of the box was refused within the last ``seconds``, or nothing."""
        return self._listener.refusals.since(box, self._reactor.seconds() - seconds)

    def duplicated(self, seconds: float = 600.0) -> list[str]:
        """Give the boxes whose identity a second machine showed within the last ``seconds``."""
        oldest = self._reactor.seconds() - seconds
        return self._listener.refusals.boxes("duplicate-identity", oldest)

    @property
    def in_grace(self) -> bool:
        """Whether the controller started so lately that no box may be called lost."""
        return self._presence.in_grace

    # --- inside ---

    def _committed(self, payload: str) -> None:
        if payload.isdecimal():
            self._dispatcher.notified(int(payload))

    def _lanes_changed(self) -> None:
        """Look whether boxes got or lost lanes; once more where that is asked meanwhile."""
        self._look_again = True
        if not self._looking:
            self._looking = True
            ensureDeferred(self._look())

    async def _look(self) -> None:
        while self._look_again:
            self._look_again = False
            try:
                await self._reassign()
            except Exception as error:
                # The rescan looks again in any case; a database that is away must not end it.
                log.error("lanes were not looked at: {error}", error=error)
        self._looking = False

    async def _reassign(self) -> None:
        boxes = {session.box: session for session in self.sessions}
        if not boxes:
            return
        rows = await self._database.transaction(
            FLEET, partial(lanes_of_boxes, boxes=list(boxes)), name="fleet.lanes"
        )
        found: dict[str, list[LaneRow]] = {box: [] for box in boxes}
        for row in rows:
            found[row.box].append(row)
        for box, session in boxes.items():
            if self.sessions.get(box) is session:
                session.reassign(found[box])

    async def _monitor_again(self) -> None:
        """Hear of a switch that another controller, or a restore, has set."""
        boxes = [session.box for session in self.sessions]
        if not boxes:
            return
        wanted = await self._database.transaction(
            FLEET, partial(monitored_among, boxes=boxes), name="fleet.monitored"
        )
        for session in self.sessions:
            if session.box in boxes:
                session.monitor(session.box in wanted)

    def _beat(self) -> None:
        self._presence.beat()  # first: a deny-list that cannot be read must silence nobody
        for serial in self._deny_list.refresh():
            self.revoke([serial])
        self._keep_denied()

    def _interval(self) -> float:
        """Give the heartbeats' interval, for all boxes that may come, not for those that did."""
        return interval(max(self._known_boxes, len(self.sessions)))

    async def _count_boxes(self) -> None:
        self._known_boxes = await self._database.transaction(
            FLEET, known_boxes, name="fleet.boxes", single=True
        )

    async def _rescan(self) -> None:
        try:
            await self._count_boxes()
            await self._reassign()
            await self._monitor_again()
            await self._dispatcher.rescan()
            serials = [session.peer.serial for session in self.sessions]
            if serials:
                self.revoke(
                    await self._database.transaction(
                        FLEET, partial(revoked_among, serials=serials), name="fleet.revoked"
                    )
                )
        except Exception as error:
            # The next scan comes in any case; a database that is away must not end it.
            log.error("rescan failed: {error}", error=error)

    def _later(self, coroutine: object) -> None:
        ensureDeferred(coroutine)  # type: ignore[arg-type]

    def _every(self, seconds: float, function: Callable[[], object]) -> None:
        """Call ``function`` at an interval; where it fails, it is called again at the next."""

        def once() -> Deferred[None]:
            done = maybeDeferred(function)
            return done.addCallbacks(
                lambda _: None,
                lambda failure: log.error("a job of the fleet failed: {why}", why=failure.value),
            )

        loop = LoopingCall(once)
        loop.clock = self._reactor
        self._loops.append(loop)
        loop.start(seconds, now=False)


def _write_denied(path: Path, serials: Iterable[int]) -> None:
    """Write serials to a deny-list. Blocks: for a thread, with a list of its own."""
    deny_list = DenyList.load(path)
    for serial in serials:
        deny_list.add(serial)
