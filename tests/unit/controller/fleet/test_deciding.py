"""What the fleet decides from values: lanes, repairs, watches, words, intervals."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.fleet.committed import Pending, Watch
from controller.fleet.conditions import BoxFacts, LaneFacts, conditions
from controller.fleet.lanes import LaneRow, judge
from controller.fleet.link import LaneLink, Turn, acknowledged
from controller.fleet.liveness import interval, is_silent, must_speak
from controller.fleet.repair import Desired, compare, is_mass_delete
from node_agent.wire.messages import LaneReport
from node_agent.wire.object_hash import as_text, element

ROW = LaneRow("box", "server", "ns1", "bind", 9, 5, 5, 77, "ok", "")
REPORT = LaneReport(
    lane="server",
    history="h",
    stored_revision=5,
    settled_revision=5,
    object_hash=as_text(77),
    renderer="r",
    condition="ok",
)


def changed(**fields: object) -> LaneReport:
    return LaneReport(**{f: getattr(REPORT, f) for f in REPORT.__struct_fields__} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("report", "step"),
    [
        (REPORT, "resume"),
        (changed(stored_revision=8), "resume"),
        (changed(stored_revision=10), "ahead"),
        (changed(history="other"), "ahead"),
        (changed(stored_revision=4), "repair"),
        (changed(object_hash=as_text(78)), "repair"),
        (changed(history=""), "restart"),
        (None, "restart"),
    ],
)
def test_a_lane_goes_on_only_as_it_may(report: LaneReport | None, step: str) -> None:
    assert judge(ROW, report, "h").step == step


def test_a_new_lane_has_nothing_to_compare() -> None:
    assert judge(attrs.evolve(ROW, stored=0), None, "h").step == "resume"


NAMES = st.dictionaries(
    st.tuples(st.just("zone"), st.sampled_from([f"z{n}" for n in range(8)])), st.integers(1, 20)
)


@given(
    held=NAMES,
    wanted=NAMES.flatmap(
        lambda names: st.fixed_dictionaries(
            {k: st.booleans().map(lambda d, v=v: Desired(v, d)) for k, v in names.items()}
        )
    ),
)
def test_a_repair_makes_the_box_as_the_model(
    held: dict[tuple[str, str], int], wanted: dict[tuple[str, str], Desired]
) -> None:
    repair = compare(held, wanted, through=20)
    after = dict(held)
    for name in repair.forget:
        del after[name]
    for name in repair.send:
        if wanted[name].deleted:
            after.pop(name, None)
        else:
            after[name] = wanted[name].revision
    newer = set(repair.newer)
    assert {n: r for n, r in after.items() if n not in newer} == {
        n: d.revision for n, d in wanted.items() if not d.deleted and n not in newer
    }
    assert all(held[name] > wanted[name].revision for name in newer)


@pytest.mark.parametrize(
    ("removed", "held", "many"),
    [(19, 20, False), (20, 400, False), (21, 400, True), (20, 20, True)],
)
def test_many_removals_are_many_by_share_and_by_count(removed: int, held: int, many: bool) -> None:
    assert is_mass_delete(removed, held) is many


def test_what_is_remembered_of_an_object_is_its_share_as_it_was_sent() -> None:
    sent = Pending("zone", "a", 2, 1, b"key=$secret", (), (7,), 1)
    assert acknowledged(sent, b"2").share == element("zone", "a", 2, b"2")
    assert acknowledged(sent, None).share is None


def link() -> LaneLink:
    return LaneLink(
        key=("box", "server"),
        box_name="ns1",
        epoch=1,
        history="h",
        send=lambda message: None,
        saying=lambda words: None,
        stored=0,
        box_stored=0,
        settled=0,
        server_revision=0,
    )


CLICK = {("zone", "shop.test"): 2000}


def test_a_click_overtakes_only_where_something_would_be_overtaken() -> None:
    lane = link()
    lane.put_early(CLICK)
    lane.server_revision = 500
    assert lane.turn() is None
    lane.server_revision = 2000
    assert lane.turn() == Turn("early", (("zone", "shop.test"),))
    lane.advance(1999)
    lane.filling = True
    assert lane.turn() is None  # it is next in turn


def test_every_second_batch_is_one_of_the_fill() -> None:
    lane = link()
    lane.server_revision = 3000
    lane.put_early(CLICK)
    lane.took(lane.turn(), (), complete=False)
    lane.put_early({("zone", "b.test"): 2001})
    assert lane.turn() is None
    lane.took(None, (), complete=False)
    assert lane.turn() == Turn("early", (("zone", "b.test"),))


def test_no_more_than_a_batch_is_early() -> None:
    lane = link()
    for number in range(20):
        lane.put_early({("zone", f"{number}-{n}.test"): 2000 for n in range(50)})
    assert len(lane.early) == 500


def test_a_repair_goes_on_where_a_batch_of_it_was_cut_short() -> None:
    lane = link()
    lane.again = tuple(("zone", f"{n}.test") for n in range(600))
    turn = lane.turn()
    assert turn is not None
    lane.took(turn, turn.names[450:], complete=False)
    assert lane.again == tuple(("zone", f"{n}.test") for n in range(450, 600))


def test_watches_are_asked_a_bounded_number_at_a_time() -> None:
    lane = link()
    asked = [lane.watch(Watch(n, "server", f"z{n}", 1)) for n in range(1200)]
    assert asked.count(True) == 1000
    assert lane.seen("z0", 1) == (0,)
    (following,) = lane.next_watches()
    assert following.zone == "z1000"


def test_a_lower_serial_ends_no_watch() -> None:
    lane = link()
    lane.watch(Watch(1, "server", "a", 5))
    lane.watch(Watch(2, "server", "a", 7))
    assert lane.seen("a", 4) == ()
    assert lane.seen("a", 6) == (1,)
    assert lane.seen("a", 7) == (2,)
    assert lane.watches == {}


NOW = datetime(2026, 6, 1, tzinfo=UTC)
WELL = BoxFacts(NOW, True, NOW + timedelta(days=80), [LaneFacts("ok", 3, 3)])


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (WELL, ("connected",)),
        (attrs.evolve(WELL, first_seen=None, connected=False), ("never connected",)),
        (attrs.evolve(WELL, connected=False), ("lost",)),
        (attrs.evolve(WELL, connected=False, in_grace=True), ()),
        (attrs.evolve(WELL, lanes=[LaneFacts("ok", 2, 3)]), ("behind", "connected")),
        (attrs.evolve(WELL, lanes=[LaneFacts("ahead", 3, 3)]), ("ahead", "connected")),
        (attrs.evolve(WELL, lanes=[LaneFacts("daemon-down", 3, 3)]), ("daemon down", "connected")),
        (attrs.evolve(WELL, lanes=[LaneFacts("disk-full", 3, 3)]), ("disk full", "connected")),
        (attrs.evolve(WELL, lanes=[LaneFacts("blocked", 3, 3)]), ("blocked", "connected")),
        (attrs.evolve(WELL, lanes=[LaneFacts("held", 3, 3)]), ("held", "connected")),
        (attrs.evolve(WELL, clock_skew=-31.0), ("clock skewed", "connected")),
        (
            attrs.evolve(WELL, certificate_ends=NOW + timedelta(days=3)),
            ("certificate expiring", "connected"),
        ),
        (attrs.evolve(WELL, refused="duplicate-identity"), ("duplicate identity", "connected")),
        (attrs.evolve(WELL, connected=False, refused="protocol"), ("version too old", "lost")),
    ],
)
def test_a_box_is_called_by_the_words_of_the_design(box: BoxFacts, words: tuple[str, ...]) -> None:
    assert conditions(box, NOW) == words


def test_heartbeats_stay_at_a_bounded_rate_in_a_large_fleet() -> None:
    assert interval(3) == 10.0
    assert interval(5000) == 50.0
    assert interval(1_000_000) == 120.0


def test_silence_counts_after_three_intervals_and_speech_is_due_after_half_of_one() -> None:
    assert not is_silent(30.0, 0.0, 10.0)
    assert is_silent(30.1, 0.0, 10.0)
    assert not must_speak(4.9, 0.0, 10.0)
    assert must_speak(5.0, 0.0, 10.0)
