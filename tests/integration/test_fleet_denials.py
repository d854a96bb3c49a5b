"""What a revocation waits for: nobody. The deny-list's file is written beside it."""

import fcntl
import os

import pytest
import pytest_twisted
from twisted.internet import reactor

from node_agent.wire.messages import Welcome
from pki import revocation
from pki.revocation import DenyList
from tests.conftest import LoggedErrors
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster  # noqa: F401


def held_lock(cluster: FleetCluster) -> int:
    """Hold the lock of the deny-list as another process does."""
    path = cluster.deny_list.path
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@pytest_twisted.ensureDeferred
async def test_a_revocation_counts_at_once_though_the_list_is_locked(
    cluster: FleetCluster,
) -> None:
    box, agent = await cluster.add_box()
    agent.tls, serial = cluster.certificate(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    lock = held_lock(cluster)
    try:
        cluster.fleet.revoke([serial])
        assert serial not in DenyList.load(cluster.deny_list.path)
        await agent.until_ended()
        agent.messages.clear()
        await agent.connect(reactor, cluster.agent_port)
        await agent.until_ended()
        assert not agent.said(Welcome)
    finally:
        os.close(lock)
    keeping = cluster.fleet._keeping
    assert keeping is not None
    await keeping
    assert serial in DenyList.load(cluster.deny_list.path)


@pytest_twisted.ensureDeferred
async def test_a_list_that_cannot_be_written_is_told_and_written_later(
    cluster: FleetCluster, monkeypatch: pytest.MonkeyPatch, logged_errors: LoggedErrors
) -> None:
    box, _ = await cluster.add_box()
    _, serial = cluster.certificate(box)
    monkeypatch.setattr(revocation, "LOCK_SECONDS", 0.05)
    lock = held_lock(cluster)
    try:
        cluster.fleet.revoke([serial])
        keeping = cluster.fleet._keeping
        assert keeping is not None
        await keeping
        assert cluster.deny_list.unwritten == {serial}
    finally:
        os.close(lock)
    cluster.fleet._beat()
    keeping = cluster.fleet._keeping
    assert keeping is not None
    await keeping
    assert serial in DenyList.load(cluster.deny_list.path)
