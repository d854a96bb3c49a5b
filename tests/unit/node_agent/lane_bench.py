"""A lane with its journal and its box, by a clock of the test's own; what it says is kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.task import Clock

from node_agent.box.memory import MemoryBox, MemoryLane, World
from node_agent.concurrency import inline
from node_agent.effects.failures import DiskFullError
from node_agent.engine import Engine
from node_agent.entries import Point, pass_by
from node_agent.journal import Journal
from node_agent.lanes import Lane
from node_agent.wire.messages import Batch, FromAgent, Item
from tests.unit.node_agent.bench_of_one import HISTORY, LANE
from tests.unit.node_agent.toy_service import TOY, toy_check, toy_starts


class FillingJournal(Journal):
    """``full_at`` counts transactions down: at zero the disk is full, for that one."""

    full_at = -1

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        self.full_at -= 1
        if self.full_at == 0:
            raise DiskFullError("the journal cannot be written: no space")
        with super().transaction(durable=durable):
            yield


class LaneBench:
    """The box and the journal outlive the lane, as they do the agent."""

    def __init__(self, at: Callable[[Point], None] = pass_by, settle_after: float = 0.0) -> None:
        self.world = World(check=toy_check, starts=toy_starts)
        self.box = MemoryBox(self.world)
        self.journal = FillingJournal(None)
        self.journal.lanes.assign([(LANE, "toy1", "toy")])
        self.clock = Clock()
        self.said: list[FromAgent] = []
        self.at = at
        self.settle_after = settle_after
        self.batches = 0
        self.start()

    def start(self) -> None:
        """Begin a life of the agent."""
        self.lane = Lane(
            self.journal.lanes.get(LANE),
            engine=Engine(
                LANE,
                TOY,
                self.box,
                self.journal,
                blocking=inline,
                at=self._at,
                now=self.clock.seconds,
            ),
            journal=self.journal,
            blocking=inline,
            clock=self.clock,
            send=self.said.append,
            settle_after=self.settle_after,
        )
        self.lane.start()

    def _at(self, point: Point) -> None:
        self.at(point)

    @property
    def daemon(self) -> MemoryLane:
        return self.box.lanes[LANE]

    def take(self, *items: Item, history: str = HISTORY, through: int | None = None) -> None:
        """Let a batch come."""
        self.batches += 1
        newest = max((each.revision for each in items), default=0)
        self.lane.take(
            Batch(
                lane=LANE,
                batch=self.batches,
                history=history,
                through=newest if through is None else through,
                items=items,
            )
        )

    def pass_time(self, seconds: float = 120.0) -> None:
        self.clock.pump([0.5] * int(seconds * 2))

    def heard(self, kind: type) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind)]
