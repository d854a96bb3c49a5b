"""Clocks that are set: of a box, of the controller, of PostgreSQL. None of the machine's own is.

OpenSSL judges certificates by a time that a test gives it; PostgreSQL by a function ``now`` that
stands before its own.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import psycopg2
import pytest
import pytest_twisted
from cryptography import x509
from OpenSSL import SSL
from twisted.internet import reactor

from controller.config import ControllerConfig
from controller.housekeeping import Housekeeping
from controller.identity import Identity, hosts_of, make_authority
from controller.principal import system
from controller.storage import idempotency
from controller.storage.database import Database, Transaction
from node_agent.enrolment import EnrolmentFailedError, check_answer
from node_agent.identity import Renewal, load_identity
from node_agent.wire.enrolment import Enrolled
from node_agent.wire.messages import Hello, LaneAssignment, Welcome
from pki.enrolment import Token
from pki.keys import KeyRefusedError, new_key, signing_request, write_private
from pki.names import Name
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401
from tests.scripted_controller import BOX, CLUSTER, ScriptedController
from tests.unit.node_agent.test_connection import Running

YEAR = timedelta(days=365)
pytestmark = pytest.mark.timeout(60)
STEPS = pytest.mark.parametrize("step", [-YEAR, YEAR], ids=["back", "ahead"])


TEST = system("test")


def now() -> datetime:
    return datetime.now(UTC)


# --- certificates ---


def judges_at(context: SSL.Context, at: datetime) -> None:
    """Have OpenSSL take this for the time in each handshake that begins from now on."""
    library: Any = SSL._lib  # type: ignore[attr-defined]
    parameters = library.SSL_CTX_get0_param(context._context)  # type: ignore[attr-defined]
    library.X509_VERIFY_PARAM_set_time(parameters, int(at.timestamp()))


@pytest_twisted.async_yield_fixture
async def scripted(tmp_path: Path) -> AsyncIterator[ScriptedController]:
    made = ScriptedController(tmp_path, (LaneAssignment("lane", "one", "toy"),))
    await made.listen()
    yield made
    await made.close()


@STEPS
@pytest_twisted.ensureDeferred
async def test_a_box_whose_clock_was_set_comes_back_when_it_is_right(
    scripted: ScriptedController, tmp_path: Path, step: timedelta
) -> None:
    """By its clock the controller's certificate is not valid: it says why, and dials on."""
    state = tmp_path / "state"
    scripted.enrol(state)
    agent = Running(scripted, state)
    judges_at(agent.tls._client, now() + step)
    await agent.start()
    try:
        await scripted.until(lambda: len(scripted.ended) >= 2)
        assert not scripted.said(Hello)
        judges_at(agent.tls._client, now())
        await scripted.until(lambda: scripted.said(Hello))
    finally:
        await agent.stop()


@STEPS
@pytest_twisted.ensureDeferred
async def test_a_controller_whose_clock_was_set_lets_all_boxes_in_when_it_is_right(
    cluster: FleetCluster, step: timedelta
) -> None:
    """Who is in stays in; who comes is not let in, and is not shown as connected."""
    _, inside = await cluster.add_box()
    box, outside = await cluster.add_box()
    await inside.connect(reactor, cluster.agent_port)
    await inside.until(lambda: bool(inside.said(Welcome)))
    door: Any = cluster.fleet._agent_tls
    judges_at(door._server, now() + step)
    await outside.connect(reactor, cluster.agent_port)
    await outside.until_ended()
    assert not outside.said(Welcome)
    assert not cluster.fleet.connected(box)
    assert inside.end_reason is None
    judges_at(door._server, now())
    await outside.connect(reactor, cluster.agent_port)
    await outside.until(lambda: bool(outside.said(Welcome)))


@STEPS
def test_a_certificate_renewed_by_a_wrong_clock_is_not_taken(
    tmp_path: Path, step: timedelta
) -> None:
    """With it the box would be let in by nobody, once the clock is right again."""
    scripted = ScriptedController(tmp_path)
    state = tmp_path / "state"
    scripted.enrol(state)
    former = load_identity(state)
    for controller, own in ((step, timedelta()), (timedelta(), step)):
        authority = attrs.evolve(scripted.authority, now=lambda shift=controller: now() + shift)
        renewal = Renewal(state)
        issued = authority.issue(renewal.request, Name(CLUSTER, "box", BOX))
        with pytest.raises(KeyRefusedError, match="the clock of the controller or of this box"):
            renewal.accept(issued.certificate_pem, former.ca, now() + own)
        assert load_identity(state) == former


@STEPS
def test_a_certificate_issued_by_a_wrong_clock_does_not_enrol(
    tmp_path: Path, step: timedelta
) -> None:
    authority = ScriptedController(tmp_path).authority
    wrong = attrs.evolve(authority, now=lambda: now() + step)
    for issuer, good in ((wrong, False), (authority, True)):
        issued = issuer.issue(signing_request(new_key()), Name(CLUSTER, "box", BOX))
        ca = authority.certificate_pem
        enrolled = Enrolled(
            certificate=issued.certificate_pem + ca, ca=ca, agent_port=1, cluster=CLUSTER
        )
        token = Token.new(BOX, authority.fingerprint)
        if good:
            check_answer(enrolled, token)
            continue
        with pytest.raises(EnrolmentFailedError, match="set the clock right"):
            check_answer(enrolled, token)


def test_a_controller_that_renewed_itself_by_a_wrong_clock_does_so_again(tmp_path: Path) -> None:
    """Its certificate begins a year later: no box would let it speak until then."""
    config = ControllerConfig(state=tmp_path, database="postgresql://nowhere/")
    authority = make_authority(config)
    ahead = attrs.evolve(authority, now=lambda: now() + YEAR)
    key = new_key()
    name = Name(authority.cluster, "controller", "")
    issued = ahead.issue(signing_request(key), name, hosts=hosts_of(config))
    write_private(config.pki / "controller-key.pem", key)
    (config.pki / "controller.pem").write_bytes(issued.certificate_pem)
    Identity.load(config)
    made = x509.load_pem_x509_certificate((config.pki / "controller.pem").read_bytes())
    assert made.not_valid_before_utc < now() < made.not_valid_after_utc
    assert not Identity.load(config).renew_if_due()


# --- PostgreSQL ---


class SteppedPostgres:
    """A database whose ``now()`` is what a test says: a function found before PostgreSQL's own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._run("CREATE SCHEMA clock; GRANT USAGE ON SCHEMA clock TO hs_runtime")
        self.step(timedelta())
        name = url.rpartition("/")[2].partition("?")[0]
        self._run(f'ALTER DATABASE "{name}" SET search_path = clock, pg_catalog, public')

    def step(self, by: timedelta) -> None:
        self._run(
            "CREATE OR REPLACE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql AS"
            f" 'SELECT pg_catalog.now() + make_interval(secs => {by.total_seconds()})'"
        )

    def _run(self, sql: str) -> None:
        connection = psycopg2.connect(self.url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()


@pytest_twisted.async_yield_fixture
async def stepped(database_url: str) -> AsyncIterator[tuple[SteppedPostgres, Database]]:
    postgres = SteppedPostgres(database_url)
    database = await Database.connect(database_url, size=2)
    yield postgres, database
    await database.close()


@STEPS
@pytest_twisted.ensureDeferred
async def test_a_key_is_known_after_a_step_of_the_databases_clock(
    stepped: tuple[SteppedPostgres, Database], step: timedelta
) -> None:
    postgres, database = stepped

    async def ask(tx: Transaction) -> idempotency.Replay | None:
        found = await idempotency.claim(tx, "operator:ann", "key", b"hash")
        if found is None:
            idempotency.record(tx, "operator:ann", "key", change_id=None, response={"done": 1})
        return found

    house = Housekeeping(database, lambda: False)
    await house.keep()
    assert await database.transaction(TEST, ask, name="test.ask") is None
    postgres.step(step)
    await house.keep()
    again = await database.transaction(TEST, ask, name="test.ask")
    assert again is not None
    assert again.response == {"done": 1}


@pytest_twisted.ensureDeferred
async def test_a_key_is_forgotten_once_it_is_old_by_a_clock_that_nobody_sets(
    stepped: tuple[SteppedPostgres, Database],
) -> None:
    postgres, database = stepped
    steady = [0.0]

    async def keys(tx: Transaction) -> int:
        (count,) = await tx.row("SELECT count(*) FROM idempotency")
        return int(count)

    async def use(tx: Transaction) -> None:
        await idempotency.claim(tx, "operator:ann", "key", b"hash")

    house = Housekeeping(database, lambda: False, lambda: steady[0])
    await house.keep()
    await database.transaction(TEST, use, name="test.use")
    for days, left in ((6, 1), (8, 0)):
        steady[0] = timedelta(days=days).total_seconds()
        postgres.step(timedelta(days=days))
        await house.keep()
        assert await database.transaction(TEST, keys, name="test.keys") == left
