"""A lane, its journal and its box, without an agent around them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from node_agent.box.memory import MemoryBox, MemoryLane, World
from node_agent.concurrency import inline
from node_agent.engine import Engine
from node_agent.entries import Point, pass_by
from node_agent.journal import Journal
from node_agent.records import Received
from node_agent.round import Round
from node_agent.wire.messages import Item
from templates.objects import Spec, encode_spec
from tests.unit.node_agent.toy_service import (
    TOY,
    ToyPage,
    ToyServer,
    ToyZone,
    toy_check,
    toy_starts,
)

LANE = "6f2d0c9e-0000-4000-8000-000000000001"
HISTORY = "history-1"


def item(kind: str, key: str, revision: int, spec: Spec | None, *requires: tuple[str, str]) -> Item:
    data = None if spec is None else bytes(encode_spec(spec))
    return Item(kind, key, revision, 1, data, tuple(requires))


def server(revision: int, setting: str = "plain", reload_rest: int = 0) -> Item:
    return item("server", "", revision, ToyServer(setting=setting, reload_rest=reload_rest))


def zone(name: str, revision: int, serial: int = 1, config: str = "", refuse: str = "") -> Item:
    return item("zone", name, revision, ToyZone(serial=serial, config=config, refuse=refuse))


def page(name: str, revision: int, account: int = 1, text: str = "") -> Item:
    return item("page", name, revision, ToyPage(account=account, text=text))


def gone(kind: str, key: str, revision: int) -> Item:
    return item(kind, key, revision, None)


def nothing(revision: int, object_hash: str) -> None:
    """Nobody listens."""


class CutJournal(Journal):
    """Remembers what a power cut would leave: the last durable commit and nothing after it."""

    kept = b""

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        with super().transaction(durable=durable):
            yield
        if durable:
            self.kept = self.db.serialize()


@attrs.define
class Bench:
    """The world outlives the engine, as a box does; `restart` is the agent's next life."""

    path: Path | None = None
    world: World = attrs.Factory(lambda: World(check=toy_check, starts=toy_starts))
    at: Callable[[Point], None] = pass_by
    box: MemoryBox = attrs.field(init=False)
    journal: "CutJournal" = attrs.field(init=False)
    engine: Engine = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.box = MemoryBox(self.world)
        self.journal = CutJournal(self.path)
        self.journal.lanes.assign([(LANE, "toy1", "toy")])
        self._engine()

    def _engine(self) -> None:
        self.engine = Engine(LANE, TOY, self.box, self.journal, blocking=inline, at=self._pass)

    def _pass(self, point: Point) -> None:
        self.at(point)

    @property
    def lane(self) -> MemoryLane:
        return self.box.lanes[LANE]

    def restart(self) -> None:
        self.journal.close()
        self.journal = CutJournal(self.path)
        self._engine()

    def lose_power(self, *, keep_files: bool = False, keep_journal: bool = False) -> None:
        """What was not synced is gone, and so is the daemon.

        ``keep_files`` and ``keep_journal`` are the other extremes that a disk may choose: files,
        or the journal, as they were last.
        """
        kept = self.journal.db.serialize() if keep_journal else self.journal.kept
        self.journal.close()
        assert self.path is not None
        for each in self.path.parent.glob(f"{self.path.name}*"):
            each.unlink()
        self.path.write_bytes(kept)
        if not keep_files:
            self.lane.files.power_cut()
        self.lane.kill()
        self.journal = CutJournal(self.path)
        self._engine()

    def clone(self, path: Path) -> "Bench":
        """A second world in the same state; the daemon and its files with it."""
        path.write_bytes(self.journal.db.serialize())
        twin = Bench(path=path)
        mine, theirs = self.lane, twin.lane
        theirs.files.nodes = dict(mine.files.nodes)
        theirs.files.durable = dict(mine.files.durable)
        theirs.zones, theirs.serials = dict(mine.zones), dict(mine.serials)
        theirs.alive = mine.alive
        twin.engine.read_server()
        return twin

    async def apply(self, *items: Item) -> list[Round]:
        """Store and work until nothing more comes of it."""
        through = max((each.revision for each in items), default=0)
        received: Received | None = Received(HISTORY, through, items) if items else None
        rounds = []
        while True:
            work = await self.engine.round(received, nothing)
            received = None
            await work.remember()
            await self.engine.settle(work)
            rounds.append(work)
            if work.unavailable is not None or not (work.done or work.verdicts):
                return rounds

    def outcomes(self) -> dict[str, str]:
        return {f"{o.kind}/{o.key}": o.outcome for o in self.journal.exceptions(LANE)}

    def words(self) -> str:
        return " | ".join(o.message for o in self.journal.exceptions(LANE))
