"""A box whose owner allows less than the controller asks for: refused there, said, and harmless."""

from collections.abc import Iterator

import pytest

from tests.faults.cluster_under_fault import Broken, broken_cluster
from tests.local_cluster import eventually, fetch

pytestmark = pytest.mark.timeout(300)

ZONE = "granted.test"


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as made:
        made.cluster.good("account", "add", "acme")
        made.cluster.good("domain", "add", ZONE, "--account", "acme")
        yield made


@pytest.fixture
def granted(broken: Broken) -> Iterator[Broken]:
    """The box's grants are put back after the test."""
    assert broken.settled(), broken.status()["lanes"]
    former = broken.grants("web1").read_text()
    yield broken
    grant(broken, former)
    assert eventually(lambda: broken.lane("web1")["condition"] == "ok")


def grant(broken: Broken, text: str) -> None:
    """Write the box's grants and start its agent anew."""
    broken.grants("web1").write_text(text)
    broken.restart_agent("web1")


def serves(broken: Broken, name: str) -> bool:
    try:
        return fetch(broken.cluster.places()["web1"], name)[0] == 200
    except OSError:
        return False


def test_a_type_that_is_not_granted_is_held_and_said(granted: Broken) -> None:
    former = granted.grants("web1").read_text()
    grant(granted, f'service_types = ["bind"]\n{former}')
    assert granted.lane_is("web1", "held"), granted.lane("web1")
    assert "service_types of grants.toml" in granted.lane("web1")["message"]
    ran = granted.cluster.hsctl("domain", "add", "held.test", "--account", "acme")
    assert ran.code == 3, ran
    assert "not granted" in ran.out + ran.err
    # Nothing is taken away: what was served goes on being served.
    assert serves(granted, ZONE)
    assert not serves(granted, "held.test")
    grant(granted, former)
    assert eventually(lambda: serves(granted, "held.test"))


def test_a_directory_that_is_not_granted_reaches_no_configuration(granted: Broken) -> None:
    server = granted.lane("web1")["logical_server"]
    ran = granted.cluster.hsctl("lserver", "set", server, "home_root=/etc")
    assert ran.code == 4, ran
    (fault,) = granted.faults()
    assert "the directory /etc" in fault["message"], fault
    assert "directories of grants.toml" in fault["message"], fault
    granted.cluster.good("domain", "add", "beside.test", "--account", "acme")
    assert serves(granted, ZONE)
    assert serves(granted, "beside.test")
    granted.cluster.good("lserver", "set", server, "home_root=/home/customers")
    assert granted.faults() == []


def test_what_was_refused_is_let_go_by_a_retry_once_it_is_granted(granted: Broken) -> None:
    """`hsctl fault retry` releases from quarantine, without another version of the object."""
    server = granted.lane("web1")["logical_server"]
    former = granted.grants("web1").read_text()
    assert granted.cluster.hsctl("lserver", "set", server, "home_root=/etc").code == 4
    grant(granted, former.replace('"/home"', '"/home", "/etc"'))
    assert [fault["state"] for fault in granted.faults()] == ["quarantined"], "nobody asked yet"
    granted.cluster.good("fault", "retry", server)
    assert eventually(lambda: granted.faults() == [])
    assert serves(granted, ZONE)
    granted.cluster.good("lserver", "set", server, "home_root=/home/customers")
