"""The policies of placement: whom the next new site or zone may go to, and who is drawn."""

from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.placement.dns_roles import (
    PROVIDER,
    NameServerChoice,
    place_zone,
    zone_places,
)
from controller.cluster.placement.placement import (
    FEWEST,
    LEAST_USED,
    PINNED,
    POLICIES,
    SECONDARIES,
    WEIGHTED,
    Candidate,
    Policy,
    draw_web_server,
    eligible,
)
from controller.refusal import CommandError


def candidates(*boxes: str) -> list[NameServerChoice]:
    return [NameServerChoice(str(n), f"ns{n}", box) for n, box in enumerate(boxes)]


def one(name: str, *, holds: int = 0, well: bool = True) -> Candidate:
    return Candidate(name, name, f"box of {name}", holds=holds, well=well)


def name_server(name: str, *, holds: int = 0, well: bool = True) -> NameServerChoice:
    return NameServerChoice(name, name, f"box of {name}", holds=holds, well=well)


def drawn(servers: list[Candidate], policy: Policy, times: int = 200) -> Counter[str]:
    draw = Random(5)
    return Counter(draw_web_server(servers, draw, policy).name for _ in range(times))


def test_r26_every_server_is_drawn_as_master_sometimes() -> None:
    draw = Random(1)
    servers = candidates("a", "b", "c")
    masters = {place_zone(servers, PROVIDER, draw)[0].name for _ in range(100)}
    assert masters == {"ns0", "ns1", "ns2"}


def test_a6_zone_has_at_most_two_secondaries() -> None:
    _, secondaries, _ = place_zone(candidates("a", "b", "c", "d"), PROVIDER, Random(1))
    assert len(secondaries) == 2


def test_a_single_name_server_is_master_alone() -> None:
    master, secondaries, _ = place_zone(candidates("a"), PROVIDER, Random(1))
    assert (master.name, secondaries) == ("ns0", ())


def test_secondaries_on_other_boxes_go_first() -> None:
    for seed in range(50):
        master, secondaries, _ = place_zone(candidates("a", "a", "b"), PROVIDER, Random(seed))
        if master.box == "a":
            assert secondaries[0].box == "b"


def test_nothing_to_draw_names_the_way_out() -> None:
    with pytest.raises(CommandError) as caught:
        place_zone([], PROVIDER, Random(1))
    assert (caught.value.id, caught.value.status) == ("dns.none-open", 409)
    assert "signup on" in caught.value.allowed
    with pytest.raises(CommandError) as caught:
        draw_web_server([], Random(1))
    assert caught.value.id == "web.none-open"
    assert "placement explain web" in caught.value.allowed


def test_r38_by_default_every_web_server_is_as_likely_as_any_other() -> None:
    found = drawn([one("a", holds=9), one("b"), one("c")], Policy(), 3000)
    assert all(abs(count - 1000) < 100 for count in found.values()), found


def test_r38_a_server_that_is_not_well_is_drawn_only_where_there_is_no_other() -> None:
    for name in POLICIES:
        policy = Policy(name, {"lost": 9} if name == WEIGHTED else {}, pinned="well")
        assert set(drawn([one("lost", well=False), one("well", holds=5)], policy)) == {"well"}
    assert set(drawn([one("lost", well=False)], Policy())) == {"lost"}


def test_least_used_draws_among_those_that_hold_fewest() -> None:
    servers = [one("a", holds=3), one("b", holds=1), one("c", holds=1)]
    assert set(drawn(servers, Policy(LEAST_USED))) == {"b", "c"}


def test_weighted_draws_follow_the_weights() -> None:
    found = drawn([one("a"), one("b"), one("c")], Policy(WEIGHTED, {"a": 6, "b": 3}), 5000)
    shares = {"a": 3000, "b": 1500, "c": 500}
    assert all(abs(found[name] - share) < 150 for name, share in shares.items()), found


def test_pinned_goes_to_one_server_and_nowhere_else_behind_the_back_of_who_pinned_it() -> None:
    policy = Policy(PINNED, pinned="b")
    assert set(drawn([one("a"), one("b", holds=50)], policy)) == {"b"}
    assert set(drawn([one("a"), one("b", well=False)], policy)) == {"b"}
    with pytest.raises(CommandError) as caught:
        drawn([one("a"), one("c")], policy)
    assert (caught.value.id, caught.value.value) == ("placement.pinned-closed", "b")


def test_a_pinned_name_server_is_the_master_and_chance_fills_the_rest() -> None:
    servers = [name_server(name) for name in "abcd"]
    policy = Policy(PINNED, pinned="c")
    seen = set()
    for seed in range(60):
        master, secondaries, _ = place_zone(servers, PROVIDER, Random(seed), policy)
        assert master.name == "c"
        seen.add(tuple(sorted(server.name for server in secondaries)))
    assert seen == {("a", "b"), ("a", "d"), ("b", "d")}


def test_a_zone_has_two_name_servers_though_one_of_them_is_not_well() -> None:
    for seed in range(20):
        servers = [name_server("a"), name_server("b", well=False), name_server("c", well=False)]
        master, secondaries, _ = place_zone(servers, PROVIDER, Random(seed))
        assert (master.name, len(secondaries)) == ("a", 1)
        servers = [name_server("a"), name_server("b"), name_server("c", well=False)]
        master, secondaries, _ = place_zone(servers, PROVIDER, Random(seed))
        assert {master.name, *(server.name for server in secondaries)} == {"a", "b"}


def test_a_place_that_no_role_fills_goes_by_the_policy() -> None:
    servers = [
        NameServerChoice("m", "m", "bm", "master"),
        NameServerChoice("s", "s", "bs", "slave1"),
        *(NameServerChoice(str(n), f"r{n}", f"b{n}", holds=n) for n in range(4)),
    ]
    for seed in range(20):
        _, slaves, _ = place_zone(servers, PROVIDER, Random(seed), Policy(LEAST_USED))
        assert [server.name for server in slaves] == ["s", "r0"]


def test_roles_count_whether_their_servers_are_well_or_not() -> None:
    servers = [
        NameServerChoice("m", "m", "bm", "master", well=False),
        NameServerChoice("s", "s", "bs", "slave1"),
        NameServerChoice("r", "r", "br"),
    ]
    for name in POLICIES:
        policy = Policy(name, pinned="s")
        master, slaves, _ = place_zone(servers, PROVIDER, Random(3), policy)
        assert (master.name, [server.name for server in slaves]) == ("m", ["s", "r"])


NAMES = "abcdef"
SERVERS = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from("xyz")), min_size=1, max_size=6
).map(
    lambda found: [
        NameServerChoice(name, name, box, holds=holds, well=well)
        for name, (holds, well, box) in zip(NAMES, found, strict=False)
    ]
)
WEIGHTS = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 1000), max_size=6)


def policies(servers: list[NameServerChoice], weights: Mapping[str, int]) -> list[Policy]:
    return [Policy(name, weights, servers[0].name) for name in POLICIES]


@given(SERVERS, WEIGHTS, st.integers(0, 2**31))
def test_whoever_is_drawn_was_eligible_and_nobody_well_was_passed_over_for_one_who_is_not(
    servers: list[NameServerChoice], weights: Mapping[str, int], seed: int
) -> None:
    for policy in policies(servers, weights):
        web = draw_web_server(servers, Random(seed), policy)
        assert web in eligible(servers, policy)
        if policy.name != PINNED:
            assert web.well or not any(server.well for server in servers)


@given(SERVERS, st.integers(0, 2**31))
def test_least_used_never_picks_a_fuller_one(servers: list[NameServerChoice], seed: int) -> None:
    web = draw_web_server(servers, Random(seed), Policy(LEAST_USED))
    assert all(web.holds <= server.holds for server in servers if server.well or not web.well)
    master, _, _ = place_zone(servers, PROVIDER, Random(seed), Policy(LEAST_USED))
    assert all(master.holds <= each.holds for each in servers if each.well or not master.well)


@given(SERVERS, WEIGHTS, st.integers(0, 2**31))
def test_a_zone_is_on_different_servers_as_many_as_there_are_and_as_it_may_have(
    servers: list[NameServerChoice], weights: Mapping[str, int], seed: int
) -> None:
    for policy in policies(servers, weights):
        master, secondaries, _ = place_zone(servers, PROVIDER, Random(seed), policy)
        zone = {master.name, *(server.name for server in secondaries)}
        assert len(zone) == 1 + len(secondaries) <= 1 + SECONDARIES
        well = sum(server.well for server in servers)
        fewest = min(1 + SECONDARIES, well) if well >= FEWEST else min(FEWEST, len(servers))
        assert len(zone) >= fewest
        places = zone_places(servers, PROVIDER, policy)
        assert master in places.masters
        assert set(secondaries) <= set(places.filling())
