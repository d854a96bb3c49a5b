"""Where roles want zones, and the phases by which they come there."""

from random import Random

import pytest

from controller.cluster.placement.dns_roles import PROVIDER, NameServerChoice
from controller.hosting.zone_placement import Phase, Roles, next_phase, roles_of, wanted_servers
from controller.refusal import CommandError


def server(name: str, role: str = "none", used_by: str = "all") -> NameServerChoice:
    return NameServerChoice(name, name, f"box-{name}", role, used_by)


def test_roles_are_those_of_the_servers_that_take_the_audiences_zones() -> None:
    servers = [
        server("a", "master"),
        server("b", "slave2"),
        server("c"),
        server("d", "master", "resellers"),
    ]
    assert roles_of(servers, PROVIDER) == Roles("a", ("b",), ("c",))


@pytest.mark.parametrize("servers", [[], [server("a")], [server("a", "slave1")]])
def test_without_roles_that_count_no_zone_has_a_better_place(
    servers: list[NameServerChoice],
) -> None:
    with pytest.raises(CommandError) as caught:
        roles_of(servers, PROVIDER)
    assert caught.value.id == "dns.apply.no-roles"


def test_places_that_no_role_fills_go_to_servers_that_have_the_zone() -> None:
    roles = Roles("a", ("b",), ("c", "d", "e"))
    assert roles.size == 3
    for seed in range(10):
        assert wanted_servers(("e", "x"), roles, Random(seed)) == ("a", "b", "e")
    drawn = {wanted_servers(("x",), roles, Random(seed))[2] for seed in range(50)}
    assert drawn == {"c", "d", "e"}
    assert wanted_servers((), Roles("a", (), ()), Random(1)) == ("a",)


@pytest.mark.parametrize(
    ("former", "wanted", "phases"),
    [
        ("ab", "ba", ["following"]),
        ("ab", "abc", ["following", "published"]),
        ("ab", "cd", ["following", "published", "leaving"]),
    ],
)
def test_a_zone_goes_through_the_phases_that_it_needs(
    former: str, wanted: str, phases: list[Phase]
) -> None:
    found: list[Phase] = []
    phase: Phase | None = "promoted"
    while (phase := next_phase(phase, former, wanted)) is not None:
        found.append(phase)
    assert found == phases
