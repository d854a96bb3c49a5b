"""Hazards: where each begins, what it says, and which approval covers it."""

import attrs
import pytest

from controller.change_plan import Action, PlannedObject
from controller.changes import ChangedRow
from controller.hazard_facts import redelegated, reloading
from controller.hazards import (
    HAZARDS,
    Approval,
    Facts,
    Hazard,
    Removal,
    accepting,
    judge,
    seal,
)
from templates.objects import Disturbance


def found(facts: Facts) -> list[tuple[str, int, str]]:
    return [(each.id, each.number, each.words) for each in judge(facts)]


@pytest.mark.parametrize(
    ("removed", "held", "many"),
    [
        (19, 19, False),
        (19, 10_000, False),
        (20, 20, True),
        (20, 399, True),
        (20, 400, False),
        (21, 400, True),
        (500, 10_000, False),
        (501, 10_000, True),
    ],
)
def test_a_mass_delete_is_twenty_objects_and_more_than_a_twentieth(
    removed: int, held: int, many: bool
) -> None:
    facts = Facts(removals=(Removal("ns1", removed, held),))
    words = f"removes {removed} of {held} objects from ns1"
    assert found(facts) == ([("mass-delete", removed, words)] if many else [])


def test_several_servers_are_one_hazard_with_their_sum() -> None:
    facts = Facts(removals=(Removal("ns2", 30, 50), Removal("ns1", 40, 40), Removal("ns3", 1, 1)))
    words = "removes 40 of 40 objects from ns1, 30 of 50 objects from ns2"
    assert found(facts) == [("mass-delete", 70, words)]


@pytest.mark.parametrize(("count", "wide"), [(10, False), (11, True)])
def test_a_reload_is_wide_on_more_than_the_boxes_that_are_allowed(count: int, wide: bool) -> None:
    facts = Facts(reloading=tuple(f"web{number:02}" for number in range(count)))
    assert [each.id for each in judge(facts)] == (["wide-reload"] if wide else [])


def test_zones_of_a_job_count_with_those_of_the_change_itself() -> None:
    facts = Facts(redelegated=("example.net",), redelegated_later=2, unserved=("shop.test",))
    assert found(facts) == [
        ("root-ns", 3, "changes the NS records at the top of 3 zones: example.net"),
        ("last-name-server", 1, "removes the last name server of 1 zone: shop.test"),
    ]


def test_every_hazard_says_where_it_comes_from_and_why() -> None:
    assert len({rule.id for rule in HAZARDS}) == len(HAZARDS)
    for rule in HAZARDS:
        assert rule.sources
        assert rule.reason.endswith(".")
        assert rule.counts


def record(key: str, before: str | None, after: str | None) -> ChangedRow:
    return ChangedRow(
        "record",
        key,
        None if before is None else {"data": before},
        None if after is None else {"data": after},
    )


def test_a_zone_is_delegated_anew_where_its_own_ns_records_lose_a_name() -> None:
    assert redelegated([record("a.test @ NS", "ns1.", None)]) == ("a.test",)
    assert redelegated([record("a.test @ NS", None, "ns2.")]) == ()
    assert redelegated([record("a.test sub NS", "ns1.", None)]) == ()
    assert redelegated([record("a.test @ TXT", "ns1.", None)]) == ()
    same = [record("a.test @ NS", "ns1.", None), record("a.test @ NS", None, "ns1.")]
    assert redelegated(same) == ()  # with another TTL: the names stay
    other = [*same, record("b.test @ NS", "ns1.", None), record("b.test @ NS", None, "ns2.")]
    assert redelegated(other) == ("b.test",)


def planned(kind: str, action: Action, disturbs: Disturbance, *boxes: str) -> PlannedObject:
    return PlannedObject(action, kind, "", "web1", boxes, disturbs)


def test_a_daemon_that_starts_for_the_first_time_disturbs_nobody() -> None:
    assert reloading(
        [
            planned("server", "add", "restart", "new"),
            planned("server", "change", "restart", "b"),
            planned("site", "add", "reload", "a", "b"),
            planned("zone", "change", "nothing", "c"),
        ]
    ) == ("a", "b")


MASS = Hazard("mass-delete", 412, "removes 412 of 8000 objects from ns1")
ROOT = Hazard("root-ns", 2, "changes 2")


@pytest.mark.parametrize(
    ("now", "accepted", "words"),
    [
        ((MASS,), {"mass-delete": 412}, []),
        ((MASS, ROOT), {"mass-delete": 412, "root-ns": 2}, []),
        ((), {}, []),
        ((MASS,), {}, [f"mass-delete is not accepted: it {MASS.words}"]),
        ((MASS,), {"root-ns": 2}, [f"mass-delete is not accepted: it {MASS.words}"]),
        (
            (MASS,),
            {"mass-delete": 411},
            [f"mass-delete is accepted for 411, but it {MASS.words}"],
        ),
        (
            (Hazard("mass-delete", 412, "removes 412 of 8000 objects from ns2"),),
            {"mass-delete": 412},
            [f"mass-delete was: {MASS.words}; now it removes 412 of 8000 objects from ns2"],
        ),
        (
            (MASS, Hazard("wide-reload", 11, "reloads 11")),
            {"mass-delete": 412, "wide-reload": 11},
            ["wide-reload is new: it reloads 11"],
        ),
    ],
)
def test_an_approval_covers_what_was_shown_and_accepted_by_its_number(
    now: tuple[Hazard, ...], accepted: dict[str, int], words: list[str]
) -> None:
    assert Approval(7, (MASS, ROOT), accepted).objections(now) == words


def test_what_accepts_hazards_is_what_is_typed() -> None:
    both = f"--accept mass-delete=412 --accept root-ns=2 --shown {seal((MASS, ROOT))}"
    assert accepting((MASS, ROOT)) == both
    assert seal((MASS, ROOT)) != seal((MASS, attrs.evolve(ROOT, words="something else")))
