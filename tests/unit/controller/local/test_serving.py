"""Where a local cluster's servers are: as it was made, and as its model has them now."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from controller.client import profiles
from controller.client.client import Client
from controller.hsctl import local as verbs
from controller.local import places, serving
from controller.local.layout import ClusterPlan, Layout, LocalBox, Place
from controller.local.serving import Server, behind, followed, modelled, taken
from controller.local.supervisor import Holder

WEB = LocalBox("web1", "web", "apache", Place("127.0.0.1", 80), tls_port=443)
PLAN = ClusterPlan(
    service_domain="heliosphere.test",
    panel=Place("127.0.0.1", 8443),
    agents=Place("127.0.0.1", 8444),
    enrolment=Place("127.0.0.1", 8445),
    boxes=(WEB,),
    loopback=(),
)
OWN = Server("web1.heliosphere.test", "apache", "web1", Place("127.0.0.1", 8083), 444)
BESIDE = Server("aaa.heliosphere.test", "apache", "web1", Place("::1", 8099), 443)


class Model:
    """A client that knows one page of logical servers."""

    def __init__(self, *servers: dict[str, Any]) -> None:
        self._servers = servers

    def pages(self, command: str, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
        assert (command, fields) == ("lserver.list", {})
        yield from self._servers


def server(**fields: Any) -> dict[str, Any]:
    lane = {
        "pserver": "web1",
        "condition": "ok",
        "message": "",
        "connected": True,
        "settled_revision": 3,
        **fields,
    }
    return {
        "name": OWN.name,
        "type": "apache",
        "revision": 3,
        "settings": {"tls_port": 444},
        "ips": [
            {"ip": "127.0.0.1", "port": 8083, "type": "shared"},
            {"ip": "127.0.0.2", "port": 8083, "type": "second"},
        ],
        "lanes": [lane],
    }


def listed(*servers: dict[str, Any]) -> list[Server]:
    return modelled(Model(*servers), PLAN)  # type: ignore[arg-type]


def test_the_model_says_where_a_server_is_and_how_it_goes() -> None:
    assert listed(server(), server(pserver="elsewhere")) == [OWN]
    assert OWN.described() == {
        "name": OWN.name,
        "type": "apache",
        "address": "127.0.0.1",
        "port": 8083,
        "tls_port": 444,
    }
    without = {**server(), "ips": server()["ips"][1:]}
    assert [one.place for one in listed(without)] == [None]


@pytest.mark.parametrize(
    "lane",
    [
        {"connected": False},
        {"connected": False, "condition": "blocked"},
        {"settled_revision": 2},
        {"condition": "daemon-down"},
    ],
    ids=str,
)
def test_a_server_whose_box_has_not_applied_all_is_behind(lane: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = Place("127.0.0.1", listening.getsockname()[1])
        well, ill = (
            attrs.evolve(*listed(given), place=place) for given in (server(), server(**lane))
        )
        assert behind([well, ill], "heliosphere.test") == [ill]
    assert behind([well], "heliosphere.test") == [well], "nobody answers"


@pytest.mark.parametrize("condition", ["held", "ahead", "blocked"])
def test_what_a_person_must_end_is_told_and_not_waited_for(condition: str) -> None:
    (held,) = listed(server(condition=condition, message="by ada\nmore", settled_revision=1))
    assert behind([held], "heliosphere.test") == []
    assert held.note == f"{OWN.name} is {condition}: by ada"


def test_a_place_that_another_program_has_is_named() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        port = listening.getsockname()[1]
        (words,) = taken([attrs.evolve(BESIDE, place=Place("::1", port))])
    assert words.startswith(f"[::1]:{port}, where {BESIDE.name} answers")
    assert places.is_free(Place("::1", port))


@pytest.mark.parametrize("servers", [[BESIDE, OWN], [OWN, BESIDE]])
def test_a_box_s_own_server_is_followed_and_no_other(servers: list[Server]) -> None:
    (box,) = followed(PLAN, servers).boxes
    assert (box.endpoint, box.tls_port) == (OWN.place, 444)


def test_one_that_was_renamed_is_followed_where_it_is_alone_on_the_box() -> None:
    renamed = attrs.evolve(OWN, name="shop.heliosphere.test")
    nameless = attrs.evolve(BESIDE, place=None)
    assert followed(PLAN, [nameless, renamed]).boxes[0].endpoint == OWN.place
    assert followed(PLAN, [BESIDE, renamed]) == PLAN
    assert followed(PLAN, []) == PLAN


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("HSCTL_CONFIG", str(tmp_path / "hsctl.toml"))
    return Layout(tmp_path / "mine" / "c")


def keep_profile(layout: Layout, *, config: Path, ca: str = "none") -> None:
    profiles.save(
        profiles.Profile(
            name=verbs._profile(layout),
            url="https://127.0.0.1:1",
            ca=ca,
            token="x",
            config=str(config),
        )
    )


def test_the_servers_of_another_cluster_are_not_shown(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Client, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(serving, "modelled", lambda *_: [BESIDE])
    keep_profile(layout, config=layout.controller_config)
    assert verbs._servers(layout, PLAN, Holder(ready=True)) == [BESIDE]
    keep_profile(layout, config=layout.root.parent / "theirs" / "controller.toml")
    assert verbs._servers(layout, PLAN, Holder(ready=True)) == serving.planned(PLAN)
    assert "is not this cluster's" in capsys.readouterr().err


def test_a_profile_that_cannot_be_used_is_no_reason_to_show_nothing(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_profile(layout, config=layout.controller_config, ca=str(layout.root / "none"))
    assert verbs._servers(layout, PLAN, Holder(ready=True)) == serving.planned(PLAN)
    assert "cannot be read" in capsys.readouterr().err
