"""Proving the audit: whoever owns the database alters, removes and writes anew, and is found."""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from controller.cluster import audit
from controller.storage.anchoring import CHANGES, INTERVAL_SECONDS, Anchoring
from controller.storage.anchors import Anchor, AnchorFile, Notes
from controller.storage.chain import CONTENT, Content
from controller.storage.database import Transaction
from controller.storage.sealer import seal_batch
from tests.integration.model import OPERATOR, Model

ACCOUNTS = 6
"""Changes that each test begins with: accounts a1 to a6, added one by one, sealed and noted."""


async def add_accounts(model: Model, *names: str) -> None:
    for name in names:
        await model.ask("account.add", name=name)
    await model.database.transaction(OPERATOR, seal_batch, name="seal")


async def note(model: Model) -> Anchor | None:
    return await Anchoring(model.database, model.anchors, Clock()).note()


async def begin(model: Model) -> None:
    """Seal changes, and note the head after the second and the last."""
    await add_accounts(model, "a1", "a2")
    await note(model)
    await add_accounts(model, *(f"a{number}" for number in range(3, ACCOUNTS + 1)))
    await note(model)


async def walk(model: Model, size: int = 4) -> dict[str, Any]:
    """Verify page after page; give the last answer, with all that was checked."""
    checked, cursor = 0, ""
    while True:
        answer: dict[str, Any] = await model.ask("audit.verify", limit=size, cursor=cursor)
        checked += answer["checked"]
        if answer["finding"] is not None or answer["next"] is None:
            return {**answer, "checked": checked}
        cursor = answer["next"]


def as_owner(url: str, work: Callable[[Any], None]) -> None:
    """Do what only the database's superuser can."""
    connection = psycopg2.connect(url.replace("hs_owner@", "postgres@"))
    with connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE change DISABLE TRIGGER change_sealed")
        work(cursor)
    connection.close()


def remove(cursor: Any, seq: int) -> None:
    """Remove a change with all its parts."""
    for part in ("change_row", "change_object", "change_watch"):
        cursor.execute(
            f"DELETE FROM {part} WHERE change_id = (SELECT id FROM change WHERE seq = %s)", (seq,)
        )
    cursor.execute("DELETE FROM change WHERE seq = %s", (seq,))


def chain_anew(cursor: Any) -> None:
    """Give every change the number and the hash that it would have as the chain is now."""
    cursor.execute(CONTENT + "WHERE c.seq IS NOT NULL ORDER BY c.seq")
    former = b""
    for seq, row in enumerate(cursor.fetchall(), start=1):
        content = Content.of_row(row)
        former = content.linked(seq, former)
        cursor.execute(
            "UPDATE change SET seq = %s, hash = %s WHERE id = %s", (seq, former, content.id)
        )


@pytest_twisted.ensureDeferred
async def test_a_whole_chain_verifies_page_by_page(model: Model) -> None:
    await begin(model)
    await model.ask("account.add", name="unsealed")
    for size in (1, 2, 3, 1000):
        answer = await walk(model, size)
        assert answer["finding"] is None
        assert (answer["checked"], answer["through"], answer["unsealed"]) == (ACCOUNTS, ACCOUNTS, 1)
        assert answer["anchors"]["count"] == 2
        assert answer["anchors"]["newest"] == ACCOUNTS


@pytest_twisted.ensureDeferred
async def test_an_empty_audit_verifies(model: Model) -> None:
    answer = await walk(model)
    assert (answer["checked"], answer["finding"], answer["next"]) == (0, None, None)


@pytest_twisted.ensureDeferred
async def test_a_page_ends_with_the_change_that_is_asked_for(model: Model) -> None:
    await begin(model)
    ((kept,),) = await model.rows("SELECT encode(hash, 'hex') FROM change WHERE seq = 3")
    answer = await model.ask("audit.verify", through=3)
    assert (answer["through"], answer["hash"]) == (3, kept)
    assert answer["next"] is not None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change SET actor = 'operator:eve' WHERE seq = 4",
        "UPDATE change SET reason = 'none' WHERE seq = 4",
        'UPDATE change_row SET after = \'{"name": "other"}\' WHERE change_id ='
        " (SELECT id FROM change WHERE seq = 4)",
        "INSERT INTO change_row SELECT change_id, 99, relation, row_key, before, after"
        " FROM change_row WHERE change_id = (SELECT id FROM change WHERE seq = 4)",
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_edited_change_is_named(model: Model, database_url: str, statement: str) -> None:
    await begin(model)
    ((number,),) = await model.rows("SELECT id FROM change WHERE seq = 4")
    as_owner(database_url, lambda cursor: cursor.execute(statement))
    answer = await walk(model)
    finding = answer["finding"]
    assert (finding["kind"], finding["seq"], finding["id"]) == ("altered", 4, number)
    assert "still follow from the hash" in finding["what"]
    assert answer["through"] == 3  # what fits ends before it


@pytest_twisted.ensureDeferred
async def test_an_edited_change_that_was_sealed_anew_breaks_the_next_link(
    model: Model, database_url: str
) -> None:
    await begin(model)

    def edit(cursor: Any) -> None:
        cursor.execute("UPDATE change SET actor = 'operator:eve' WHERE seq = 4")
        cursor.execute("SELECT hash FROM change WHERE seq = 3")
        (former,) = cursor.fetchone()
        cursor.execute(CONTENT + "WHERE c.seq = 4")
        anew = Content.of_row(cursor.fetchone()).linked(4, bytes(former))
        cursor.execute("UPDATE change SET hash = %s WHERE seq = 4", (anew,))

    as_owner(database_url, edit)
    finding = (await walk(model))["finding"]
    assert (finding["kind"], finding["seq"]) == ("altered", 5)
    assert "or the changes before it" in finding["what"]


@pytest_twisted.ensureDeferred
async def test_a_removed_middle_change_is_named(model: Model, database_url: str) -> None:
    await begin(model)
    as_owner(database_url, lambda cursor: remove(cursor, 3))
    finding = (await walk(model))["finding"]
    assert (finding["kind"], finding["seq"]) == ("missing", 3)
    assert finding["what"].startswith("change 3 removed: after 2 comes 4")


@pytest_twisted.ensureDeferred
async def test_a_change_that_was_unsealed_leaves_a_gap(model: Model, database_url: str) -> None:
    await begin(model)
    as_owner(
        database_url,
        lambda cursor: cursor.execute("UPDATE change SET seq = NULL, hash = NULL WHERE seq = 3"),
    )
    finding = (await walk(model))["finding"]
    assert (finding["kind"], finding["seq"]) == ("missing", 3)


@pytest_twisted.ensureDeferred
async def test_a_change_put_in_below_the_first_number_is_found(
    model: Model, database_url: str
) -> None:
    await begin(model)
    as_owner(
        database_url,
        lambda cursor: cursor.execute(
            "INSERT INTO change (seq, hash, actor, command, request)"
            " VALUES (-9223372036854775808, 'x', 'operator:eve', 'a.b', '{}')"
        ),
    )
    assert (await walk(model))["finding"]["seq"] == 1


@pytest_twisted.ensureDeferred
async def test_removed_newest_changes_are_found_by_the_noted_head(
    model: Model, database_url: str
) -> None:
    await begin(model)

    def cut(cursor: Any) -> None:
        for seq in (5, 6):
            remove(cursor, seq)

    as_owner(database_url, cut)
    finding = (await walk(model))["finding"]
    assert (finding["kind"], finding["seq"]) == ("truncated", 5)
    assert finding["what"].startswith("changes 5 to 6 at least were removed")


@pytest_twisted.ensureDeferred
async def test_all_removed_changes_are_found_by_the_noted_head(
    model: Model, database_url: str
) -> None:
    await begin(model)
    as_owner(
        database_url,
        lambda cursor: cursor.execute("TRUNCATE change, change_row, change_object CASCADE"),
    )
    assert (await walk(model))["finding"]["kind"] == "truncated"


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest_twisted.ensureDeferred
async def test_a_chain_that_was_written_anew_is_found_by_the_noted_heads(
    model: Model, database_url: str, size: int
) -> None:
    await begin(model)

    def rewrite(cursor: Any) -> None:
        cursor.execute("UPDATE change SET actor = 'operator:eve' WHERE seq = 4")
        chain_anew(cursor)

    as_owner(database_url, rewrite)
    finding = (await walk(model, size))["finding"]
    assert (finding["kind"], finding["seq"]) == ("rewritten", ACCOUNTS)
    assert "between 3 and 6" in finding["what"]


@pytest_twisted.ensureDeferred
async def test_a_removed_change_whose_numbers_were_closed_up_is_found(
    model: Model, database_url: str
) -> None:
    await begin(model)

    def rewrite(cursor: Any) -> None:
        remove(cursor, 2)
        cursor.execute("UPDATE change SET seq = -seq")
        cursor.execute("UPDATE change SET seq = -seq - 1 WHERE seq < -2")
        cursor.execute("UPDATE change SET seq = -seq WHERE seq < 0")
        chain_anew(cursor)

    as_owner(database_url, rewrite)
    finding = (await walk(model))["finding"]
    assert (finding["kind"], finding["seq"]) == ("rewritten", 2)


@pytest_twisted.ensureDeferred
async def test_the_head_is_noted_when_it_moved_on_and_when_it_is_due(model: Model) -> None:
    clock = Clock()
    anchoring = Anchoring(model.database, model.anchors, clock)
    assert anchoring.is_due(0)
    assert await anchoring.note() is None  # nothing is sealed yet
    await add_accounts(model, "a1")
    assert not anchoring.is_due(1)
    assert anchoring.is_due(CHANGES)
    first = await anchoring.note()
    assert first is not None
    assert first.seq == 1
    clock.advance(INTERVAL_SECONDS)
    assert anchoring.is_due(0)
    assert await anchoring.note() is None  # the head stayed
    assert not anchoring.is_due(0)
    assert model.anchors.read().anchors == (first,)
    assert model.anchors.path.stat().st_mode & 0o777 == 0o600


@pytest_twisted.ensureDeferred
async def test_tampering_is_told_in_the_log_at_the_next_note(
    model: Model, database_url: str
) -> None:
    await begin(model)
    as_owner(database_url, lambda cursor: remove(cursor, ACCOUNTS))
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        await note(model)
    finally:
        globalLogPublisher.removeObserver(events.append)
    (told,) = [event for event in events if event["log_level"] is LogLevel.error]
    assert told["seq"] == ACCOUNTS
    # The former note stays: who looks later finds it, too.
    assert (await walk(model))["finding"]["kind"] == "truncated"


@pytest_twisted.ensureDeferred
async def test_after_a_restore_the_chain_goes_on_from_the_backup(
    model: Model, database_url: str
) -> None:
    await begin(model)

    def as_of_the_backup(cursor: Any) -> None:
        for seq in (4, 5, 6):
            remove(cursor, seq)

    as_owner(database_url, as_of_the_backup)
    ((kept,),) = await model.rows("SELECT encode(hash, 'hex') FROM change WHERE seq = 3")
    model.anchors.append(Anchor("2026-01-31T00:00:00+00:00", 3, kept, restored=True))
    answer = await walk(model)
    assert answer["finding"] is None
    assert answer["anchors"]["set_aside"] == 1
    await add_accounts(model, "b1", "b2")
    await note(model)
    assert (await walk(model))["finding"] is None
    # What the restore brought back must stay as it was.
    as_owner(
        database_url,
        lambda cursor: (
            cursor.execute("UPDATE change SET actor = 'operator:eve' WHERE seq = 2"),
            chain_anew(cursor),
        ),
    )
    assert (await walk(model))["finding"]["kind"] == "rewritten"


@pytest_twisted.ensureDeferred
async def test_a_head_that_is_noted_meanwhile_is_no_finding(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was noted before the chain is read is in it; so the notes are read first."""
    order: list[str] = []
    read_notes, links = AnchorFile.read, audit.read_links

    def notes_first(file: AnchorFile) -> Notes:
        order.append("notes")
        return read_notes(file)

    async def links_then(tx: Transaction, after: int, size: int) -> list[Content]:
        order.append("links")
        return await links(tx, after, size)

    monkeypatch.setattr(AnchorFile, "read", notes_first)
    monkeypatch.setattr(audit, "read_links", links_then)
    await model.ask("audit.verify")
    assert order == ["notes", "links"]


@pytest_twisted.ensureDeferred
async def test_notes_that_cannot_be_read_are_a_refusal(model: Model) -> None:
    model.anchors.path.mkdir()
    error = await model.refused("audit.verify")
    assert error.id == "audit.anchors.unreadable"


@pytest_twisted.ensureDeferred
async def test_a_made_up_cursor_is_refused(model: Model) -> None:
    assert (await model.refused("audit.verify", cursor="Ing=")).id == "list.cursor.invalid"
    assert (await model.refused("audit.verify", limit=0)).id == "list.limit.invalid"


@pytest_twisted.ensureDeferred
async def test_changes_are_listed_by_thing_and_time(model: Model) -> None:
    await begin(model)
    await model.ask("account.delete", name="a2")
    found = await model.ask("change.list", object="a2")
    assert [item["command"] for item in found["items"]] == ["account.delete", "account.add"]
    assert (await model.ask("change.list", object="a2", command="account.add"))["items"][0][
        "request"
    ] == {"name": "a2"}
    assert (await model.ask("change.list", object="nothing"))["items"] == []
    ((moment,),) = await model.rows("SELECT max(at) FROM change")
    later = await model.ask("change.list", since=moment.isoformat())
    assert [item["command"] for item in later["items"]] == ["account.delete"]
    assert len((await model.ask("change.list", until=moment.isoformat()))["items"]) == ACCOUNTS
    assert (await model.ask("change.list", until="2001-01-01"))["items"] == []
    refusal = await model.refused("change.list", since="yesterday")
    assert (refusal.id, refusal.field) == ("change.moment.invalid", "since")


@pytest_twisted.ensureDeferred
async def test_a_change_says_who_from_where_when_and_what_before_and_after(model: Model) -> None:
    await begin(model)
    deleted = await model.run("account.delete", name="a2")
    shown = await model.ask("change.show", id=deleted.change_id)
    assert (shown["actor"], shown["origin"]) == (OPERATOR.actor, OPERATOR.origin)
    assert shown["at"]
    (row,) = shown["rows"]
    assert (row["before"]["name"], row["after"]) == ("a2", None)


def test_a_note_that_was_cut_off_is_passed_over(tmp_path: Any) -> None:
    file = AnchorFile(tmp_path / "audit-anchors")
    first, second = Anchor("t1", 1, "aa"), Anchor("t2", 2, "bb")
    file.append(first)
    with file.path.open("a") as text:
        text.write('{"at": "t1')
    file.append(second)
    notes = file.read()
    assert (notes.anchors, notes.unreadable) == ((first, second), 1)


def test_notes_rotate_and_both_files_are_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.storage.anchors._ROTATE_BYTES", 100)
    file = AnchorFile(tmp_path / "audit-anchors")
    for seq in range(1, 10):
        file.append(Anchor("2026-01-31T00:00:00+00:00", seq, "ab" * 8))
    assert file.rotated.stat().st_size < 250
    kept = [anchor.seq for anchor in file.read().anchors]
    assert kept == list(range(kept[0], 10))
    assert len(kept) > 2
