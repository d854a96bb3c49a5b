import pytest
from twisted.internet.task import Clock

from node_agent.box.memory import MemoryLane, World
from node_agent.observing import FEW, NUDGES, RETRANSFER_AFTER, ZoneWatch, serial_reached


@pytest.mark.parametrize(
    ("answered", "wanted", "reached"),
    [(5, 5, True), (6, 5, True), (4, 5, False), (1, 2**32 - 1, True), (2**32 - 1, 1, False)],
)
def test_serials_are_compared_as_rfc_1982_says(answered: int, wanted: int, reached: bool) -> None:
    assert serial_reached(answered, wanted) is reached


class Watched:
    def __init__(self) -> None:
        self.clock = Clock()
        self.held: int | None = None
        self.lane = MemoryLane(World(transferred=lambda zone: self.held))
        self.lane.alive = True
        self.lane.zones["a.test"] = "type slave;"
        self.seen: list[tuple[str, int]] = []
        self.watch = ZoneWatch(self.clock, self.lane, lambda *each: self.seen.append(each))

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.001] * int(seconds * 1000))


def test_a_serial_is_seen_within_milliseconds() -> None:
    watched = Watched()
    watched.watch.watch("a.test", 7)
    watched.pass_time(0.01)
    assert watched.seen == []
    watched.held = 7
    watched.pass_time(0.03)
    assert watched.seen == [("a.test", 7)]


def test_a_lost_notify_is_made_good_by_one_retransfer() -> None:
    watched = Watched()
    watched.held = 6
    watched.watch.watch("a.test", 7)
    watched.pass_time(RETRANSFER_AFTER - 0.7)
    assert watched.lane.log == []
    watched.pass_time(2)
    assert watched.lane.log == ["retransfer a.test"]
    watched.pass_time(10)
    assert watched.lane.log == ["retransfer a.test"]


def test_a_new_zone_that_its_master_did_not_have_yet_is_asked_for_soon() -> None:
    watched = Watched()
    watched.watch.watch("a.test", 7)
    watched.pass_time(NUDGES[0] + 0.008)
    assert watched.lane.log == ["retransfer a.test"]
    watched.pass_time(RETRANSFER_AFTER - 0.7)
    assert watched.lane.log == ["retransfer a.test"] * len(NUDGES)


def test_zones_of_a_bulk_fill_are_not_asked_for_early() -> None:
    watched = Watched()
    for number in range(FEW + 1):
        watched.lane.zones[f"z{number}.test"] = "type slave;"
        watched.watch.watch(f"z{number}.test", 7)
    watched.pass_time(RETRANSFER_AFTER - 0.7)
    assert watched.lane.log == []
    watched.pass_time(2)
    assert len(watched.lane.log) == FEW + 1


def test_a_newer_wish_replaces_an_older_one() -> None:
    watched = Watched()
    watched.watch.watch("a.test", 7)
    watched.watch.watch("a.test", 9)
    watched.watch.watch("a.test", 8)
    watched.held = 8
    watched.pass_time(2)
    assert watched.seen == []
    watched.held = 9
    watched.pass_time(2)
    assert watched.seen == [("a.test", 9)]


def test_a_dead_daemon_only_delays_the_observation() -> None:
    watched = Watched()
    watched.lane.alive = False
    watched.held = 7
    watched.watch.watch("a.test", 7)
    watched.pass_time(3)
    watched.lane.alive = True
    watched.pass_time(2)
    assert watched.seen == [("a.test", 7)]


def test_what_is_watched_no_more_leaves_no_timer() -> None:
    watched = Watched()
    watched.watch.watch("a.test", 7)
    watched.pass_time(0.1)
    watched.watch.stop()
    assert watched.clock.getDelayedCalls() == []
