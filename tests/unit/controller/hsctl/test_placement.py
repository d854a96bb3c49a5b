"""``hsctl placement``: what is asked of the controller, and the pictures of what it answers."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.hsctl import placement_views
from tests.unit.controller.hsctl.conftest import Cli

POLICY = {"policy": "random", "meaning": "At random.", "weights": {}, "pinned": ""}


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (("random",), {"policy": "random"}),
        (("weighted", "a.test=3", "b.test=10"), {"weights": {"a.test": 3, "b.test": 10}}),
        (("pinned", "a.test"), {"pinned": "a.test"}),
    ],
)
@ensureDeferred
async def test_a_policy_takes_its_servers(
    cli: Cli, given: tuple[str, ...], asked: dict[str, Any]
) -> None:
    cli.answers({"group": "web", **POLICY, "warnings": []})
    ended = await cli.run("placement", "set", "web", *given)
    assert ended.code == 0, ended
    request = cli.written[-1].request
    for name, value in asked.items():
        assert getattr(request, name) == value


@pytest.mark.parametrize(
    "given",
    [
        ("weighted",),
        ("weighted", "a.test"),
        ("weighted", "a.test=x"),
        ("weighted", "a.test=-1"),
        ("weighted", "a.test=" + "9" * 5000),
        ("weighted", "a.test=1", "a.test=2"),
        ("pinned",),
        ("pinned", "a.test", "b.test"),
        ("random", "a.test"),
        ("fastest",),
    ],
)
@ensureDeferred
async def test_servers_that_a_policy_does_not_take_are_a_usage_error(
    cli: Cli, given: tuple[str, ...]
) -> None:
    ended = await cli.run("placement", "set", "web", *given)
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    assert cli.runner.asked == []


def test_a_bar_shows_a_share_and_never_hides_what_is_there() -> None:
    assert placement_views.bar(0, 10) == ""
    assert placement_views.bar(10, 10) == "█" * placement_views.WIDTH
    assert placement_views.bar(5, 10) == "█" * (placement_views.WIDTH // 2)
    assert placement_views.bar(1, 100000) == "▏"


def test_a_simulation_is_a_bar_for_each_server_and_a_refusal_in_words() -> None:
    shown = placement_views.simulated(
        {
            "count": 30,
            "seed": 7,
            "groups": [
                {
                    **POLICY,
                    "group": "dns",
                    "refused": "no name server takes new zones",
                    "servers": [],
                },
                {
                    **POLICY,
                    "group": "web",
                    "refused": "",
                    "servers": [
                        {"name": "a", "new": 20, "holds": 1, "site": 20},
                        {"name": "b", "new": 10, "holds": 1, "site": 10},
                    ],
                },
            ],
        }
    )
    assert shown["dns_refused"] == "no name server takes new zones"
    first, second = shown["web"]
    assert (first["new"], len(first["share"]), len(second["share"])) == (20, 30, 15)


def test_an_explanation_says_each_server_in_words() -> None:
    server = {"name": "a", "pservers": ["b1"], "holds": 2, "weight": 3, "role": "none"}
    shown = placement_views.explained(
        {
            **POLICY,
            "policy": "weighted",
            "weights": {"a": 3},
            "group": "dns",
            "account": "",
            "by_role": True,
            "refused": "",
            "next": "more",
            "items": [
                {**server, "takes": "yes", "places": ["master"], "reasons": ["b1 is lost"]},
                {**server, "takes": "spare", "places": [], "reasons": ["b1 is lost"]},
                {**server, "takes": "no", "places": [], "reasons": ["signup is off"]},
            ],
        }
    )
    assert shown["policy"] == "by role; what no role fills weighted: a 3"
    assert [(one["takes"], one["why"]) for one in shown["servers"]] == [
        ("yes", "though b1 is lost"),
        ("only if no other", "b1 is lost"),
        ("no", "signup is off"),
    ]
    assert "more than 3 servers" in shown["more"]
