"""A process of simulated boxes that come back by themselves, with an agent's own dialler.

``python -m tests.bench.redialling PORT IDENTITIES TOLD``: what the boxes see is written into the
file ``TOLD``, some times a second.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import LoopingCall

from node_agent.config import ControllerAddress
from node_agent.connection import Dialler, dial_address
from node_agent.sysinfo import LaneFacts, sample
from node_agent.wire.messages import (
    Batch,
    FromAgent,
    FromController,
    Hello,
    Message,
    Monitor,
    SystemReport,
    Welcome,
)
from node_agent.wire.messages import Sample as LoadSample
from tests.bench import identities
from tests.simulated_agent import SimulatedAgent

TOLD_EVERY = 0.25
REPORT_EVERY = 60.0


@attrs.define
class Told:
    """What the boxes of a process have seen so far."""

    connected: int = 0
    welcomes: int = 0
    applied: int = 0
    """Versions of objects that a box took."""
    again: int = 0
    """Versions that were sent to a box that had them: told again, and not taken again."""
    dials: Counter[int] = attrs.field(factory=Counter)
    """By second of the epoch."""
    welcomed: Counter[int] = attrs.field(factory=Counter)
    """By second of the epoch."""
    held: Counter[int] = attrs.field(factory=Counter)
    """How many boxes hold which revision."""

    def in_json(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def together(cls, files: Iterable[Path]) -> "Told":
        """Sum up what processes told."""
        total = cls()
        for file in files:
            found = json.loads(file.read_text()) if file.exists() else {}
            for name, value in found.items():
                if isinstance(value, int):
                    setattr(total, name, getattr(total, name) + value)
                else:
                    getattr(total, name).update({int(key): n for key, n in value.items()})
        return total


@attrs.define
class _Sender:
    """Stands where a simulated box has its connection."""

    send: Callable[[Message], None]


class Box:
    """A simulated box as an agent's dialler speaks to it (`node_agent.connection.AgentSide`)."""

    def __init__(self, reactor: Any, simulated: SimulatedAgent, told: Told, facts: Any) -> None:
        self._simulated = simulated
        self._told = told
        self._reactor = reactor
        self._facts = facts
        self._report = LoopingCall(self._send_report)
        self._sampling = LoopingCall(self._send_sample)

    async def hello(self) -> Hello:
        self._told.dials[int(time.time())] += 1
        return self._simulated.hello()

    def welcomed(self, send: Callable[[FromAgent], None], welcome: Welcome) -> None:
        self._simulated.protocol = _Sender(send)  # type: ignore[assignment,arg-type]
        self._told.connected += 1
        self._told.welcomes += 1
        self._told.welcomed[int(time.time())] += 1
        self._simulated.received(welcome)
        self._report.start(REPORT_EVERY)

    def received(self, message: FromController) -> None:
        match message:
            case Batch():
                self._count(message)
            case Monitor():
                if self._sampling.running:
                    self._sampling.stop()
                if message.every > 0:
                    self._sampling.start(message.every)
        self._simulated.received(message)
        self._simulated.messages.clear()
        for lane in self._simulated.lanes.values():
            lane.batches.clear()

    def ended(self) -> None:
        self._told.connected -= 1
        self._simulated.protocol = None
        for call in (self._report, self._sampling):
            if call.running:
                call.stop()

    def _count(self, batch: Batch) -> None:
        lane = self._simulated.lanes[batch.lane]
        for item in batch.items:
            held = lane.objects.get((item.kind, item.key))
            before = held.revision if held is not None else 0
            if item.revision <= before:
                self._told.again += 1
                continue
            self._told.applied += 1
            self._told.held[before] -= 1
            self._told.held[item.revision] += 1

    def _send_report(self) -> None:
        self._simulated.send(SystemReport(sampled_at=time.time(), facts=self._facts))

    def _send_sample(self) -> None:
        self._simulated.send(LoadSample(**_LOAD))


_LOAD = dict.fromkeys(LoadSample.__struct_fields__, 1)


def main(port: int, file: Path, told_file: Path) -> None:
    """Dial for every box of the file, again and again, until we are ended."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    facts = sample([LaneFacts("lane", "crowd", "bind", "ok", running=True)])
    told = Told()
    for number, tls in enumerate(identities.read(file)):
        simulated = SimulatedAgent(tls, machine_id=f"crowd-{file.stem}-{number}")
        told.held[0] += 1
        Dialler(
            reactor,
            [ControllerAddress("127.0.0.1", port)],
            dial_address(reactor, tls),
            Box(reactor, simulated, told, facts),
        ).start()

    def tell() -> None:
        candidate = told_file.with_suffix(".new")
        candidate.write_text(told.in_json())
        os.replace(candidate, told_file)

    LoopingCall(tell).start(TOLD_EVERY)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
