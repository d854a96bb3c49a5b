"""What a plan says: one, many, nothing, and lists that are too long for a sentence."""

import pytest

from controller.change_plan import (
    Action,
    ChangePlan,
    Foreseen,
    PlannedObject,
    PlannedRow,
)
from controller.sentences import counted, listed
from templates.objects import Disturbance


def zone(server: str, name: str = "shop.test", action: Action = "change") -> PlannedObject:
    return PlannedObject(action, "zone", name, server, (server,))


def site(server: str, disturbs: Disturbance) -> PlannedObject:
    return PlannedObject("change", "site", "shop.test", server, (server,), disturbs)


def own(server: str, disturbs: Disturbance, action: Action = "change") -> PlannedObject:
    return PlannedObject(action, "server", "", server, (server,), disturbs)


def words(*objects: PlannedObject, rows: tuple[PlannedRow, ...] = ()) -> tuple[str, ...]:
    return ChangePlan(objects, rows, {}).words


def test_a_plan_that_changes_nothing_says_just_that() -> None:
    assert words() == ("nothing changes",)


def test_the_servers_are_named_then_what_changes_then_what_reloads() -> None:
    rows = (
        PlannedRow("add", "record", "shop.test www A"),
        PlannedRow("change", "zone", "shop.test"),
    )
    assert words(zone("ns1"), zone("ns2"), rows=rows) == (
        "touches ns1, ns2",
        "adds record shop.test www A",
        "changes zone shop.test",
        "nothing reloads",
    )


def test_what_jobs_do_later_is_part_of_the_plan() -> None:
    row = PlannedRow("add", "zone_move", "7")
    plan = ChangePlan((), (row,), {}, Foreseen(("214 zones change master",), ("ns1", "ns2")))
    assert "; ".join(plan.words) == "touches ns1, ns2; 214 zones change master; nothing reloads"


def test_what_boxes_are_asked_for_is_not_called_nothing() -> None:
    repair = words(rows=(PlannedRow("add", "drift", "ns1.test"),))
    assert repair == (
        "has the boxes of ns1.test bring files back, and reload for it where they must: "
        "hsctl drift preview ns1.test tells which",
    )
    service = words(rows=(PlannedRow("add", "service", "web1/web1.test"),))
    assert service == ("has web1 act on its service web1.test",)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (("a",), "daemons reload on 1 box at once"),
        (("a", "b"), "daemons reload on 2 boxes at once"),
    ],
)
def test_what_jobs_reload_later_is_not_called_nothing(boxes: tuple[str, ...], said: str) -> None:
    foreseen = Foreseen(("changes 2 servers",), ("web1", "web2"), reloading=boxes)
    assert ChangePlan((), (), {}, foreseen).words[2:] == (said,)


def test_what_concerns_the_model_alone_touches_no_server() -> None:
    assert words(rows=(PlannedRow("add", "account", "acme"),)) == (
        "touches no server",
        "adds account acme",
        "nothing reloads",
    )


def test_many_of_one_kind_are_counted_and_kinds_stand_beside_each_other() -> None:
    rows = tuple(PlannedRow("remove", "record", f"shop.test {name} A") for name in "abc")
    rows += (PlannedRow("remove", "domain", "shop.test"),)
    assert words(rows=rows)[1] == "removes 3 records, domain shop.test"


def test_an_object_that_a_row_tells_of_is_told_once() -> None:
    rows = (PlannedRow("add", "site", "shop.test"),)
    assert words(site("web1", "nothing"), rows=rows)[1:] == (
        "adds site shop.test",
        "nothing reloads",
    )


def test_a_zone_that_goes_from_one_server_to_another_has_changed() -> None:
    found = words(zone("ns1", action="remove"), zone("ns2", action="add"))
    assert found[1] == "changes zone shop.test"


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ((site("web1", "nothing"),), ("nothing reloads",)),
        ((site("web1", "reload"),), ("web1 reloads",)),
        ((site("web1", "reload"), site("web2", "reload")), ("web1, web2 reload",)),
        ((own("ns1", "restart"),), ("ns1 restarts",)),
        ((own("ns1", "reload", "add"),), ("ns1 starts",)),
        (
            (site("web1", "reload"), zone("ns1"), zone("ns2")),
            ("web1 reloads", "ns1, ns2 do not reload"),
        ),
        ((site("web1", "reload"), zone("ns1")), ("web1 reloads", "ns1 does not reload")),
        ((own("ns1", "restart"), site("ns1", "reload")), ("ns1 restarts",)),
        (
            (own("ns1", "restart"), own("ns2", "restart"), own("web1", "reload", "add")),
            ("web1 starts", "ns1, ns2 restart"),
        ),
    ],
)
def test_which_daemons_are_disturbed_is_said(
    objects: tuple[PlannedObject, ...], said: tuple[str, ...]
) -> None:
    assert words(*objects)[-len(said) :] == said
    assert sum("reload" in part for part in words(*objects)) == sum("reload" in it for it in said)


def test_what_was_drawn_is_told() -> None:
    plan = ChangePlan((), (PlannedRow("add", "domain", "a.test"),), {"web server": "web2"})
    assert plan.words[-1] == "drawn at random: web server web2"


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "s1"), (2, "s1, s2"), (4, "s1, s2, s3, s4"), (5, "s1, s2, s3 and 2 more")],
)
def test_a_list_is_named_as_far_as_a_sentence_bears(count: int, said: str) -> None:
    assert listed([f"s{number}" for number in range(1, count + 1)]) == said


def test_a_long_list_ends_with_the_number_that_is_left_out() -> None:
    touched = tuple(zone(f"ns{number:03}") for number in range(1, 215))
    assert words(*touched)[0] == "touches ns001, ns002, ns003 and 211 more"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 zones move"), (1, "1 zone moves"), (214, "214 zones move")]
)
def test_a_number_stands_with_its_word(count: int, said: str) -> None:
    assert counted(count, "zone moves", "zones move") == said


def test_a_relation_without_a_word_of_its_own_is_still_told() -> None:
    rows = (PlannedRow("add", "thing", "a"), PlannedRow("add", "thing", "b"))
    assert words(rows=rows)[1] == "adds 2 things"


def test_a_key_that_never_ends_is_cut() -> None:
    said = words(rows=(PlannedRow("add", "record", "x" * 900),))[1]
    assert said.endswith("xxx...")
    assert len(said) < 100


def test_an_address_is_named_with_its_port() -> None:
    rows = (PlannedRow("add", "ip_address", "2001:db8::7 53"),)
    assert words(rows=rows)[1] == "adds IP address 2001:db8::7, port 53"
