from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from node_agent.agent import Agent, Credentials, Host
from node_agent.box.memory import MemoryBox, World
from node_agent.concurrency import inline
from node_agent.config import ControllerAddress
from node_agent.connection import Dialler, dial_address
from node_agent.effects.failures import BlockedError
from node_agent.identity import load_identity
from node_agent.journal import Journal
from node_agent.wire.messages import (
    Adopt,
    Answer,
    Hello,
    Inventory,
    InventoryRequest,
    LaneAssignment,
    LaneState,
    Monitor,
    Observe,
    Observed,
    Outcomes,
    Question,
    Retry,
    Sample,
    Stored,
    SystemReport,
    SystemRequest,
)
from node_agent.wire.questions import AskServices, Declined
from pki.contexts import MutualTLS
from tests.scripted_controller import ScriptedController
from tests.unit.node_agent.bench_of_one import LANE, page, server, zone
from tests.unit.node_agent.toy_service import TOY, toy_check, toy_starts


class Running:
    """An agent with a box in memory, dialling a scripted controller over real TLS."""

    def __init__(self, controller: ScriptedController, state: Path) -> None:
        self.controller = controller
        self.world = World(check=toy_check, starts=toy_starts)
        self.box = MemoryBox(self.world)
        self.journal = Journal(state / "journal.sqlite")
        identity = load_identity(state)
        self.tls = MutualTLS(identity.certificate, identity.key, identity.ca)
        self.credentials = Credentials(state, identity, self.tls.swap)
        self.agent = Agent(
            host=Host("machine", "boot"),
            box=self.box,
            journal=self.journal,
            blocking=inline,
            aside=inline,
            clock=reactor,
            time=lambda: 0.0,
            service_types={"toy": TOY},
            renderer=lambda service_type: "digest",
            credentials=self.credentials,
        )
        self.dialler = Dialler(
            reactor,
            [ControllerAddress("127.0.0.1", controller.port)],
            dial_address(reactor, self.tls),
            self.agent,
        )

    async def start(self) -> None:
        await self.agent.start()
        self.dialler.start()

    async def stop(self) -> None:
        await self.dialler.stop()
        await self.agent.stop()
        self.journal.close()


@pytest_twisted.async_yield_fixture
async def controller(tmp_path: Path) -> AsyncIterator[ScriptedController]:
    made = ScriptedController(tmp_path, (LaneAssignment(LANE, "toy1", "toy"),))
    await made.listen()
    yield made
    await made.close()


@pytest_twisted.async_yield_fixture
async def running(controller: ScriptedController, tmp_path: Path) -> AsyncIterator[Running]:
    controller.enrol(tmp_path / "state")
    agent = Running(controller, tmp_path / "state")
    await agent.start()
    yield agent
    await agent.stop()


@pytest_twisted.ensureDeferred
async def test_a_batch_is_stored_first_and_live_after(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, server(1), zone("a.test", 2, serial=9))
    await controller.until(lambda: controller.settled(LANE) == 2)
    kinds = [type(m).__name__ for m in controller.messages]
    assert kinds[0] == "Hello"
    assert kinds.index("Stored") < len(kinds) - 1
    assert running.box.lanes[LANE].serials == {"a.test": 9}
    (stored,) = controller.said(Stored)
    assert stored.stored_revision == 2
    assert stored.object_hash == running.journal.lanes.get(LANE).object_hash


@pytest_twisted.ensureDeferred
async def test_exceptions_are_told_again_on_the_next_session(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, server(1), zone("a.test", 2, refuse="no"))
    await controller.until(lambda: controller.settled(LANE) == 2)
    controller.messages.clear()
    assert controller.session is not None
    controller.session.lose("the line is cut")
    await controller.until(lambda: controller.said(Outcomes))
    (hello,) = controller.said(Hello)
    (report,) = hello.lanes
    assert (report.stored_revision, report.settled_revision) == (2, 2)
    (outcomes,) = controller.said(Outcomes)[:1]
    assert [(o.key, o.outcome, o.message) for o in outcomes.outcomes] == [
        ("a.test", "quarantined", "no")
    ]


@pytest.mark.parametrize(("protocol", "word"), [(2, "daemon-down"), (3, "blocked")])
@pytest_twisted.ensureDeferred
async def test_a_lane_is_called_blocked_where_the_controller_knows_the_word(
    controller: ScriptedController, running: Running, protocol: int, word: str
) -> None:
    async def refuse() -> None:
        raise BlockedError("a file that somebody broke")

    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, server(1))
    await controller.until(lambda: controller.settled(LANE) == 1)
    running.box.lanes[LANE].reload = refuse  # type: ignore[method-assign]
    controller.send_batch(LANE, page("a.test", 2))
    await controller.until(lambda: controller.said(LaneState)[-1].message)
    controller.protocol = protocol
    controller.messages.clear()
    assert controller.session is not None
    controller.session.lose("a controller of another protocol")
    await controller.until(lambda: controller.said(LaneState))
    assert controller.said(Hello)[0].lanes[0].condition == "behind"
    assert [told.condition for told in controller.said(LaneState)] == [word]
    assert controller.said(LaneState)[0].message == "a file that somebody broke"


@pytest_twisted.ensureDeferred
async def test_a_batch_of_another_history_makes_the_lane_ahead_until_it_is_adopted(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, server(1), zone("a.test", 9, serial=9))
    await controller.until(lambda: controller.settled(LANE) == 9)
    controller.history = "restored"
    controller.send_batch(LANE, zone("a.test", 2, serial=2))
    await controller.until(lambda: any(m.condition == "ahead" for m in controller.said(LaneState)))
    assert running.box.lanes[LANE].serials == {"a.test": 9}
    assert running.journal.lanes.get(LANE).stored_revision == 9
    controller.send(Adopt(lane=LANE, history="restored", overwrite=True))
    controller.send_batch(LANE, zone("a.test", 2, serial=10))
    await controller.until(lambda: controller.said(Stored)[-1].stored_revision == 2)
    await controller.until(lambda: controller.settled(LANE) == 2)
    assert running.box.lanes[LANE].serials == {"a.test": 10}


@pytest_twisted.ensureDeferred
async def test_inventory_system_report_and_retry_are_answered(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    running.world.refuses = lambda e: "no!" if getattr(e, "zone", "") == "a.test" else ""
    controller.send_batch(LANE, server(1), zone("a.test", 2))
    await controller.until(lambda: controller.settled(LANE) == 2)
    controller.send(InventoryRequest(lane=LANE))
    await controller.until(lambda: controller.said(Inventory))
    assert controller.said(Inventory)[0].items == (("server", "", 1), ("zone", "a.test", 2))
    before = len(controller.said(SystemReport))
    controller.send(SystemRequest())
    await controller.until(lambda: len(controller.said(SystemReport)) > before)
    facts = controller.said(SystemReport)[-1].facts
    assert {"os", "kernel", "memory", "disks", "interfaces", "services"} <= set(facts)
    running.world.refuses = lambda e: ""
    controller.send(Retry(lane=LANE, kind="zone", key="a.test"))
    await controller.until(
        lambda: any(
            o.key == "a.test" and o.outcome == "applied"
            for m in controller.said(Outcomes)
            for o in m.outcomes
        )
    )


@pytest_twisted.ensureDeferred
async def test_a_secondary_is_watched_until_it_answers_the_serial(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    controller.send_batch(LANE, server(1), zone("a.test", 2, serial=4))
    await controller.until(lambda: controller.settled(LANE) == 2)
    controller.send(Observe(lane=LANE, zone="a.test", serial=4))
    await controller.until(lambda: controller.said(Observed))
    assert controller.said(Observed)[0].serial == 4


@pytest_twisted.ensureDeferred
async def test_the_certificate_renews_itself_over_the_session(
    controller: ScriptedController, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    controller.enrol(state, days=1)
    agent = Running(controller, state)
    former = agent.credentials.identity
    assert not former.renewal_due(datetime.now(UTC))
    assert former.renewal_due(datetime.now(UTC) + timedelta(hours=17))
    agent.credentials.identity = type(former)(
        _aged(controller), former.key, former.ca
    )  # only its dates are asked
    await agent.start()
    try:
        await controller.until(lambda: controller.said(Outcomes))
        while agent.credentials.identity.key == former.key:
            controller.send(SystemRequest())
            count = len(controller.said(SystemReport))
            await controller.until(lambda count=count: len(controller.said(SystemReport)) > count)
        assert load_identity(state).key == agent.credentials.identity.key
    finally:
        await agent.stop()


def _aged(controller: ScriptedController) -> bytes:
    """A certificate that is nearly at its end."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=80))
        .not_valid_after(now + timedelta(days=10))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest_twisted.ensureDeferred
async def test_r250_samples_are_sent_when_they_are_asked_for_and_no_more_when_not(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    assert controller.said(Sample) == []
    controller.send(Monitor(every=1.0))
    await controller.until(lambda: len(controller.said(Sample)) >= 2)
    controller.send(Monitor(every=0.0))
    controller.send(SystemRequest())
    reports = len(controller.said(SystemReport))
    await controller.until(lambda: len(controller.said(SystemReport)) > reports)
    assert not {"sample", "report"} & running.agent._calls.keys()


@pytest_twisted.ensureDeferred
async def test_a_box_that_answers_no_questions_says_so(
    controller: ScriptedController, running: Running
) -> None:
    await controller.until(lambda: controller.said(Outcomes))
    controller.send(Question(id=3, seconds=5.0, ask=AskServices()))
    await controller.until(lambda: controller.said(Answer))
    (answer,) = controller.said(Answer)
    assert answer.id == 3
    assert isinstance(answer.found, Declined)
