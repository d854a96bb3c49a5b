"""Who may have a session, one at a time, and what of an ended one still counts."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controller.fleet.words import ConditionWord, Said
from node_agent.wire.messages import (
    PROTOCOL_MAX,
    Alive,
    Assign,
    Batch,
    LaneState,
    Refused,
    RenewalRequest,
    Renewed,
    SystemReport,
    Welcome,
)
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request
from pki.policy import name_in
from pki.revocation import DenyListError
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401


@pytest_twisted.ensureDeferred
async def test_a_box_that_is_not_in_the_model_is_refused(cluster: FleetCluster) -> None:
    agent = cluster.agent("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee")
    await agent.connect(reactor, cluster.agent_port)
    await agent.until_ended()
    assert [refused.reason for refused in agent.said(Refused)] == ["unknown-box"]


@pytest_twisted.ensureDeferred
async def test_a_protocol_that_is_not_spoken_here_is_refused(cluster: FleetCluster) -> None:
    _, agent = await cluster.add_box()
    agent.protocol_min = agent.protocol_max = PROTOCOL_MAX + 1
    await agent.connect(reactor, cluster.agent_port)
    await agent.until_ended()
    assert [refused.reason for refused in agent.said(Refused)] == ["protocol"]


@pytest_twisted.ensureDeferred
async def test_the_same_machine_replaces_its_old_session(cluster: FleetCluster) -> None:
    box, old = await cluster.add_box()
    new = cluster.agent(box)
    await old.connect(reactor, cluster.agent_port)
    await old.until(lambda: bool(old.said(Welcome)))
    await new.connect(reactor, cluster.agent_port)
    await new.until(lambda: bool(new.said(Welcome)))
    await old.until_ended()
    assert new.said(Welcome)[0].session_epoch == 2
    assert cluster.fleet.connected(box)


@pytest_twisted.ensureDeferred
async def test_another_machine_with_the_same_identity_is_refused(cluster: FleetCluster) -> None:
    box, first = await cluster.add_box()
    second = cluster.agent(box, machine_id="machine-2")
    await first.connect(reactor, cluster.agent_port)
    await first.until(lambda: bool(first.said(Welcome)))
    await second.connect(reactor, cluster.agent_port)
    await second.until_ended()
    assert [refused.reason for refused in second.said(Refused)] == ["duplicate-identity"]
    assert first.end_reason is None
    assert cluster.fleet.refused(box) == "duplicate-identity"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("own", "of_the_copy"), [("boot", "boot-of-the-copy"), ("boot/a", "boot/b"), ("/a", "/b")]
)
async def test_a_machine_copied_whole_does_not_chase_the_other_one(
    cluster: FleetCluster, own: str, of_the_copy: str
) -> None:
    """Both have the id and the certificate; each has booted by itself, or at least its agent has:
    containers have the boot of the kernel that they share."""
    box, first = await cluster.add_box()
    first.boot_id = own
    copy = cluster.agent(box, boot_id=of_the_copy)
    await first.connect(reactor, cluster.agent_port)
    await first.until(lambda: bool(first.said(Welcome)))
    await copy.connect(reactor, cluster.agent_port)
    await copy.until(lambda: bool(copy.said(Welcome)))
    await first.until_ended()
    first.messages.clear()
    for _ in range(2):
        await first.connect(reactor, cluster.agent_port)
        await first.until(lambda: bool(first.end_reason or first.said(Welcome)))
    assert [told.reason for told in first.said(Refused)] == ["duplicate-identity"] * 2
    assert min(told.retry_after for told in first.said(Refused)) >= 60.0
    assert copy.end_reason is None
    assert cluster.fleet.refused(box) == "duplicate-identity"
    # Once the copy is switched off, the box is the first machine's again.
    await copy.leave()
    await cluster.until("SELECT NOT connected FROM box WHERE id = %s", (box,))
    first.messages.clear()
    await first.connect(reactor, cluster.agent_port)
    await first.until(lambda: bool(first.said(Welcome)))


@pytest_twisted.ensureDeferred
async def test_an_agent_that_began_anew_takes_its_box_back_and_keeps_what_it_told(
    cluster: FleetCluster,
) -> None:
    """A new life of the agent is no new boot: what was live before it was settled is live still."""
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    agent.boot_id = "boot/a"
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    await cluster.run(
        "INSERT INTO applied_early (box_id, logical_server_id, kind, key, revision)"
        " VALUES (%s, %s, 'zone', 'a.test', 9)",
        (box, server),
    )
    counts = []
    for boot in ("boot/b", "boot/c", "other/d"):
        agent = cluster.agent(box, boot_id=boot)
        await agent.connect(reactor, cluster.agent_port)
        await agent.until(lambda agent=agent: bool(agent.said(Welcome)))
        counts += await cluster.rows("SELECT count(*) FROM applied_early")
    assert counts == [(1,), (1,), (0,)]
    assert await cluster.rows("SELECT boot_id FROM box") == [("other",)]
    assert cluster.fleet.refused(box) == ""


@pytest_twisted.ensureDeferred
async def test_a_machine_that_booted_anew_takes_its_box_back(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    for boot in ("boot", "second", "third"):
        agent = cluster.agent(box, boot_id=boot)
        await agent.connect(reactor, cluster.agent_port)
        await agent.until(lambda agent=agent: bool(agent.said(Welcome)))
    assert cluster.fleet.refused(box) == ""


@pytest_twisted.ensureDeferred
async def test_what_an_older_session_still_says_is_not_written(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    await cluster.run("UPDATE box SET session_epoch = 7")  # another controller took the box
    agent.send(LaneState(lane=server, condition="disk-full"))
    stale: list[str] = []
    word = ConditionWord("disk-full", "")
    cluster.fleet._writer.say(
        Said((box, server), "box", 1, word, lambda: None, lambda: stale.append("stale"))
    )
    await cluster.fleet._writer.drained()
    assert stale == ["stale"]
    assert await cluster.rows("SELECT condition FROM lane") == [("new",)]
    assert await cluster.rows("SELECT count(*) FROM lane WHERE condition = 'disk-full'") == [(0,)]
    await cluster.change(server, {"a.test": b"1"})
    await cluster.fleet._dispatcher.rescan()
    assert not agent.said(Batch)


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_session_is_shown(cluster: FleetCluster) -> None:
    _box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    await agent.leave()
    await cluster.until("SELECT NOT connected FROM box")


@pytest_twisted.ensureDeferred
async def test_a_condition_of_a_lane_is_shown_with_its_words(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    agent.send(LaneState(lane=server, condition="daemon-down", message="named is dead"))
    await cluster.until("SELECT (condition, message) = ('daemon-down', 'named is dead') FROM lane")


@pytest_twisted.ensureDeferred
async def test_a_report_of_the_system_is_kept(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    assert cluster.fleet.request_facts(box)
    agent.send(SystemReport(sampled_at=1.0, facts={"load": [0.5], "kernel": "6.1\0"}))
    await cluster.until("SELECT facts IS NOT NULL FROM box")
    assert await cluster.rows("SELECT facts FROM box") == [({"load": [0.5], "kernel": "6.1�"},)]


@pytest_twisted.ensureDeferred
async def test_a_certificate_is_renewed_over_the_session(cluster: FleetCluster) -> None:
    _box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    key = new_key()
    agent.send(RenewalRequest(csr=signing_request(key)))
    await agent.until(lambda: bool(agent.said(Renewed)))
    (renewed,) = agent.said(Renewed)
    assert name_in(renewed.certificate) == agent.tls.name
    assert await cluster.rows("SELECT count(*) FROM certificate") == [(1,)]
    await agent.leave()
    agent.tls = MutualTLS(renewed.certificate, key, cluster.authority.certificate_pem)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: len(agent.said(Welcome)) == 2)


@pytest_twisted.ensureDeferred
async def test_a_session_goes_on_over_a_heartbeat(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    session = cluster.fleet.sessions.get(box)
    assert session is not None
    heard: list[object] = []
    agent.heard = heard.append
    session.said -= session.interval
    cluster.fleet._beat()
    await agent.until(lambda: any(isinstance(message, Alive) for message in heard))


@pytest_twisted.ensureDeferred
async def test_a_deny_list_that_cannot_be_read_silences_no_box(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    session = cluster.fleet.sessions.get(box)
    assert session is not None
    heard: list[object] = []
    agent.heard = heard.append
    session.said -= session.interval
    cluster.deny_list.path.write_text("no list of ours")
    with pytest.raises(DenyListError):
        cluster.fleet._beat()
    await agent.until(lambda: any(isinstance(message, Alive) for message in heard))


@pytest_twisted.ensureDeferred
async def test_a_job_that_fails_runs_again(cluster: FleetCluster) -> None:
    done: Deferred[None] = Deferred()
    failures = [OSError("no more open files")]

    def work() -> None:
        if failures:
            raise failures.pop()
        if not done.called:
            done.callback(None)

    cluster.fleet._every(0.01, work)
    await done


@pytest_twisted.ensureDeferred
async def test_silence_ends_a_session(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    session = cluster.fleet.sessions.get(box)
    assert session is not None
    session.heard -= session.interval * 4
    cluster.fleet._beat()
    await agent.until_ended()


@pytest_twisted.ensureDeferred
async def test_a_box_left_connected_by_a_dead_controller_is_so_no_more_after_the_grace(
    cluster: FleetCluster,
) -> None:
    await cluster.add_box()
    await cluster.run("UPDATE box SET connected = true, last_seen_at = now() - interval '1 hour'")
    await cluster.fleet._presence.save()
    assert await cluster.rows("SELECT connected FROM box") == [(True,)]
    cluster.fleet._presence._started -= 1000
    await cluster.fleet._presence.save()
    assert await cluster.rows("SELECT connected FROM box") == [(False,)]


@pytest_twisted.ensureDeferred
async def test_a_lane_given_to_a_connected_box_is_worked_at_once(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    server = await cluster.add_server(box)
    await cluster.change(server, {"a.test": b"1"})
    await cluster.until_settled(server)
    assert [len(assign.lanes) for assign in agent.said(Assign)] == [0, 1]


@pytest_twisted.ensureDeferred
async def test_a_lane_taken_from_a_connected_box_is_worked_no_more(cluster: FleetCluster) -> None:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    await cluster.run("DELETE FROM lane")
    await cluster.fleet._rescan()
    await agent.until(lambda: len(agent.said(Assign)) == 2)
    agent.send(LaneState(lane=server, condition="ok"))  # said before the box heard of it
    await cluster.change(server, {"a.test": b"1"})
    await cluster.fleet._rescan()
    assert agent.end_reason is None
    assert not agent.said(Batch)
