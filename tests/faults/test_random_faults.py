"""Random commands and random faults against what must be true; `script/soak` runs it for long.

A run is one seed: the same commands and faults in the same order. The moments at which processes
die within them are the machine's own, and differ.
"""

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, get_args

import attrs
import pytest
import pytest_twisted
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from controller.client.client import Written
from controller.client.errors import RefusedError
from controller.crash_points import CrashPoint
from controller.storage.embedded import EmbeddedPostgres
from node_agent.wire.codec import encode
from node_agent.wire.messages import Alive, Batch, Observed, Outcomes, Stored
from node_agent.wire.object_hash import as_text
from tests.faults.simulated_cluster import DOMAIN, SimulatedCluster, simulated_cluster
from tests.simulated_agent import SimulatedAgent, SimulatedLane

LONG = "HS_SOAK_MINUTES" in os.environ
MINUTES = float(os.environ.get("HS_SOAK_MINUTES", "0"))
SEED = int(os.environ.get("HS_SOAK_SEED", "0"))
NAMES = ("a", "b", "c", "d")
OTHERS = ("x.test", "y.test", "z.test")
"""Domains that come and go beside the one of the records."""
NAME_SERVERS = ("ns1", "ns2")
REACHED = sorted(set(get_args(CrashPoint)) - {"greeted", "compared", "moved"})
"""The crash points that every change of a record reaches."""

Fault = Callable[[SimulatedCluster], Awaitable[None]]
FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    """Take a fault in; it ends with everything running again."""
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


# --- what happens to the controller and its database ---


@fault
async def no_fault(cluster: SimulatedCluster) -> None:
    return


@fault
async def controller_killed(cluster: SimulatedCluster) -> None:
    await cluster.kill()
    await cluster.start()


@fault
async def database_killed(cluster: SimulatedCluster) -> None:
    await deferToThread(cluster.kill_database)


# --- what happens to a box ---


def one_box(cluster: SimulatedCluster) -> SimulatedAgent:
    return cluster.boxes["ns2"].agent


def cut(cluster: SimulatedCluster) -> None:
    cluster.boxes["ns2"].leave()


@fault
async def link_cut(cluster: SimulatedCluster) -> None:
    cut(cluster)


@fault
async def box_away_for_a_while(cluster: SimulatedCluster) -> None:
    cluster.boxes["ns2"].away = True
    cut(cluster)
    await cluster.pause(0.3)
    cluster.boxes["ns2"].away = False


@fault
async def box_lost_an_object(cluster: SimulatedCluster) -> None:
    for lane in one_box(cluster).lanes.values():
        lane.drop(("zone", DOMAIN))
    cut(cluster)


@fault
async def box_state_deleted(cluster: SimulatedCluster) -> None:
    one_box(cluster).lanes.clear()
    cut(cluster)


@fault
async def box_restored_from_a_backup(cluster: SimulatedCluster) -> None:
    agent = one_box(cluster)
    if not cluster.backup:
        cluster.backup = {name: copied(lane) for name, lane in agent.lanes.items()}
    agent.lanes = {name: copied(lane) for name, lane in cluster.backup.items()}
    cut(cluster)


def copied(lane: SimulatedLane) -> SimulatedLane:
    return attrs.evolve(lane, objects=dict(lane.objects), batches=[], former=set())


# --- what happens to frames ---


def said(agent: SimulatedAgent) -> list[Any]:
    """Give what the box would say of its lanes, as it is now."""
    words: list[Any] = []
    for name, lane in agent.lanes.items():
        words.append(Stored(name, len(lane.batches), lane.stored, as_text(lane.total)))
        words.append(Outcomes(lane=name, settled_revision=lane.settled, outcomes=()))
    return words


def send_all(agent: SimulatedAgent, words: list[Any]) -> None:
    for word in words:
        if agent.protocol is not None:
            agent.send(word)


@fault
async def frames_doubled(cluster: SimulatedCluster) -> None:
    agent = one_box(cluster)
    send_all(agent, said(agent) * 2)


@fault
async def frames_reordered(cluster: SimulatedCluster) -> None:
    agent = one_box(cluster)
    send_all(agent, list(reversed(said(agent))))


@fault
async def frames_of_an_older_batch_replayed(cluster: SimulatedCluster) -> None:
    agent = one_box(cluster)
    for batch in agent.said(Batch)[-3:]:
        send_all(agent, [Stored(batch.lane, batch.batch, batch.through, as_text(0))])


@fault
async def an_old_serial_is_observed(cluster: SimulatedCluster) -> None:
    agent = one_box(cluster)
    send_all(agent, [Observed(lane=name, zone=DOMAIN, serial=1) for name in agent.lanes])


@fault
async def frame_truncated(cluster: SimulatedCluster) -> None:
    protocol = one_box(cluster).protocol
    if protocol is not None and protocol.transport is not None:
        frame = encode(Alive())
        protocol.transport.write((len(frame) + 100).to_bytes(4, "big") + frame)
    cut(cluster)


def in_reactor(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    """Run a coroutine function where the boxes live; give its answer."""
    return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(function(*arguments)))


class Machine(RuleBasedStateMachine):
    """What people were told, beside what is there."""

    cluster: ClassVar[SimulatedCluster]
    hit: ClassVar[Counter[str]] = Counter()
    number: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, str] = {}
        self.others = {name for (name,) in self._domains() if name in OTHERS}
        for name in NAMES:
            self._delete(name, "no fault")

    @rule(name=st.sampled_from(NAMES), happens=st.sampled_from(sorted(FAULTS)))
    def set_record(self, name: str, happens: str) -> None:
        self._set(name, happens)

    @rule(name=st.sampled_from(NAMES), happens=st.sampled_from(sorted(FAULTS)))
    def undo_what_set_a_record(self, name: str, happens: str) -> None:
        before = self.records.get(name)
        done = self._set(name, "no fault")
        self._is_live(self._write(happens, None, "change.undo", id=done.change))
        if before is None:
            del self.records[name]
        else:
            self.records[name] = before

    @rule(name=st.sampled_from(OTHERS), happens=st.sampled_from(sorted(FAULTS)))
    def host_or_take_away_a_domain(self, name: str, happens: str) -> None:
        if name in self.others:
            done = self._write(happens, None, "domain.delete", name=name)
            self.others.remove(name)
        else:
            done = self._write(happens, None, "domain.add", name=name, account="acme")
            self.others.add(name)
        self._is_live(done)

    @rule(name=st.sampled_from(NAMES), point=st.sampled_from(REACHED))
    def set_record_and_crash(self, name: str, point: str) -> None:
        value = self._fresh()
        fields = {"domain": DOMAIN, "name": name, "type": "A", "values": [value]}
        done = self._write("", point, "record.set", **fields)
        self.records[name] = value
        self._is_live(done)

    # What is drawn depends on nothing that happened: else a run could not be had again.
    @rule(name=st.sampled_from(NAMES), happens=st.sampled_from(sorted(FAULTS)))
    def delete_record(self, name: str, happens: str) -> None:
        self._delete(name, happens)

    @rule(name=st.sampled_from(NAMES))
    def ask_for_what_is_refused(self, name: str) -> None:
        Machine.hit["command refused"] += 1
        before = self.cluster.rows("SELECT count(*) FROM change")
        fields = {"domain": DOMAIN, "name": name, "type": "A", "values": ["999.1.1.1"]}
        with pytest.raises(RefusedError):
            self._write("no fault", None, "record.set", **fields)
        assert self.cluster.rows("SELECT count(*) FROM change") == before

    @rule(name=st.sampled_from(NAMES))
    def plan_only(self, name: str) -> None:
        Machine.hit["dry run"] += 1
        before = self.cluster.rows("SELECT count(*) FROM change")
        fields = {"domain": DOMAIN, "name": name, "type": "A", "values": ["192.0.2.200"]}
        written = self.cluster.client.write("record.set", fields, dry_run=True)
        assert written.change is None
        assert self.cluster.rows("SELECT count(*) FROM change") == before

    @invariant()
    def nothing_is_lost_nor_twice(self) -> None:
        in_reactor(self.cluster.settled)
        self.cluster.assert_nothing_lost_nor_twice()
        found = self.cluster.rows(
            """SELECT r.name, r.data FROM record r JOIN zone z ON z.id = r.zone_id
               WHERE z.name = %s AND r.name = ANY(%s)""",
            (DOMAIN, list(NAMES)),
        )
        assert sorted(found) == sorted(self.records.items())
        assert {name for (name,) in self._domains()} == {DOMAIN, *self.others}

    # --- inside ---

    def _domains(self) -> list[tuple[Any, ...]]:
        return self.cluster.rows("SELECT name FROM domain")

    def _set(self, name: str, happens: str) -> Written:
        value = self._fresh()
        fields = {"domain": DOMAIN, "name": name, "type": "A", "values": [value]}
        done = self._write(happens, None, "record.set", **fields)
        self.records[name] = value
        self._is_live(done)
        return done

    def _fresh(self) -> str:
        Machine.number += 1
        return f"10.{Machine.number >> 16 & 255}.{Machine.number >> 8 & 255}.{Machine.number & 255}"

    def _delete(self, name: str, happens: str) -> None:
        known = self.cluster.rows(
            """SELECT 1 FROM record r JOIN zone z ON z.id = r.zone_id
               WHERE z.name = %s AND r.name = %s""",
            (DOMAIN, name),
        )
        if known:
            fields = {"domain": DOMAIN, "name": name}
            self._is_live(self._write(happens, None, "record.delete", **fields))
        self.records.pop(name, None)

    def _write(self, happens: str, point: str | None, command: str, **fields: Any) -> Written:
        return in_reactor(self._ask, happens, point, command, fields)

    async def _ask(
        self, happens: str, point: str | None, command: str, fields: dict[str, Any]
    ) -> Written:
        """Ask a command, have something happen meanwhile; give its answer."""
        Machine.hit[f"killed at {point}" if point else happens] += 1
        if point:
            self.cluster.order.write_text(point)
        asked = Deferred.fromCoroutine(self.cluster.command(command, **fields))
        if point:
            assert await self.cluster.until_dead() == -9
            await self.cluster.start()
        else:
            await FAULTS[happens](self.cluster)
        return await asked

    def _is_live(self, written: Written) -> None:
        """Follow a change until it is said to be live; see that it is so."""
        in_reactor(self._followed, written)

    async def _followed(self, written: Written) -> None:
        assert written.change is not None
        client = self.cluster.client
        while True:
            state = await deferToThread(
                client.read, "change.show", {"id": written.change, "wait": "1.000"}
            )
            if state["state"] == "done":
                break
            assert state["state"] != "failed", state
        desired = self.cluster.rows(
            """SELECT o.logical_server_id::text, o.kind, o.key, o.revision FROM change_object o
               WHERE o.change_id = %s""",
            (written.change,),
        )
        for server, kind, key, revision in desired:
            for box in self.cluster.boxes.values():
                if server in box.agent.lanes and self.cluster.is_lane_of(box.name, server):
                    held = box.agent.lanes[server].objects.get((kind, key))
                    assert held is not None, (box.name, key)
                    assert held.revision >= revision


@pytest_twisted.async_yield_fixture(scope="module")
async def made(own_postgres: EmbeddedPostgres) -> AsyncIterator[SimulatedCluster]:
    async with simulated_cluster(own_postgres) as cluster:
        yield cluster


@pytest.mark.timeout(0 if LONG else 200)
@pytest_twisted.ensureDeferred
async def test_random_commands_and_faults_keep_what_must_be_true(made: SimulatedCluster) -> None:
    again = "script/soak --seed {seed}"
    if not LONG:
        again = "HS_SOAK_SEED={seed} script/test tests/faults/test_random_faults.py"
    first = SEED or random.randrange(1, 2**31)
    long_form = settings(max_examples=8, stateful_step_count=25)
    bounded = settings(max_examples=3, stateful_step_count=6)
    chosen = settings(
        long_form if LONG else bounded,
        phases=(Phase.generate,),
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    Machine.cluster = made
    made.switch_on()
    until = time.monotonic() + MINUTES * 60
    run = 0
    try:
        while run == 0 or time.monotonic() < until:
            print(again.format(seed=first + run), flush=True)
            # In a thread of its own: what it does blocks, and the boxes go on meanwhile.
            await deferToThread(
                run_state_machine_as_test, seed(first + run)(Machine), settings=chosen
            )
            run += 1
    finally:
        for name, times in sorted(Machine.hit.items()):
            print(f"{times:6} {name}")
        await made.switch_off()
