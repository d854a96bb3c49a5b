"""Where new zones go: by role where roles count, at random else."""

from random import Random

import pytest

from controller.cluster.placement.dns_roles import (
    AUDIENCES,
    PROVIDER,
    RESELLERS,
    NameServerChoice,
    flaw,
    of_audience,
    place_zone,
    serves,
)
from controller.refusal import CommandError


def server(name: str, role: str = "none", used_by: str = "all") -> NameServerChoice:
    return NameServerChoice(name, name, f"box of {name}", role, used_by)


def masters(*servers: NameServerChoice, audience: str = PROVIDER) -> set[str]:
    return {place_zone(servers, audience, Random(seed))[0].name for seed in range(40)}


def test_r362_roles_say_who_is_master_and_who_slave() -> None:
    servers = (server("c", "slave2"), server("b", "slave1"), server("a", "master"))
    for seed in range(20):
        master, slaves, drawn = place_zone(servers, PROVIDER, Random(seed))
        assert (master.name, [slave.name for slave in slaves], drawn) == ("a", ["b", "c"], False)


def test_r364_without_roles_master_and_slave_are_drawn() -> None:
    assert masters(server("a"), server("b")) == {"a", "b"}
    assert place_zone((server("a"), server("b")), PROVIDER, Random(1))[2]


@pytest.mark.parametrize("role", ["master", "slave1", "slave2"])
def test_r364_a_role_on_two_servers_counts_for_nobody(role: str) -> None:
    servers = (server("a", "master"), server("b", role), server("c", role))
    assert masters(*servers) == {"a", "b", "c"}


def test_a6_slaves_without_a_master_count_for_nobody() -> None:
    assert flaw([server("a", "slave1"), server("b")]) == "no server is master"
    assert masters(server("a", "slave1"), server("b")) == {"a", "b"}


def test_r365_one_server_has_different_roles_for_different_zones() -> None:
    servers = (server("a"), server("b"))
    roles = {place_zone(servers, PROVIDER, Random(seed))[0].name == "a" for seed in range(40)}
    assert roles == {True, False}


def test_a6_places_that_no_role_fills_are_drawn_among_servers_without_one() -> None:
    servers = (server("a", "master"), server("b"), server("c"), server("d"))
    drawn = {
        tuple(sorted(slave.name for slave in place_zone(servers, PROVIDER, Random(seed))[1]))
        for seed in range(60)
    }
    assert drawn == {("b", "c"), ("b", "d"), ("c", "d")}
    assert masters(*servers) == {"a"}


def test_a6_a_zone_of_a_master_and_one_slave_is_no_matter_of_chance() -> None:
    master, slaves, drawn = place_zone((server("a", "master"), server("b")), PROVIDER, Random(1))
    assert (master.name, [slave.name for slave in slaves], drawn) == ("a", ["b"], False)


def test_r368_to_r370_a_server_is_used_by_whom_it_is_for() -> None:
    assert [serves("all", audience) for audience in AUDIENCES] == [True, True]
    assert [serves(RESELLERS, audience) for audience in AUDIENCES] == [False, True]
    assert [serves(PROVIDER, audience) for audience in AUDIENCES] == [True, False]
    servers = (server("a", used_by=RESELLERS), server("b", used_by=PROVIDER), server("c"))
    assert masters(*servers) == {"b", "c"}
    assert masters(*servers, audience=RESELLERS) == {"a", "c"}


def test_r364_roles_are_judged_apart_for_each_kind_of_customer() -> None:
    servers = (
        server("a", "master", PROVIDER),
        server("b", "slave1", PROVIDER),
        server("c", "master", RESELLERS),
        server("d", "slave1", RESELLERS),
    )
    assert [flaw(of_audience(servers, audience)) for audience in AUDIENCES] == [None, None]
    assert (masters(*servers), masters(*servers, audience=RESELLERS)) == ({"a"}, {"c"})


def test_r371_where_all_servers_are_for_others_a_new_zone_is_refused() -> None:
    with pytest.raises(CommandError) as caught:
        place_zone((server("a", used_by=RESELLERS),), PROVIDER, Random(1))
    assert caught.value.id == "dns.none-for-audience"


def test_without_any_server_the_refusal_says_what_is_needed() -> None:
    with pytest.raises(CommandError) as caught:
        place_zone((), PROVIDER, Random(1))
    assert caught.value.id == "dns.none-open"
