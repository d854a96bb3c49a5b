"""Drawing servers by chance."""

from random import Random

import pytest

from controller.cluster.placement import Candidate, draw_name_servers, draw_web_server
from controller.refusal import CommandError


def candidates(*boxes: str) -> list[Candidate]:
    return [Candidate(str(n), f"ns{n}", box) for n, box in enumerate(boxes)]


def test_r26_every_server_is_drawn_as_master_sometimes() -> None:
    draw = Random(1)
    masters = {draw_name_servers(candidates("a", "b", "c"), draw)[0].name for _ in range(100)}
    assert masters == {"ns0", "ns1", "ns2"}


def test_a6_zone_has_at_most_two_secondaries() -> None:
    _, secondaries = draw_name_servers(candidates("a", "b", "c", "d"), Random(1))
    assert len(secondaries) == 2


def test_a_single_name_server_is_master_alone() -> None:
    master, secondaries = draw_name_servers(candidates("a"), Random(1))
    assert (master.name, secondaries) == ("ns0", ())


def test_secondaries_on_other_boxes_go_first() -> None:
    for seed in range(50):
        master, secondaries = draw_name_servers(candidates("a", "a", "b"), Random(seed))
        if master.box == "a":
            assert secondaries[0].box == "b"


def test_nothing_to_draw_names_the_way_out() -> None:
    with pytest.raises(CommandError) as caught:
        draw_name_servers([], Random(1))
    assert (caught.value.id, caught.value.status) == ("dns.none-open", 409)
    assert "signup on" in caught.value.allowed
    with pytest.raises(CommandError) as caught:
        draw_web_server([], Random(1))
    assert caught.value.id == "web.none-open"
