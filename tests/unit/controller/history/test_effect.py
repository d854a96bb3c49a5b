"""What rows come to, and what is its exact reverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.changes import ChangedRow
from controller.history.effect import Effect, Thing, Turn, effect_of, unlike
from controller.history.write_back import Step, steps_back
from controller.refusal import CommandError

ZONE = "service.test"
RECORD = {"name": "www", "type": "A", "ttl": 60, "data": "192.0.2.1", "generated": False}


def effect(*rows: ChangedRow) -> dict[Thing, Turn]:
    return effect_of(rows, derived_zone=ZONE)


def record(before: bool, after: bool, zone: str = "shop.test", **other: object) -> ChangedRow:
    image = {**RECORD, **other}
    return ChangedRow(
        "record", f"{zone} www A", image if before else None, image if after else None
    )


def test_a_record_that_came_and_went_is_nothing() -> None:
    assert effect(record(False, True), record(True, False)) == {}


def test_a_record_with_another_ttl_is_one_thing() -> None:
    found = effect(record(True, False), record(False, True, ttl=90))
    ((thing, turn),) = found.items()
    assert (thing.part, turn.difference) == ("192.0.2.1", {("ttl",): (60, 90)})


def test_what_only_grows_makes_no_difference() -> None:
    row = ChangedRow("zone", "shop.test", {"serial": 1, "version": 1}, {"serial": 2, "version": 2})
    assert effect(row) == {}


def test_the_service_zone_is_left_out() -> None:
    assert effect(record(False, True, zone=ZONE)) == {}
    assert effect(ChangedRow("zone", ZONE, None, {"records": [RECORD], "servers": []})) == {}


def test_a_zone_is_itself_and_its_records() -> None:
    made = ChangedRow("zone", "shop.test", None, {"ttl": 60, "serial": 7, "records": [RECORD]})
    assert effect(made, record(True, False)) == effect(
        ChangedRow("zone", "shop.test", None, {"ttl": 60, "serial": 7, "records": []})
    )


def test_a_role_is_a_setting() -> None:
    row = ChangedRow("logical_server", "ns1", {"role": "none"}, {"role": "master"})
    ((_, turn),) = effect(row).items()
    assert turn.difference == {("settings", "role"): (None, "master")}


def test_other_settings_of_the_same_server_are_left_alone() -> None:
    def settings(**kept: int) -> dict[str, object]:
        return {"settings": kept}

    def row(before: dict[str, object], after: dict[str, object]) -> ChangedRow:
        return ChangedRow("logical_server", "web1", before, after)

    done = effect(row(settings(a=1), settings(a=2)))
    undone = effect(row(settings(a=2, b=5), settings(a=1, b=5)))
    assert unlike(done, undone) == []
    (step,) = steps_back(*next(iter(done.items())))
    assert step == Step("lserver.set", {"name": "web1", "settings": {"a": 1}})


def test_what_a_change_did_not_keep_is_refused() -> None:
    old = ChangedRow("ip_address", "192.0.2.1 53", {"count": 1}, None)
    ((thing, turn),) = effect(old).items()
    with pytest.raises(CommandError) as caught:
        list(steps_back(thing, turn))
    assert caught.value.id == "undo.not-kept"


images = st.none() | st.dictionaries(
    st.sampled_from(("a", "b", "version")),
    st.integers(0, 2) | st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)),
)
rows = st.builds(ChangedRow, st.just("box"), st.sampled_from(("one", "two")), images, images)


def reverse(done: Effect) -> Effect:
    return {thing: Turn(turn.after, turn.before) for thing, turn in done.items()}


@given(st.lists(rows, max_size=4), st.lists(rows, max_size=4))
def test_unlike_finds_what_is_no_exact_reverse(
    some: list[ChangedRow], others: list[ChangedRow]
) -> None:
    done, other = effect(*some), effect(*others)
    assert unlike(done, reverse(done)) == []
    assert set(unlike(done, {})) == set(done)
    same = {thing: turn.difference for thing, turn in done.items()} == {
        thing: turn.difference for thing, turn in other.items()
    }
    assert (unlike(done, reverse(other)) == []) == same
