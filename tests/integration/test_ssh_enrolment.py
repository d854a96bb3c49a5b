"""Enrolment over SSH, against Debian's sshd and against Conch's: every way it can end.

The same cases run against both; what is tried of the agent is its enrolment and no more.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory

from controller.bootstrap.procedure import Preparation
from controller.bootstrap.runs import SshEnrolments
from controller.bootstrap.ssh import Deadlines
from controller.fleet.enrolment import EnrolmentListener
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandRunner
from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request
from pki.names import Name
from tests.integration.model import NOW, Model
from tests.ssh_servers import PASSWORD, SshServer, can_run_sshd, conch, openssh

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = "11111111-2222-4333-8444-555555555555"
_openssh = pytest.param(
    "openssh",
    marks=pytest.mark.skipif(not can_run_sshd(), reason="no sshd, or no mount namespaces"),
)


@pytest.fixture(scope="module", params=[_openssh, "conch"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SshServer]:
    directory = tmp_path_factory.mktemp("ssh") / "server"
    kinds = {"openssh": openssh, "conch": conch}
    with kinds[request.param](directory) as running:
        yield running


@attrs.define
class Box:
    """What stands for a box: a directory with its program, its certificate and its traces."""

    directory: Path
    model: Model
    runs: SshEnrolments
    server: SshServer
    logged: list[str]

    @property
    def program(self) -> Path:
        return self.directory / "hs-agent"

    @property
    def certificate(self) -> Path:
        return self.directory / "state" / "certificate.pem"

    async def enrol(self, **fields: Any) -> dict[str, Any]:
        """Begin an enrolment and wait for its end."""
        given = {
            "ssh": f"{self.server.login}@127.0.0.1",
            "port": self.server.port,
            "password": PASSWORD,
            "host_key": self.server.fingerprint,
            **fields,
        }
        await self.model.run("pserver.enroll", name="web9", **given)
        return await self.ended()

    async def ended(self) -> dict[str, Any]:
        while True:
            state: dict[str, Any] = await self.model.ask("pserver.enrolment", name="web9")
            if state["state"] != "running":
                return state
            await deferLater(reactor, 0.02, lambda: None)


def steps(state: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["state"] for step in state["steps"]}


@pytest_twisted.async_yield_fixture
async def box(model: Model, server: SshServer, tmp_path: Path) -> AsyncIterator[Box]:
    """A box to be enrolled by the real program at a real enrolment port."""
    directory = tmp_path / "box"
    (directory / "state").mkdir(parents=True)
    (directory / "agent.toml").write_text(f'state = "{directory}/state"\n')
    (directory / "agent.toml").chmod(0o644)
    packaged = directory / "packaged"
    packaged.write_text(
        f"#!/bin/sh\ncd {ROOT}\n"
        f'exec {sys.executable} -m node_agent.main "$@" --config {directory}/agent.toml\n'
    )
    packaged.chmod(0o755)
    authority = Authority.create(tmp_path / "ca", CLUSTER)
    key = new_key()
    issued = authority.issue(signing_request(key), Name(CLUSTER, "controller", ""))
    listener = EnrolmentListener(
        reactor,  # type: ignore[arg-type]
        model.database,
        authority,
        lambda serials: None,
        cluster=CLUSTER,
        agent_port=8444,
    )
    tls = MutualTLS(
        issued.certificate_pem, key, authority.certificate_pem, client_certificate="none"
    )
    wrapped = TLSMemoryBIOFactory(tls, False, listener)
    wrapped.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(wrapped)
    runs = SshEnrolments(
        model.database,
        reactor,
        Preparation(
            program=str(directory / "hs-agent"),
            certificate=str(directory / "state" / "certificate.pem"),
            stop=f"echo stopped >> {directory}/traces",
            start=f"echo started >> {directory}/traces",
        ),
        Deadlines(connect=60, host_key=60, login=60),
    )
    registry = build_registry(
        EnrolmentInfo(
            "127.0.0.1",
            port.getHost().port,
            authority.fingerprint,
            f"cp {packaged} {directory}/hs-agent",
        ),
        lambda: float(NOW),
        fleet=model.fleet,
        secrets=model.secrets,
        ssh=runs,
    )
    ssh_model = attrs.evolve(
        model, registry=registry, runner=CommandRunner(model.database, registry)
    )
    await ssh_model.box("web9", 9, ("web",))
    logged: list[str] = []

    def note(event: LogEvent) -> None:
        logged.append(formatEvent(event))

    globalLogPublisher.addObserver(note)
    yield Box(directory, ssh_model, runs, server, logged)
    globalLogPublisher.removeObserver(note)
    await runs.stop()
    await port.stopListening()
    listener.stop()


@ensureDeferred
async def test_a14_a_box_is_installed_enrolled_and_started_over_ssh(box: Box) -> None:
    ended = await box.enrol()
    assert (ended["state"], ended["message"]) == ("done", "the box is enrolled")
    assert set(steps(ended).values()) == {"done"}
    assert box.certificate.exists()
    assert (box.directory / "state" / "controller").read_text() == "127.0.0.1:8444\n"
    assert (box.directory / "traces").read_text() == "started\n"
    assert await box.model.rows(
        "SELECT count(*) FROM certificate c JOIN box b ON b.id = c.box_id WHERE b.name = 'web9'"
    ) == [(1,)]


@ensureDeferred
async def test_an_unknown_host_key_is_refused_with_its_fingerprint_and_nothing_is_sent(
    box: Box,
) -> None:
    ended = await box.enrol(host_key="")
    assert (ended["state"], ended["reason"]) == ("failed", "host-key-unknown")
    assert ended["host_key"] == box.server.fingerprint
    assert box.server.fingerprint in ended["message"]
    assert steps(ended)["log-in"] == "waiting"
    assert not box.program.exists()
    ended = await box.enrol(host_key=ended["host_key"])
    assert ended["state"] == "done"


@ensureDeferred
async def test_a_host_key_is_pinned_by_the_first_login_and_another_one_refused(box: Box) -> None:
    other = "SHA256:" + "A" * 43
    ended = await box.enrol(host_key=other)
    assert (ended["state"], ended["reason"]) == ("failed", "host-key-changed")
    assert box.server.fingerprint in ended["message"]
    assert await box.model.rows("SELECT ssh_host_key FROM box") == [(None,)]
    assert (await box.enrol())["state"] == "done"
    assert await box.model.rows("SELECT ssh_host_key FROM box") == [(box.server.fingerprint,)]
    ended = await box.enrol(host_key="", anew=True)
    assert ended["state"] == "done"


@ensureDeferred
async def test_a_wrong_password_ends_it_and_it_can_be_tried_again(box: Box) -> None:
    ended = await box.enrol(password="nonsense")
    assert (ended["state"], ended["reason"]) == ("failed", "wrong-password")
    assert steps(ended)["log-in"] == "failed"
    assert not box.program.exists()
    assert (await box.enrol())["state"] == "done"


@ensureDeferred
async def test_a_box_that_is_enrolled_already_stays_so_unless_said(box: Box) -> None:
    await box.enrol()
    first = box.certificate.read_bytes()
    ended = await box.enrol()
    assert (ended["state"], ended["reason"]) == ("failed", "already-enrolled")
    assert box.certificate.read_bytes() == first
    ended = await box.enrol(anew=True)
    assert ended["state"] == "done"
    assert steps(ended)["install"] == "skipped"
    assert box.certificate.read_bytes() != first
    assert (box.directory / "traces").read_text() == "started\nstopped\nstarted\n"


@ensureDeferred
async def test_a_box_that_hangs_is_given_up(box: Box) -> None:
    box.program.write_text("#!/bin/sh\nsleep 15\n")
    box.program.chmod(0o755)
    box.runs._preparation = attrs.evolve(box.runs._preparation, enrol_seconds=0.2)
    ended = await box.enrol()
    assert (ended["state"], ended["reason"]) == ("failed", "timeout")
    assert steps(ended)["enrol"] == "failed"


@ensureDeferred
async def test_the_password_and_the_token_are_written_nowhere(box: Box) -> None:
    asked = await box.model.run(
        "pserver.enroll",
        name="web9",
        ssh="root@127.0.0.1",
        port=box.server.port,
        password=PASSWORD,
        host_key=box.server.fingerprint,
    )
    assert (await box.ended())["state"] == "done"
    tables = await box.model.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    for (table,) in tables:
        for (row,) in await box.model.rows(f"SELECT t::text FROM {table} t"):
            assert PASSWORD not in row, table
    assert PASSWORD not in repr(asked)
    assert not any(PASSWORD in line for line in box.logged)
    assert any("enrolment over SSH ended" in line for line in box.logged)


@ensureDeferred
async def test_what_a_program_on_the_box_says_is_told_and_it_can_be_tried_again(box: Box) -> None:
    box.program.write_text("#!/bin/sh\necho 'no \033[31mroom'\nexit 3\n")
    box.program.chmod(0o755)
    ended = await box.enrol()
    assert (ended["state"], ended["reason"]) == ("failed", "enrol-failed")
    assert "status 3: no \N{REPLACEMENT CHARACTER}[31mroom" in ended["message"]
    box.program.unlink()
    assert (await box.enrol())["state"] == "done"


class Silent(Protocol):
    """Accepts a connection and says nothing."""


@ensureDeferred
async def test_a_server_that_says_nothing_is_given_up(model: Model) -> None:
    factory = Factory.forProtocol(Silent)
    factory.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    runs = SshEnrolments(model.database, reactor, deadlines=Deadlines(host_key=0.2))
    state = await enrolled_at(model, runs, port.getHost().port)
    assert (state["state"], state["reason"]) == ("failed", "timeout")
    assert steps(state)["host-key"] == "failed"
    await port.stopListening()


@ensureDeferred
async def test_a_port_where_nobody_listens_is_said(model: Model) -> None:
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory())
    number = port.getHost().port
    await port.stopListening()
    state = await enrolled_at(model, SshEnrolments(model.database, reactor), number)
    assert (state["state"], state["reason"]) == ("failed", "no-connection")


async def enrolled_at(model: Model, runs: SshEnrolments, port: int) -> dict[str, Any]:
    registry = build_registry(
        EnrolmentInfo("127.0.0.1", 1, "ab" * 32),
        lambda: float(NOW),
        fleet=model.fleet,
        secrets=model.secrets,
        ssh=runs,
    )
    ssh_model = attrs.evolve(
        model, registry=registry, runner=CommandRunner(model.database, registry)
    )
    await ssh_model.box("web9", 9, ("web",))
    box = Box(Path(), ssh_model, runs, SshServer(port, "SHA256:" + "A" * 43), [])
    return await box.enrol()
