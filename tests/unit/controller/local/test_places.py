"""Addresses and ports: each goes to one cluster, and none takes another one's away."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from controller.local import places
from controller.local.claims import Claims
from controller.local.layout import Place
from tests.unit.controller.local.test_directory import plan

TREE = Path(__file__).parents[4]


def in_a_network_of_its_own(program: str) -> str:
    """Run Python where the loopback interface is nobody else's; gives what it printed."""
    new = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "-r", "--net"]
    ended = subprocess.run(
        [*new, "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        cwd=TREE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_two_clusters_never_share_an_address_nor_take_each_others_away() -> None:
    shown = in_a_network_of_its_own("""
from pathlib import Path
from controller.local import places
one, two = places.label(Path("/one")), places.label(Path("/two"))
first = places.claim_block(Path("/one"), 7)
second = places.claim_block(Path("/two"), 7)
assert not set(first) & set(second), (first, second)
places.release_loopback(first, two)
assert places.own_addresses(one) == set(first)
places.claim_loopback(first, one)  # again, as after a kill
try:
    places.claim_loopback([*second, "127.77.99.1"], one)
except places.AddressTakenError as error:
    print(error)
assert places.own_addresses(two) == set(second)
assert "127.77.99.1" not in places.present_addresses()
places.release_loopback(first, one)
places.release_loopback(second, two)
print(sorted(places.present_addresses()))
""")
    assert shown.splitlines() == ["127.77.8.11", "['127.0.0.1']"]


def test_a_taken_port_of_the_controller_moves_and_the_others_stay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        before = plan()
        before = type(before)(
            service_domain="test",
            panel=Place("127.0.0.1", ports[0]),
            agents=Place("127.0.0.1", ports[1]),
            enrolment=before.enrolment,
            boxes=before.boxes,
            loopback=(),
        )
        assert before.panel in places.taken_doors(before)
        with Claims() as claims:
            after = places.with_free_doors(before, claims)
    assert after.panel != before.panel
    assert after.agents == before.agents
    assert len(set(places.doors(after))) == 3
    assert after.boxes == before.boxes


def test_what_one_cluster_claims_is_given_to_no_other_until_it_ends() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Claims() as ours, Claims() as others:
        chosen = places.Chooser(ours).choose("127.0.0.1", [port])
        assert places.Chooser(ours).choose("127.0.0.1", [port]) == chosen
        with pytest.raises(places.NoPlaceError):
            places.Chooser(others).choose("127.0.0.1", [port])
        assert places.Chooser(others).choose("127.0.0.2", [port]) == Place("127.0.0.2", port)
    with Claims() as later:
        assert places.Chooser(later).choose("127.0.0.1", [port]) == chosen


def test_what_another_program_has_is_not_claimed() -> None:
    with Claims() as ours, Claims() as others:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(places.NoPlaceError):
                places.Chooser(ours).choose("127.0.0.1", [port])
        assert places.Chooser(others).choose("127.0.0.1", [port]).port == port


def test_where_the_machine_gives_no_names_nothing_is_kept_and_all_goes_on() -> None:
    refused = Place("a" * 200, 1)
    with Claims() as ours, Claims() as others:
        assert ours.claim(refused)
        assert others.claim(refused)
        ours.give_up(refused)


def test_the_banner_says_which_ports_were_taken() -> None:
    (note,) = (note for note in places.moved(plan()) if note.startswith("the panel uses port 1 "))
    assert note.endswith("instead of 8443")


def test_no_free_port_is_said_with_what_was_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            Claims() as claims,
            pytest.raises(places.NoPlaceError, match=f"among {port} to {port}"),
        ):
            places.Chooser(claims).choose("127.0.0.1", [port])
