"""Previews on a lane: what a round would do is told, and nothing of it is done."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from node_agent.box.interface import FileImage, LinkImage
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.file_preview import BY_HAND, FOREIGN, PRIVATE
from node_agent.grants import Grants
from node_agent.lanes import AHEAD, HELD
from node_agent.previewing import UNENDED
from node_agent.wire.messages import Item
from node_agent.wire.questions import (
    MOST_PREVIEW_FILES,
    MOST_PREVIEW_LINES,
    MOST_PREVIEWED,
    MOST_PREVIEWED_BYTES,
    Preview,
    PreviewedFile,
    PreviewedObject,
)
from tests.unit.node_agent.bench_of_one import gone, item, page, server, zone
from tests.unit.node_agent.lane_bench import LaneBench
from tests.unit.node_agent.test_drift_lane import ZONE, asked, edit, running
from tests.unit.node_agent.toy_service import ToyPage, ToyZone

SECRET = b"what a person keeps there"


def preview(bench: LaneBench, *items: Item) -> Preview:
    objects = tuple(
        PreviewedObject(each.kind, each.key, each.kind_version, each.spec, each.requires)
        for each in items
    )
    found = asked(bench, bench.lane.preview(objects, 4.0))
    assert isinstance(found, Preview)
    return found


def files(found: Preview) -> dict[str, PreviewedFile]:
    return {each.path: each for each in found.files}


def test_a_changed_zone_is_shown_with_its_lines_and_its_reload() -> None:
    found = preview(running(), zone("a.test", 9, serial=7))
    assert found.files == (
        PreviewedFile(
            path=ZONE,
            action="change",
            mode=0o644,
            owner="0:0",
            lines=(
                f"--- a/{ZONE}",
                f"+++ b/{ZONE}",
                "@@ -1 +1 @@",
                "-@ 60 IN SOA ns. host. 1 1 1 1 1",
                "+@ 60 IN SOA ns. host. 7 1 1 1 1",
            ),
        ),
    )
    assert found.effects == (f"write {ZONE}", "reload the zone a.test")
    assert (found.refused, found.pending, found.cut) == ((), 0, False)


def test_nothing_is_stored_written_run_or_said_for_it() -> None:
    bench = running()
    nodes, journal = dict(bench.daemon.files.nodes), list(bench.journal.db.iterdump())
    version = bench.journal.db.total_changes
    found = preview(
        bench, server(9, "other"), zone("b.test", 10), gone("zone", "a.test", 11), page("q", 12)
    )
    assert len(found.files) == 4
    assert bench.daemon.files.nodes == nodes
    assert list(bench.journal.db.iterdump()) == journal
    assert bench.journal.db.total_changes == version
    assert (bench.daemon.log, bench.said) == ([], [])


def test_an_empty_lane_starts_with_its_server_and_then_does_the_rest() -> None:
    bench = LaneBench()
    found = preview(bench, server(1), zone("a.test", 2), page("p", 3))
    assert found.refused == ()
    assert found.effects == (
        "check the candidate with toy-check",
        "write toy.conf",
        "start toy",
        f"write {ZONE}",
        "add the zone a.test, or give it this configuration",
        "check the candidate with toy-check",
        "write accounts/1.conf",
        "reload toy gracefully",
    )


def test_a_removal_ends_with_the_file() -> None:
    found = preview(running(), gone("zone", "a.test", 9))
    assert [(each.path, each.action) for each in found.files] == [(ZONE, "remove")]
    assert found.effects == ("remove the zone a.test", f"remove {ZONE}")


def test_what_waits_for_another_is_thought_through_after_it() -> None:
    needing = item("page", "q", 9, ToyPage(account=2), ("zone", "b.test"))
    found = preview(running(), needing, zone("b.test", 10))
    assert found.refused == ()
    assert set(files(found)) == {"accounts/2.conf", "zones/b.test.zone"}
    (waits,) = preview(running(), needing).refused
    assert (waits.key, waits.outcome, waits.words) == ("q", "waiting", "waits for zone b.test")


def test_what_another_needs_is_removed_after_it_or_waits() -> None:
    bench = running()
    bench.take(item("page", "q", 6000, ToyPage(account=2), ("zone", "a.test")))
    (waits,) = preview(bench, gone("zone", "a.test", 9)).refused
    assert "still required by page q" in waits.words
    both = preview(bench, gone("zone", "a.test", 9), gone("page", "q", 10))
    assert (both.refused, len(both.files)) == ((), 2)


def test_what_is_refused_is_said_and_the_rest_is_shown() -> None:
    found = preview(running(), zone("bad.test", 9, refuse="no\x1b[2J"), zone("b.test", 10))
    (refused,) = found.refused
    assert (refused.key, refused.outcome) == ("bad.test", "quarantined")
    assert refused.words == "no\N{REPLACEMENT CHARACTER}[2J"
    assert [each.path for each in found.files] == ["zones/b.test.zone"]
    (unknown,) = preview(running(), item("mailbox", "m", 9, ToyZone(serial=1))).refused
    assert "no objects of kind mailbox" in unknown.words


def test_what_the_boxs_owner_does_not_grant_is_shown_as_refused() -> None:
    bench = running()
    bench.box.grants = Grants(programs={"other": PurePosixPath("/usr/bin/other")})
    found = preview(bench, server(9, "other"))
    (refused,) = found.refused
    assert refused.words.startswith("not granted: ")
    assert (found.files, found.effects) == ((), ())


def test_a_file_that_the_agent_did_not_write_is_never_shown() -> None:
    bench = running()
    bench.daemon.files.nodes["zones/b.test.zone"] = FileImage(SECRET, 0o644, 0, 0)
    (file,) = preview(bench, zone("b.test", 9)).files
    assert (file.action, file.lines) == ("change", ())
    assert FOREIGN in file.words


def test_a_private_file_is_never_shown() -> None:
    bench = running()
    edit(bench, ZONE, mode=0o600, content=SECRET)
    (file,) = preview(bench, zone("a.test", 9, serial=7)).files
    assert file.lines == ()
    assert PRIVATE in file.words
    assert "mode 0600 becomes 0644" in file.words


def test_secrets_are_taken_out_before_they_leave_the_box() -> None:
    bench = running()
    bench.take(page("p", 6000, text='secret "c2VjcmV0LW9uZQ=="'))
    (file,) = preview(bench, page("p", 6001, text='secret "b25lb25lb25l"')).files
    assert [line for line in file.lines if "p" in line[1:2]] == [
        '-p secret "[secret 2]"',
        '+p secret "[secret 1]"',
    ]


def test_a_link_that_stands_there_is_not_followed() -> None:
    bench = running()
    bench.daemon.files.nodes[ZONE] = LinkImage("/etc/shadow")
    (file,) = preview(bench, zone("a.test", 9, serial=7)).files
    assert "a link stands there now" in file.words
    assert [line[:1] for line in file.lines[3:]] == ["+"]


def test_what_was_changed_by_hand_is_said_to_be_lost() -> None:
    bench = running()
    edit(bench, ZONE, content=b"by hand\n")
    (file,) = preview(bench, zone("a.test", 9, serial=7)).files
    assert BY_HAND in file.words
    assert "-by hand" in file.lines


def test_by_the_policy_keep_a_changed_file_holds_the_object() -> None:
    bench = running("keep")
    edit(bench, ZONE, content=b"by hand\n")
    (held,) = preview(bench, zone("a.test", 9, serial=7)).refused
    assert (held.outcome, held.key) == ("held", "a.test")
    assert "was changed by hand and is kept" in held.words


def test_a_lane_that_is_held_or_ahead_says_so() -> None:
    bench = running()
    bench.lane.hold(True)
    with pytest.raises(BoxUnavailableError, match=HELD):
        preview(bench, zone("a.test", 9))
    bench.lane.hold(False)
    bench.lane.meet_history("another")
    with pytest.raises(BoxUnavailableError, match=AHEAD):
        preview(bench, zone("a.test", 9))


def test_what_is_stored_and_not_applied_is_counted() -> None:
    bench = running()
    bench.lane.hold(True)
    bench.take(zone("late.test", 7000), zone("later.test", 7001))
    bench.lane._held = False  # at rest, with work before it
    assert preview(bench, zone("a.test", 9)).pending == 2


def test_a_step_that_is_not_ended_does_not_pass_for_a_change_by_hand() -> None:
    bench = running()
    bench.journal.full_at = 3  # the step is live, and cannot be written down
    bench.take(zone("a.test", 8, serial=7))
    assert bench.lane.reports.condition == "disk-full"
    with pytest.raises(BoxUnavailableError, match=UNENDED):
        preview(bench, zone("a.test", 9, serial=9))
    bench.pass_time(2)
    (file,) = preview(bench, zone("a.test", 9, serial=9)).files
    assert (file.words, file.lines[-2]) == ("", "-@ 60 IN SOA ns. host. 7 1 1 1 1")


def test_a_round_under_way_is_waited_for_and_not_for_ever() -> None:
    bench = running()
    bench.lane._busy = True
    results: list[Any] = []
    Deferred.fromCoroutine(bench.lane.preview((), 4.0)).addBoth(results.append)
    assert results == []
    bench.clock.advance(4.1)
    assert "at work" in str(results[0].value)
    Deferred.fromCoroutine(bench.lane.preview((), 4.0)).addBoth(results.append)
    bench.lane._busy = False
    bench.lane.wake()
    assert isinstance(results[1], Preview)


@pytest.mark.parametrize(
    "objects",
    [
        (PreviewedObject("zone", "a.test", 1, None),) * (MOST_PREVIEWED + 1),
        (PreviewedObject("zone", "a.test", 1, b"x" * (MOST_PREVIEWED_BYTES + 1)),),
    ],
    ids=["many", "large"],
)
def test_more_than_one_preview_may_hold_is_refused(objects: tuple[PreviewedObject, ...]) -> None:
    bench = running()
    with pytest.raises(EffectFailedError, match="too many"):
        asked(bench, bench.lane.preview(objects, 4.0))


def test_an_answer_is_bounded_and_says_where_it_was_cut() -> None:
    bench = running()
    long = "x\n" * (MOST_PREVIEW_LINES // 10)
    pages = [page(f"p{n}", 9 + n, account=10 + n, text=long) for n in range(30)]
    found = preview(bench, *pages)
    assert sum(len(each.lines) for each in found.files) <= MOST_PREVIEW_LINES
    assert any("too many lines" in each.words and each.cut for each in found.files)
    assert len(found.files) <= MOST_PREVIEW_FILES
