"""The agent killed at every step: a restart ends before or after, never between.

The box in memory tells each of its steps, the engine each of its own (`Point`): the list of places
to die at is taken from the code, by letting it run once.
"""

from pathlib import Path
from typing import get_args

import pytest
import pytest_twisted

from node_agent.box.interface import DirectoryImage
from node_agent.entries import Point
from node_agent.wire.messages import Item
from tests.unit.node_agent.bench_of_one import LANE, Bench, gone, page, server, zone
from tests.unit.node_agent.toy_service import (
    BAD_SYNTAX,
    KILLER,
    TOY,
    toy_check,
    toy_starts,
)

FIRST = (
    server(1),
    zone("changed.test", 2, serial=1),
    zone("gone.test", 3),
    page("kept.test", 4, account=1),
    page("gone-page.test", 5, account=2),
)
MIXED = (
    zone("changed.test", 11, serial=2),
    zone("new.test", 12, serial=7),
    gone("zone", "gone.test", 13),
    page("added.test", 14, account=1),
    gone("page", "gone-page.test", 15),
    page("moving.test", 16, account=3),
)
UNLUCKY = (
    zone("changed.test", 11, serial=2, refuse="no"),
    page("bad.test", 12, account=1, text=BAD_SYNTAX),
    page("killer.test", 13, account=4, text=KILLER),
    page("fine.test", 14, account=5),
)
SERVER = (server(21, setting="other"),)
BAD_SERVER = (server(21, setting=KILLER),)
BATCHES = {
    "first": ((), FIRST),
    "mixed": (FIRST, MIXED),
    "unlucky": (FIRST, UNLUCKY),
    "server": (FIRST, SERVER),
    "bad-server": (FIRST, BAD_SERVER),
}


class Killed(BaseException):
    """The process is gone: nothing may catch this."""


class Counter:
    """Lets ``deadly`` steps pass, then kills."""

    def __init__(self, deadly: int | None = None) -> None:
        self.deadly = deadly
        self.steps: list[str] = []

    def __call__(self, step: str) -> None:
        if len(self.steps) == self.deadly:
            self.deadly = None
            raise Killed(step)
        self.steps.append(step)


def settled_state(bench: Bench) -> tuple[object, ...]:
    files = {
        path: node
        for path, node in bench.lane.files.nodes.items()
        if not isinstance(node, DirectoryImage)
    }
    return files, dict(bench.lane.zones), dict(bench.lane.serials), bench.outcomes()


def parts(bench: Bench) -> dict[str, object]:
    """What must be either as before or as after, one by one; a zone and its file are one thing."""
    found: dict[str, object] = {
        path: node
        for path, node in bench.lane.files.nodes.items()
        if not isinstance(node, DirectoryImage)
    }
    for name in {*bench.lane.zones, *map(_zone_of, found)} - {""}:
        file = found.pop(f"zones/{name}.zone", None)
        found[f"zone {name}"] = (bench.lane.zones.get(name), file)
    return found


def _zone_of(path: str) -> str:
    return path.removeprefix("zones/").removesuffix(".zone") if path.startswith("zones/") else ""


async def begun(path: Path, before: tuple[Item, ...]) -> Bench:
    bench = Bench(path=path)
    if before:
        await bench.apply(*before)
    return bench


async def run(bench: Bench, batch: tuple[Item, ...], at: Counter) -> None:
    bench.world.at = bench.at = at
    try:
        await bench.apply(*batch)
    except Killed:
        pass
    finally:
        bench.at = bench.world.at = lambda step: None


async def survive(bench: Bench, batch: tuple[Item, ...], allowed: list[dict[str, object]]) -> None:
    """The next life: first by itself, then with the batch sent again."""
    await bench.engine.recover()
    if bench.engine.has_server and not bench.lane.alive:
        await bench.engine.start()
    assert bench.journal.entries.still_open(LANE) == ()
    assert toy_check(bench.lane.files, TOY.daemon.check(None)) == ""  # type: ignore[arg-type]
    now = parts(bench)
    for name in {*now, *allowed[0], *allowed[1]}:
        assert now.get(name) in [each.get(name) for each in allowed], f"{name} is between"
    await bench.apply()
    await bench.apply(*batch)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("power", ["process", "power", "power-files-kept", "power-journal-kept"])
@pytest_twisted.ensureDeferred
async def test_killed_at_any_step_the_end_is_the_same(
    tmp_path: Path, name: str, power: str
) -> None:
    before, batch = BATCHES[name]
    start = await begun(tmp_path / "start", before)
    walk = Counter()
    reference = start.clone(tmp_path / "reference")
    await run(reference, batch, walk)
    expected = settled_state(reference)
    allowed = [parts(start), parts(reference)]
    assert len(walk.steps) > 15
    for deadly in range(len(walk.steps)):
        bench = start.clone(tmp_path / f"killed-{deadly}")
        await run(bench, batch, Counter(deadly))
        place = f"killed before step {deadly}: {walk.steps[deadly]}"
        if power != "process":
            bench.lose_power(
                keep_files=power == "power-files-kept", keep_journal=power == "power-journal-kept"
            )
        else:
            bench.restart()
        # A cold restart of the daemon at this very moment meets a configuration that it accepts.
        assert toy_check(bench.lane.files, TOY.daemon.check(None)) == "", place  # type: ignore[arg-type]
        if name in ("first", "mixed", "server"):
            assert toy_starts(bench.lane.files), place
        await survive(bench, batch, allowed)
        assert settled_state(bench) == expected, place
        bench.journal.close()


@pytest_twisted.ensureDeferred
async def test_what_may_have_been_told_as_live_is_not_taken_back(tmp_path: Path) -> None:
    """P5: a change that a person was shown as done stays so, whenever the agent dies."""
    start = await begun(tmp_path / "start", FIRST)
    walk = Counter()
    reference = start.clone(tmp_path / "reference")
    await run(reference, MIXED, walk)
    first, last = walk.steps.index("remembered"), walk.steps.index("settled")
    for deadly in range(first + 1, last + 1):
        bench = start.clone(tmp_path / f"told-{deadly}")
        await run(bench, MIXED, Counter(deadly))
        bench.restart()
        before = len(bench.lane.log)
        await bench.engine.recover()
        assert parts(bench) == parts(reference), walk.steps[deadly]
        assert bench.lane.log[before:] == [], "the daemon is left alone"
        assert bench.journal.settled_revision(LANE) == 16
        bench.journal.close()


@pytest_twisted.ensureDeferred
async def test_a_recovered_agent_is_killed_again_while_it_recovers(tmp_path: Path) -> None:
    start = await begun(tmp_path / "start", FIRST)
    walk = Counter()
    reference = start.clone(tmp_path / "reference")
    await run(reference, MIXED, walk)
    expected = settled_state(reference)
    allowed = [parts(start), parts(reference)]
    first = walk.steps.index("probed")
    second = 0
    while True:
        bench = start.clone(tmp_path / f"twice-{second}")
        await run(bench, MIXED, Counter(first))
        bench.restart()
        bench.world.at = bench.at = Counter(second)
        try:
            await bench.engine.recover()
            ended = True
        except Killed:
            ended = False
        bench.world.at = bench.at = lambda step: None
        bench.restart()
        await survive(bench, MIXED, allowed)
        assert settled_state(bench) == expected, f"killed again before step {second}"
        bench.journal.close()
        if ended:
            break
        second += 1
    assert second > 5


@pytest_twisted.ensureDeferred
async def test_every_point_of_the_engine_is_passed(tmp_path: Path) -> None:
    """The walks above die at each point that the code names; none is named in vain."""
    passed: set[str] = set()
    for name, (before, batch) in BATCHES.items():
        walk = Counter()
        bench = await begun(tmp_path / name, before)
        await run(bench, batch, walk)
        passed.update(walk.steps)
        bench.journal.close()
    recovering = Counter()
    bench = await begun(tmp_path / "last", FIRST)
    await run(bench, MIXED, Counter(12))
    bench.restart()
    bench.at = recovering
    await bench.engine.recover()
    passed.update(recovering.steps)
    assert set(get_args(Point)) <= passed
