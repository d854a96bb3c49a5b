import sqlite3
from pathlib import Path

import pytest
import pytest_twisted

from node_agent.effects.failures import DiskFullError
from node_agent.journal import Journal
from node_agent.journal_file import JournalError
from node_agent.records import Received
from node_agent.wire import object_hash
from node_agent.wire.messages import Item
from templates.objects import ObjectId
from tests.unit.node_agent.bench_of_one import HISTORY, LANE, Bench, server, zone


def store(journal: Journal, *items: Item, history: str = HISTORY, through: int = 0) -> None:
    newest = max((each.revision for each in items), default=0)
    with journal.transaction():
        journal.store(LANE, Received(history, max(through, newest), items))


@pytest.fixture
def journal() -> Journal:
    made = Journal(None)
    made.lanes.assign([(LANE, "toy1", "toy")])
    return made


def test_the_hash_is_that_of_the_live_objects(journal: Journal) -> None:
    store(journal, zone("a.test", 1), zone("b.test", 2))
    store(journal, zone("a.test", 3, serial=2), Item("zone", "b.test", 4, 1, None))
    live = zone("a.test", 3, serial=2)
    assert live.spec is not None
    expected = object_hash.element("zone", "a.test", 3, live.spec)
    assert journal.lanes.get(LANE).object_hash == object_hash.as_text(expected)
    assert journal.live(LANE, ObjectId("", ""), 10) == (("zone", "a.test", 3),)


def test_what_came_ahead_of_older_objects_is_worked_first(journal: Journal) -> None:
    store(journal, zone("a.test", 1), zone("b.test", 2), zone("c.test", 3))
    with journal.transaction():
        journal.store(LANE, Received(HISTORY, 3, (zone("d.test", 9), zone("e.test", 8))))
    assert [each.revision for each in journal.pending(LANE, 9)] == [8, 9, 1, 2, 3]
    assert [each.revision for each in journal.pending(LANE, 3)] == [8, 9, 1]
    store(journal, zone("f.test", 4), through=9)
    assert [each.revision for each in journal.pending(LANE, 9)] == [1, 2, 3, 4, 8, 9]


def test_an_older_or_equal_revision_is_passed_by(journal: Journal) -> None:
    store(journal, zone("a.test", 5, serial=5))
    before = journal.lanes.get(LANE).object_hash
    store(journal, zone("a.test", 4, serial=4), zone("a.test", 5, serial=6))
    assert journal.lanes.get(LANE).object_hash == before
    assert [each.revision for each in journal.pending(LANE, 9)] == [5]


def test_after_an_adoption_any_revision_is_newer(journal: Journal) -> None:
    store(journal, zone("a.test", 50))
    journal.lanes.adopt(LANE, "restored")
    assert journal.lanes.get(LANE).stored_revision == 0
    store(journal, zone("a.test", 4), history="restored")
    assert [each.revision for each in journal.pending(LANE, 9)] == [4]


def test_what_is_forgotten_becomes_a_removal(journal: Journal) -> None:
    store(journal, zone("a.test", 1), zone("b.test", 2))
    journal.forget(LANE, [ObjectId("zone", "a.test"), ObjectId("zone", "never.test")])
    specs = {each.id.key: each.spec for each in journal.pending(LANE, 9)}
    assert specs["a.test"] is None
    assert specs["b.test"] is not None
    assert len(journal.live(LANE, ObjectId("", ""), 10)) == 1


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.sqlite").close()
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_lane_that_is_assigned_no_more_is_kept(journal: Journal) -> None:
    store(journal, zone("a.test", 1))
    journal.lanes.assign([])
    assert not journal.lanes.get(LANE).assigned
    journal.lanes.assign([(LANE, "renamed", "toy")])
    assert journal.lanes.get(LANE).stored_revision == 1


def test_a_full_disk_stores_nothing_of_a_batch(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.lanes.assign([(LANE, "toy1", "toy")])
    (pages,) = journal.db.execute("PRAGMA page_count").fetchone()
    journal.db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFullError):
        store(journal, *(zone(f"z{n}.test", n + 1) for n in range(500)))
    assert journal.lanes.get(LANE).stored_revision == 0
    assert journal.pending(LANE, 9) == ()
    journal.close()


@pytest_twisted.ensureDeferred
async def test_a_click_costs_the_same_with_many_zones() -> None:
    """Nothing on a click's path walks the lane: SQLite's own steps are counted, not time."""
    costs = []
    for size in (50, 2000):
        bench = Bench()
        await bench.apply(server(1), *(zone(f"z{n}.test", n + 2) for n in range(size)))
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        bench.journal.db.set_progress_handler(count, 10)
        await bench.apply(zone("z7.test", size + 5, serial=2))
        bench.journal.db.set_progress_handler(None, 0)
        costs.append(steps)
    assert costs[1] < costs[0] * 1.5


def test_the_change_behind_an_object_is_kept_for_the_log(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.lanes.assign([(LANE, "toy1", "toy")])
    store(journal, Item("zone", "a.test", 1, 1, b"spec", change=15))
    assert [each.change for each in journal.pending(LANE, 10)] == [15]
    found = journal.desired(LANE, ObjectId("zone", "a.test"))
    assert found is not None
    assert found.change == 15
    journal.close()


def test_a_journal_of_the_first_format_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.lanes.assign([(LANE, "toy1", "toy")])
    store(journal, zone("a.test", 1))
    journal.close()
    with sqlite3.connect(path) as older:
        older.executescript(
            "ALTER TABLE object DROP COLUMN change_id; DROP TABLE live; DROP TABLE file;"
            "DROP TABLE finding; ALTER TABLE lane DROP COLUMN drift;"
            "ALTER TABLE lane DROP COLUMN unfilled; PRAGMA user_version = 1;"
        )
    again = Journal(path)
    assert again.lanes.get(LANE).stored_revision == 1
    assert [each.change for each in again.pending(LANE, 10)] == [0]
    assert again.entries.still_open(LANE) == ()
    assert again.files.unfilled(LANE, 10) == (), "its files are to be noted, once"
    again.close()


def test_a_journal_of_a_newer_agent_is_left_alone_with_words_for_a_person(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="written by a newer agent"):
        Journal(path)
