"""The order in which a server is renumbered."""

import pytest

from controller.hosting.address_phases import Phase, next_phase, with_server_address
from controller.projection.zones import RecordRow


def course(phase: Phase, *, stopped: bool = False, announces: bool = True) -> list[Phase]:
    found: list[Phase] = [phase]
    while found[-1] != "ended":
        found.append(next_phase(found[-1], stopped=stopped, announces=announces))
    return found


def test_peers_know_both_addresses_before_the_switch() -> None:
    assert course("begun") == [
        "begun",
        "listening",
        "announced",
        "switched",
        "following",
        "outlasting",
        "retiring",
        "ended",
    ]


def test_a_server_without_peers_has_nobody_to_tell() -> None:
    assert "announced" not in course("begun", announces=False)


@pytest.mark.parametrize("phase", ["begun", "listening", "announced"])
@pytest.mark.parametrize("announces", [True, False])
def test_one_that_is_given_up_never_switches(phase: Phase, announces: bool) -> None:
    passed = course(phase, stopped=True, announces=announces)
    assert not {"switched", "outlasting"} & set(passed)
    assert passed[-2:] == ["retiring", "ended"]
    assert ("following" in passed) == (announces and phase != "begun")


def test_only_the_servers_own_generated_address_follows() -> None:
    own = RecordRow("ns1", "A", "192.0.2.1", 3600, True)
    others = (
        RecordRow("ns1", "A", "192.0.2.1", 3600, False),
        RecordRow("ns1", "A", "192.0.2.7", 3600, True),
        RecordRow("www", "A", "192.0.2.1", 3600, True),
    )
    changed = with_server_address(
        "a.test", (own, *others), "ns1.a.test", "192.0.2.1", "192.0.2.101"
    )
    assert changed == (RecordRow("ns1", "A", "192.0.2.101", 3600, True), *others)
