"""A box in a few lines: speaks the wire over real TLS and holds its lanes in memory.

It stores batches, answers, and settles what it stored, as an agent does; a test may take any of
these steps from it. Nothing is written anywhere, so a thousand of them fit one process.
"""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory

from node_agent.wire.codec import decode_from_controller
from node_agent.wire.framing import FrameProtocol
from node_agent.wire.messages import (
    Adopt,
    Alive,
    Assign,
    Batch,
    Forget,
    FromController,
    Hello,
    Inventory,
    InventoryRequest,
    Item,
    LaneReport,
    Observe,
    Observed,
    Outcome,
    Outcomes,
    Stored,
    Welcome,
)
from node_agent.wire.object_hash import as_text, combine, element
from pki.contexts import MutualTLS


@attrs.define
class SimulatedLane:
    """What a box holds of one lane."""

    history: str = ""
    stored: int = 0
    settled: int = 0
    total: int = 0
    objects: dict[tuple[str, str], Item] = attrs.field(factory=dict)
    batches: list[Batch] = attrs.field(factory=list)
    former: set[tuple[str, str]] = attrs.field(factory=set)
    """Objects of a history before the lane was adopted: any revision replaces them."""

    def store(self, batch: Batch) -> None:
        """Take each object by its own revision; never go back to an older one."""
        self.batches.append(batch)
        self.history = batch.history
        for item in batch.items:
            held = self.objects.get((item.kind, item.key))
            former = (item.kind, item.key) in self.former
            if held is not None and held.revision >= item.revision and not former:
                continue
            self.drop((item.kind, item.key))
            self.former.discard((item.kind, item.key))
            self.objects[(item.kind, item.key)] = item
            if item.spec is not None:
                share = element(item.kind, item.key, item.revision, item.spec)
                self.total = combine(self.total, added=share)
        self.stored = max(self.stored, batch.through)

    def drop(self, name: tuple[str, str]) -> None:
        """Lose an object, and its share of the hash."""
        held = self.objects.pop(name, None)
        if held is not None and held.spec is not None:
            share = element(held.kind, held.key, held.revision, held.spec)
            self.total = combine(self.total, removed=share)

    def live(self) -> dict[str, bytes]:
        """Give key -> spec of what is served."""
        return {i.key: i.spec for i in self.objects.values() if i.spec is not None}


class SimulatedProtocol(FrameProtocol[FromController]):
    """One connection of a simulated box."""

    def __init__(self, agent: "SimulatedAgent") -> None:
        super().__init__()
        self.agent = agent

    def decode(self, frame: bytes) -> FromController:
        return decode_from_controller(frame)

    def peer_established(self) -> None:
        self.agent.protocol = self
        if self.agent.greet:
            self.send(self.agent.hello())
        self.agent.look()

    def message_received(self, message: FromController) -> None:
        self.agent.received(message)

    def connection_ended(self, reason: str) -> None:
        self.agent.ended(reason)


@attrs.define(eq=False)
class SimulatedAgent:
    """One box. ``settles``, ``stores``, ``observes`` may be switched off, or replaced by a test."""

    tls: MutualTLS
    machine_id: str = "machine-1"
    boot_id: str = "boot"
    greet: bool = True
    stores: bool = True
    settles: bool = True
    observes: bool = True
    inventories: bool = True
    failing: set[str] = attrs.field(factory=set)
    """Keys that are quarantined."""
    protocol_min: int = 1
    protocol_max: int = 1
    kinds: dict[str, dict[str, int]] = attrs.field(
        factory=lambda: {"bind": {"zone": 1, "server": 1}}
    )
    lanes: dict[str, SimulatedLane] = attrs.field(factory=dict)
    messages: list[FromController] = attrs.field(factory=list)
    heard: Callable[[FromController], None] | None = None
    protocol: SimulatedProtocol | None = None
    end_reason: str | None = None
    _waits: list[tuple[Callable[[], bool], Deferred[None]]] = attrs.field(factory=list)

    async def connect(self, reactor: Any, port: int) -> None:
        """Dial the controller."""
        self.end_reason = None
        factory = Factory.forProtocol(lambda: SimulatedProtocol(self))
        factory.noisy = False
        endpoint = wrapClientTLS(self.tls, HostnameEndpoint(reactor, "127.0.0.1", port))
        await endpoint.connect(factory)

    def hello(self) -> Hello:
        return Hello(
            protocol_min=self.protocol_min,
            protocol_max=self.protocol_max,
            agent_version="0.1",
            boot_id=self.boot_id,
            machine_id=self.machine_id,
            os_family="linux",
            kinds=self.kinds,
            lanes=tuple(
                LaneReport(
                    lane=name,
                    history=lane.history,
                    stored_revision=lane.stored,
                    settled_revision=lane.settled,
                    object_hash=as_text(lane.total),
                    renderer="r1",
                    condition="ok",
                )
                for name, lane in self.lanes.items()
            ),
        )

    def send(self, message: Any) -> None:
        assert self.protocol is not None
        self.protocol.send(message)

    def received(self, message: FromController) -> None:
        if not isinstance(message, Alive):
            self.messages.append(message)
        match message:
            case Welcome():
                for name, lane in self.lanes.items():
                    self._outcomes(name, lane)
            case Assign():
                for given in message.lanes:
                    self.lanes.setdefault(given.lane, SimulatedLane())
            case Batch() if self.stores:
                self.store(message)
            case Observe() if self.observes:
                self.send(Observed(lane=message.lane, zone=message.zone, serial=message.serial))
            case InventoryRequest() if self.inventories:
                lane = self.lanes[message.lane]
                items = tuple(
                    (i.kind, i.key, i.revision) for i in lane.objects.values() if i.spec is not None
                )
                self.send(Inventory(lane=message.lane, items=items, last=True))
            case Forget():
                for forgotten in message.items:
                    self.lanes[message.lane].drop(forgotten)
            case Adopt():
                self.lanes[message.lane].history = message.history
                self.lanes[message.lane].stored = 0
                self.lanes[message.lane].former = set(self.lanes[message.lane].objects)
        if self.heard is not None:
            self.heard(message)
        self.look()

    def store(self, batch: Batch) -> None:
        """Store, say so, and (when it settles) tell the outcomes."""
        lane = self.lanes[batch.lane]
        early = [item for item in batch.items if item.revision > max(lane.stored, batch.through)]
        lane.store(batch)
        self.send(
            Stored(
                lane=batch.lane,
                batch=batch.batch,
                stored_revision=lane.stored,
                object_hash=as_text(lane.total),
            )
        )
        if self.settles:
            lane.settled = lane.stored
            self._outcomes(batch.lane, lane, early)

    def _outcomes(self, name: str, lane: SimulatedLane, applied: Sequence[Item] = ()) -> None:
        outcomes = tuple(
            Outcome(item.kind, item.key, item.revision, "quarantined", "bad")
            for item in lane.objects.values()
            if item.key in self.failing
        )
        outcomes += tuple(
            Outcome(item.kind, item.key, item.revision, "applied")
            for item in applied
            if item.key not in self.failing
        )
        self.send(Outcomes(lane=name, settled_revision=lane.settled, outcomes=outcomes))

    def ended(self, reason: str) -> None:
        self.end_reason = reason
        self.protocol = None
        self.look()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until ``holds`` is true; looked at after each message."""
        if not holds():
            waiting: Deferred[None] = Deferred()
            self._waits.append((holds, waiting))
            await waiting

    async def until_ended(self) -> str:
        """Wait for the end of the connection; give its reason."""
        await self.until(lambda: self.end_reason is not None)
        assert self.end_reason is not None
        return self.end_reason

    def said(self, kind: type) -> list[Any]:
        """Give the messages of one kind that the controller sent."""
        return [message for message in self.messages if isinstance(message, kind)]

    async def leave(self) -> None:
        """End the connection and wait for its end."""
        if self.protocol is not None:
            self.protocol.lose("leaving")
            await self.until_ended()

    def look(self) -> None:
        """See who waits no more."""
        held = [(holds, waiting) for holds, waiting in self._waits if holds()]
        self._waits = [pair for pair in self._waits if pair not in held]
        for _, waiting in held:
            waiting.callback(None)
