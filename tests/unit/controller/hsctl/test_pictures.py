"""What a person is shown: words instead of JSON, names instead of ids, lines that fit."""

import re
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from controller.hsctl import change_views, views
from controller.hsctl.displays import LineDisplay
from controller.hsctl.lanes import sums, where
from controller.hsctl.status import WIDTH, picture
from controller.hsctl.terminal import cell, mark
from tests.unit.controller.hsctl.conftest import lane

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
SERVER = {
    "id": "31f71366-831c-4e55-a206-8d0720728b1f",
    "name": "ns1.test",
    "group": "dns",
    "type": "bind",
    "settings": {"control_port": 953},
    "revision": 6,
    "version": 2,
    "lanes": [
        {
            "pserver": "ns1",
            "condition": "ok",
            "message": "",
            "connected": True,
            "stored_revision": 6,
            "settled_revision": 4,
        }
    ],
    "ips": [{"ip": "2001:db8::1", "port": 53, "type": "service", "tag": None, "prefix": 64}],
}


def box(name: str = "ns1", **changed: Any) -> dict[str, Any]:
    return {
        "name": name,
        "ip": "192.0.2.1",
        "intent": "open",
        "condition": "connected",
        "conditions": ["connected"],
        "never_connected": False,
        "connected": True,
        "last_seen_at": "2026-01-02T11:59:00+00:00",
        **changed,
    }


def status(*boxes: dict[str, Any], faults: int = 0, **lane_facts: Any) -> dict[str, Any]:
    return {
        "service_domain": "test",
        "counts": {
            "boxes": len(boxes),
            "boxes_in_trouble": sum(box["condition"] != "connected" for box in boxes),
            "logical_servers": 1,
            "faults": faults,
            "accounts": 1,
            "domains": 0,
        },
        "boxes": list(boxes),
        "lanes": [
            {
                "logical_server": "ns1.test",
                "type": "bind",
                "box": "ns1",
                "connected": True,
                "condition": "ok",
                "message": "",
                "revision": 6,
                "settled_revision": 6,
                "address": "192.0.2.1",
                "port": 53,
                **lane_facts,
            }
        ],
    }


def lines(answer: dict[str, Any]) -> list[str]:
    return [click.unstyle(line) for line in picture(answer, "local, https://c", NOW)]


@pytest.mark.parametrize(
    "value",
    [{"a": {"b": [1]}}, [{"ip": "192.0.2.1", "tag": None}], [[1, 2]], {}, [], {"x": "\x1b[2J"}],
)
def test_a_cell_is_words_and_never_json(value: object) -> None:
    assert not re.search(r"[\[\]{}\"\x1b]", cell(value).replace("x1b[2J", ""))


def test_a_server_shows_its_place_and_how_far_its_lane_is() -> None:
    row = views.server_row(SERVER)
    assert (row["addresses"], row["pservers"], row["state"]) == (
        ["[2001:db8::1]:53"],
        ["ns1"],
        "behind by 2",
    )
    shown = views.server(SERVER)
    assert "id" not in shown
    assert shown["lanes"] == [{"pserver": "ns1", "state": "behind by 2", "message": ""}]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ((True, "ok", 3, 3), "up to date"),
        ((False, "ok", 3, 3), "not connected"),
        ((False, "ok", 2, 3), "behind, not connected"),
        ((True, "daemon-down", 3, 3), "daemon down"),
        ((False, "held", 1, 3), "held"),
        ((True, "ok", 3, 3, 2), "2 faults"),
        ((False, "ok", 3, 3, 2), "not connected"),
        ((True, "ok", 2, 3, 2), "behind by 1"),
    ],
)
def test_a_lane_that_is_not_known_to_serve_all_is_never_up_to_date(
    facts: tuple[Any, ...], words: str
) -> None:
    assert views.lane_words(*facts) == words


def test_a_difference_names_the_fields_that_were_set() -> None:
    before = {"signup": False, "name": "a", "records": [1, 2]}
    after = {"signup": True, "name": "a", "records": [2, 3, 4]}
    row = {"before": before, "after": after}
    assert change_views.difference(row) == "signup no -> yes, records +2 -1"
    assert change_views.difference({"before": None, "after": after}) == "added"
    assert change_views.difference({"before": before, "after": None}) == "removed"


def test_an_answer_of_another_release_is_shown_as_far_as_it_goes() -> None:
    for view in (
        views.server,
        views.server_row,
        views.box,
        views.invitation,
        views.domain,
        views.domain_row,
        views.records,
        views.site,
        views.address,
        views.addresses_added,
        change_views.change,
        change_views.change_row,
        change_views.undone,
        change_views.version,
        change_views.why,
        change_views.plan,
        views.system,
    ):
        assert isinstance(view({}), dict)
        assert isinstance(view({"name": "x", "new": [{"a": 1}]}), dict)


def test_a_plan_names_things_in_the_words_of_the_field() -> None:
    rows = [
        {"action": "add", "relation": "ip_address", "key": "2001:db8::7 53"},
        {"action": "add", "relation": "enrolment_token", "key": "ns1"},
        {"action": "change", "relation": "logical_server", "key": "ns1.test"},
    ]
    own = {"action": "add", "kind": "server", "key": "", "logical_server": "ns1.test", "boxes": []}
    shown = change_views.plan({"objects": [own], "rows": rows})
    assert [row["thing"] for row in shown["would_change_in_the_model"]] == [
        "IP address 2001:db8::7, port 53",
        "enrolment line of ns1",
        "logical server ns1.test",
    ]
    assert [row["object"] for row in shown["would_change_on_boxes"]] == ["server ns1.test"]


def test_a_plan_is_told_in_the_controllers_words_and_a_long_one_cut() -> None:
    rows = [{"action": "add", "relation": "zone", "key": f"z{number}"} for number in range(231)]
    shown = change_views.plan(
        {"words": ["touches ns1", "nothing reloads"], "rows": rows, "objects": []}
    )
    assert shown["plan"] == "touches ns1; nothing reloads"
    table = shown["would_change_in_the_model"]
    assert len(table) == 21
    assert table[-1]["thing"] == "and 211 more: -o json has all"
    assert len(change_views.plan({"rows": rows[:20]})["would_change_in_the_model"]) == 20


def test_the_objects_of_a_lane_are_summed_up_by_the_weightiest() -> None:
    found = sums([lane("live"), lane("waiting", "for its account"), lane("stored")])
    assert [(one.box, one.state, one.words, one.mark) for one in found] == [
        ("ns1", "waiting", "waiting (1 of 3 live): for its account", "moving")
    ]
    (bad,) = sums([lane("live"), lane("failed", "no"), lane("unknown")])
    assert (bad.state, bad.mark) == ("failed", "bad")


def test_many_boxes_are_counted_and_few_are_named() -> None:
    boxes = [{**lane("live"), "box": f"b{number}"} for number in range(5)]
    assert where(boxes[:1]) == "b0"
    assert where(boxes[:3]) == "b0, b1 and b2"
    assert where(boxes) == "5 boxes"


def test_the_picture_says_that_all_is_well_only_when_it_is() -> None:
    good = "No faults; every box is connected and up to date."
    assert lines(status(box()))[-1] == good
    assert lines(status(box(), faults=2))[-1] == "2 faults: hsctl fault list"
    lost = box(condition="lost", conditions=["lost", "behind"], connected=False)
    shown = lines(status(lost, settled_revision=5, connected=False))
    assert "1 box needs a look" in shown[-1]
    assert any("lost, behind, last seen 1 min ago" in line for line in shown)
    assert any("behind, not connected" in line for line in shown)


def test_the_exclamation_mark_stands_for_a_box_that_never_connected_and_nothing_else() -> None:
    """R248."""
    new = box("b2", condition="never connected", conditions=["never connected"])
    new |= {"never_connected": True, "connected": False, "last_seen_at": None}
    lost = box("b3", condition="lost", conditions=["lost"], connected=False)
    marked = [line for line in lines(status(box(), new, lost)) if "!" in line]
    assert [line.split()[:2] for line in marked] == [["!", "b2"]]


def test_the_picture_fits_its_width_and_shows_foreign_words_escaped() -> None:
    answer = status(
        box("n" * 200, ip="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", condition="lost"),
        box("ns1", conditions=["connected", *["held"] * 40], intent="draining"),
        logical_server=f"{'x' * 63}.{'y' * 63}",
        address="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
        message="\x1b]0;owned\x07" + "z" * 300,
    )
    shown = lines(answer)
    assert max(map(len, shown)) <= WIDTH
    assert "\x1b" not in "".join(shown)
    assert any("\\x1b]0;owned" in line for line in shown)


def test_an_empty_cluster_says_how_to_begin() -> None:
    answer = status()
    answer["lanes"] = []
    assert any("hsctl pserver add" in line for line in lines(answer))


def test_marks_are_letters_where_the_encoding_has_no_signs() -> None:
    class Ascii:
        encoding = "ascii"

    class Unicode:
        encoding = "utf-8"

    assert mark("good", Ascii()) == "+"  # type: ignore[arg-type]
    assert mark("good", Unicode()) == "✓"  # type: ignore[arg-type]


def test_a_pipe_is_told_of_each_lane_once_it_came_to_rest_and_of_no_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    display = LineDisplay()
    for state in ("sending", "stored", "waiting", "live", "live"):
        display.show([lane(state), {**lane("live"), "box": "ns2"}])
    assert capsys.readouterr().err.splitlines() == [
        "waiting for ns1 and ns2",
        "ns2 live",
        "ns1 live",
    ]


def test_a_site_shows_where_it_answers_tls_and_a_warning_only_where_there_is_one() -> None:
    site = {"address": "192.0.2.3", "port": 80, "tls_port": 0, "has_certificate": True}
    assert views.site({**site, "warnings": []}) == {
        "address": "192.0.2.3:80",
        "TLS port": "none",
        "certificate": "its own",
    }
    assert views.site({**site, "tls_port": 443, "warnings": ["x"]})["warnings"] == ["x"]
