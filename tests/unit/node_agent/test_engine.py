import pytest_twisted

from tests.unit.node_agent.bench_of_one import LANE, Bench, gone, item, page, server, zone
from tests.unit.node_agent.toy_service import BAD_SYNTAX, KILLER, ToyZone


@pytest_twisted.ensureDeferred
async def test_the_server_comes_first_then_the_rest() -> None:
    bench = Bench()
    await bench.apply(zone("a.test", 1, serial=7), page("w.test", 2), server(3))
    assert bench.outcomes() == {}
    assert bench.lane.alive
    assert bench.lane.serials == {"a.test": 7}
    assert bench.lane.files.content("accounts/1.conf") == b"w.test \n"
    assert bench.journal.settled_revision(LANE) == 3
    assert bench.journal.entries.still_open(LANE) == ()


@pytest_twisted.ensureDeferred
async def test_without_its_server_everything_waits_and_is_released_by_it() -> None:
    bench = Bench()
    await bench.apply(zone("a.test", 1))
    assert bench.outcomes() == {"zone/a.test": "waiting"}
    assert bench.journal.settled_revision(LANE) == 1
    await bench.apply(server(2))
    assert bench.outcomes() == {}
    assert bench.lane.serials == {"a.test": 1}


@pytest_twisted.ensureDeferred
async def test_a_zone_starts_no_process_and_reloads_nothing() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2, serial=1))
    bench.lane.log.clear()
    await bench.apply(zone("a.test", 3, serial=2))
    assert bench.lane.log == ["ReloadZone a.test", "probe ProbeZone"]


@pytest_twisted.ensureDeferred
async def test_one_poison_object_in_a_thousand_quarantines_only_itself() -> None:
    bench = Bench()
    bench.world.refuses = lambda e: "no!" if getattr(e, "zone", "") == "z500.test" else ""
    items = [zone(f"z{n}.test", n + 2) for n in range(1000)]
    await bench.apply(server(1), *items)
    assert bench.outcomes() == {"zone/z500.test": "quarantined"}
    assert bench.words() == "no!"
    assert len(bench.lane.serials) == 999
    assert bench.lane.files.content("zones/z500.test.zone") is None
    assert bench.journal.settled_revision(LANE) == 1001


@pytest_twisted.ensureDeferred
async def test_what_planning_refuses_is_quarantined_with_its_words() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2, refuse="not like this"), zone("b.test", 3))
    assert bench.outcomes() == {"zone/a.test": "quarantined"}
    assert bench.words() == "not like this"


@pytest_twisted.ensureDeferred
async def test_a_spec_that_cannot_be_read_is_quarantined_alone() -> None:
    bench = Bench()
    broken = item("zone", "a.test", 2, ToyZone(serial=1))
    broken = type(broken)("zone", "a.test", 2, 99, b"\xc1")
    await bench.apply(server(1), broken, zone("b.test", 3))
    assert bench.outcomes() == {"zone/a.test": "quarantined"}
    assert bench.lane.serials == {"b.test": 1}


@pytest_twisted.ensureDeferred
async def test_a_quarantined_change_leaves_the_last_good_version_served() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2, serial=5))
    bench.world.refuses = lambda e: "no!" if getattr(e, "serial", None) == 6 else ""
    await bench.apply(zone("a.test", 3, serial=6))
    assert bench.outcomes() == {"zone/a.test": "quarantined"}
    assert bench.lane.serials == {"a.test": 5}
    assert b" 5 " in (bench.lane.files.content("zones/a.test.zone") or b"")
    bench.world.refuses = lambda e: ""
    await bench.apply(zone("a.test", 4, serial=7))
    assert bench.outcomes() == {}
    assert bench.lane.serials == {"a.test": 7}


@pytest_twisted.ensureDeferred
async def test_a_bad_page_is_found_at_the_check_and_costs_no_reload() -> None:
    bench = Bench()
    await bench.apply(server(1))
    bench.lane.log.clear()
    pages = [page(f"p{n}.test", n + 2, account=n % 3) for n in range(12)]
    pages[5] = page("p5.test", 7, account=2, text=BAD_SYNTAX)
    await bench.apply(*pages)
    assert bench.outcomes() == {"page/p5.test": "quarantined"}
    assert BAD_SYNTAX in bench.words()
    assert bench.lane.log.count("reload") == 1
    assert bench.lane.files.content("accounts/2.conf") == b"p11.test \np2.test \np8.test \n"


@pytest_twisted.ensureDeferred
async def test_reloads_are_coalesced() -> None:
    bench = Bench()
    await bench.apply(server(1))
    bench.lane.log.clear()
    await bench.apply(*(page(f"p{n}.test", n + 2, account=n) for n in range(40)))
    assert bench.lane.log.count("reload") == 1
    assert bench.outcomes() == {}


@pytest_twisted.ensureDeferred
async def test_a_reload_that_kills_the_daemon_is_taken_back_and_the_culprit_found() -> None:
    bench = Bench()
    await bench.apply(server(1), page("good.test", 2, account=9))
    await bench.apply(page("p0.test", 3, account=0), page("p1.test", 4, account=1, text=KILLER))
    assert bench.lane.alive
    assert bench.outcomes() == {"page/p1.test": "quarantined"}
    assert bench.lane.files.content("accounts/0.conf") == b"p0.test \n"
    assert bench.lane.files.content("accounts/1.conf") is None


@pytest_twisted.ensureDeferred
async def test_after_three_reloads_the_search_ends_and_the_rest_is_held() -> None:
    bench = Bench()
    await bench.apply(server(1))
    bench.lane.log.clear()
    pages = [page(f"p{n}.test", n + 2, account=n) for n in range(64)]
    pages[63] = page("p63.test", 65, account=63, text=KILLER)
    await bench.apply(*pages)
    assert bench.lane.alive
    assert set(bench.outcomes().values()) == {"held"}
    assert "page/p63.test" in bench.outcomes()
    assert len(bench.outcomes()) < 64
    tries = [event for event in bench.lane.log if event == "reload"]
    assert len(tries) <= 1 + 3
    assert bench.journal.settled_revision(LANE) == 65


@pytest_twisted.ensureDeferred
async def test_a_page_that_is_not_answered_is_taken_back_alone() -> None:
    bench = Bench()
    bench.world.refuses = lambda e: "404" if getattr(e, "host", "") == "p1.test" else ""
    await bench.apply(server(1))
    await bench.apply(*(page(f"p{n}.test", n + 2, account=n) for n in range(3)))
    assert bench.outcomes() == {"page/p1.test": "quarantined"}
    assert bench.lane.files.content("accounts/1.conf") is None
    assert bench.lane.files.content("accounts/2.conf") == b"p2.test \n"


@pytest_twisted.ensureDeferred
async def test_a_dead_daemon_quarantines_nothing() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2))
    bench.lane.kill()
    rounds = await bench.apply(zone("a.test", 3, serial=2), zone("b.test", 4))
    assert rounds[-1].unavailable is not None
    assert bench.outcomes() == {}
    assert b" 1 " in (bench.lane.files.content("zones/a.test.zone") or b"")
    await bench.engine.recover()
    await bench.apply()
    assert bench.lane.serials == {"a.test": 2, "b.test": 1}


@pytest_twisted.ensureDeferred
async def test_a_sick_daemon_is_not_blamed_on_the_batch() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2))
    bench.world.refuses = lambda e: "sick"
    rounds = await bench.apply(zone("a.test", 3, serial=2))
    assert "not well" in str(rounds[-1].unavailable)
    assert bench.outcomes() == {}


@pytest_twisted.ensureDeferred
async def test_a_full_disk_quarantines_nothing() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2))
    bench.world.disk_full = True
    rounds = await bench.apply(zone("a.test", 3, serial=2), zone("b.test", 4))
    assert "No space" in str(rounds[-1].unavailable)
    assert bench.outcomes() == {}
    assert bench.lane.serials == {"a.test": 1}
    bench.world.disk_full = False
    await bench.engine.recover()
    await bench.apply()
    assert bench.lane.serials == {"a.test": 2, "b.test": 1}


@pytest_twisted.ensureDeferred
async def test_removal_runs_in_reverse_order() -> None:
    bench = Bench()
    needs_a = item("zone", "b.test", 3, ToyZone(serial=1), ("zone", "a.test"))
    await bench.apply(server(1), needs_a, zone("a.test", 4))
    assert bench.outcomes() == {}
    await bench.apply(gone("zone", "a.test", 5))
    assert bench.outcomes() == {"zone/a.test": "waiting"}
    assert "still required by zone b.test" in bench.words()
    await bench.apply(gone("zone", "b.test", 6))
    assert bench.outcomes() == {}
    assert bench.lane.zones == {}
    assert bench.lane.files.content("zones/a.test.zone") is None


@pytest_twisted.ensureDeferred
async def test_the_removed_server_stops_its_daemon_last() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2))
    await bench.apply(gone("server", "", 3), gone("zone", "a.test", 4))
    assert bench.outcomes() == {}
    assert not bench.lane.alive
    assert bench.lane.files.content("toy.conf") is None


@pytest_twisted.ensureDeferred
async def test_a_first_server_that_does_not_start_has_failed_and_is_not_quarantined() -> None:
    bench = Bench()
    await bench.apply(server(1, setting=KILLER))
    assert bench.outcomes() == {"server/": "failed"}
    assert bench.lane.files.content("toy.conf") is None


@pytest_twisted.ensureDeferred
async def test_a_bad_change_of_the_server_leaves_the_old_one_running() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 2))
    await bench.apply(server(3, setting=KILLER))
    assert bench.outcomes() == {"server/": "quarantined"}
    assert bench.lane.alive
    assert bench.lane.files.content("toy.conf") == b"plain"
    await bench.apply(server(4, setting=BAD_SYNTAX))
    assert bench.outcomes() == {"server/": "quarantined"}
    assert bench.lane.files.content("toy.conf") == b"plain"


@pytest_twisted.ensureDeferred
async def test_a_page_that_moves_between_units_is_planned_once() -> None:
    bench = Bench()
    await bench.apply(server(1), page("p.test", 2, account=1), page("q.test", 3, account=1))
    await bench.apply(page("p.test", 4, account=2))
    assert bench.outcomes() == {}


@pytest_twisted.ensureDeferred
async def test_an_older_revision_never_comes_back() -> None:
    bench = Bench()
    await bench.apply(server(1), zone("a.test", 5, serial=5))
    await bench.apply(zone("a.test", 4, serial=4))
    assert bench.lane.serials == {"a.test": 5}


@pytest_twisted.ensureDeferred
async def test_the_removal_of_what_was_never_there_is_done() -> None:
    bench = Bench()
    await bench.apply(server(1), gone("zone", "never.test", 2))
    await bench.apply(zone("bad.test", 3, refuse="no"))
    await bench.apply(gone("zone", "bad.test", 4))
    assert bench.outcomes() == {}
    assert bench.journal.settled_revision(LANE) == 4
    assert bench.journal.entries.still_open(LANE) == ()


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_does_not_answer_is_not_asked_for_each_step() -> None:
    bench = Bench()
    await bench.apply(server(1))
    bench.lane.alive = False
    bench.lane.log.clear()
    rounds = await bench.apply(*(zone(f"z{n}.test", n + 2) for n in range(300)))
    assert rounds[-1].unavailable is not None
    tried = [event for event in bench.lane.log if event.startswith("AddZone")]
    assert len(tried) == 1
