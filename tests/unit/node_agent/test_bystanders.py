"""A reload that harms what nobody changed is taken back, and only what did it is blamed."""

from typing import Any

import pytest
import pytest_twisted

from node_agent.effects.failures import BoxUnavailableError
from templates.effects import Probe
from tests.unit.node_agent.bench_of_one import Bench, page, server, zone


def harmful(bench: Bench, *, word: str, zones: int = 2) -> None:
    """Have zones be answered no more once an account's file with ``word`` was read again."""
    names = {f"z{number}.test" for number in range(zones)}
    read: list[Any] = []
    starts = bench.world.starts

    def reading(files: Any) -> bool:
        read[:] = [files.content("accounts/1.conf") or b"", files.content("accounts/2.conf") or b""]
        return starts(files)

    def refuses(effect: Any) -> str:
        gone = isinstance(effect, Probe) and getattr(effect, "zone", "") in names
        return "not served" if gone and any(word.encode() in text for text in read) else ""

    bench.world.starts = reading
    bench.world.refuses = refuses


async def with_zones(count: int = 2) -> Bench:
    bench = Bench()
    await bench.apply(server(1), *(zone(f"z{n}.test", n + 2) for n in range(count)))
    return bench


@pytest_twisted.ensureDeferred
async def test_what_harms_another_is_taken_back_and_quarantined_alone() -> None:
    bench = await with_zones()
    harmful(bench, word="harm")
    await bench.apply(page("good.test", 11, account=2), page("bad.test", 12, text="harm"))
    assert bench.outcomes() == {"page/bad.test": "quarantined"}
    assert "was answered before: not served" in bench.words()
    assert bench.lane.files.content("accounts/1.conf") is None
    assert bench.lane.files.content("accounts/2.conf") == b"good.test \n"


@pytest_twisted.ensureDeferred
async def test_what_was_not_well_before_is_not_asked_after() -> None:
    bench = await with_zones()
    harmful(bench, word="")
    bench.world.starts(bench.lane.files)
    await bench.apply(page("good.test", 11))
    assert bench.outcomes() == {}


@pytest_twisted.ensureDeferred
async def test_where_the_other_stays_away_nobody_is_blamed() -> None:
    bench = await with_zones()
    starts = bench.world.starts
    reloads: list[int] = []

    def reading(files: Any) -> bool:
        reloads.append(1)
        return starts(files)

    bench.world.starts = reading
    bench.world.refuses = lambda effect: (
        "not served" if reloads and getattr(effect, "zone", "").startswith("z") else ""
    )
    await bench.apply(page("good.test", 11))
    assert bench.outcomes() == {"page/good.test": "failed"}


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_is_only_slow_blames_no_change() -> None:
    bench = await with_zones()
    probe = bench.lane.probe
    asked: list[str] = []

    async def silent_after_the_reload(effect: Any, *, once: bool = False) -> None:
        zone = getattr(effect, "zone", "")
        if zone and not once:
            asked.append(zone)
            raise BoxUnavailableError("it does not answer")
        await probe(effect, once=once)

    bench.lane.probe = silent_after_the_reload  # type: ignore[method-assign]
    await bench.apply(page("good.test", 11))
    assert sorted(asked) == ["z0.test", "z1.test"]
    assert bench.outcomes() == {}


@pytest.mark.parametrize("count", [1, 3, 40])
@pytest_twisted.ensureDeferred
async def test_a_few_are_asked_however_many_there_are(count: int) -> None:
    bench = await with_zones(count)
    bench.lane.log.clear()
    await bench.apply(page("good.test", 99))
    asked = bench.lane.log.count("probe ProbeZone")
    assert asked == 2 * min(count, 3), "before and after"
