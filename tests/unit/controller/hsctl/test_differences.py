"""``--diff``: what boxes would come to, printed; only with a dry run."""

import json
from typing import Any

from pytest_twisted import ensureDeferred

from controller.client import exit_codes
from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import Told

FILE = {
    "path": "zones/52/a.test.zone",
    "action": "change",
    "kind": "file",
    "mode": "0644",
    "owner": "0:0",
    "target": "",
    "words": "mode 0600 becomes 0644",
    "lines": [
        "--- a/zones/52/a.test.zone",
        "+++ b/zones/52/a.test.zone",
        "@@ -1 +1 @@",
        "-a\tb\x1b[2J",
    ],
    "cut": True,
}
LANE: dict[str, Any] = {
    "logical_server": "ns1.test",
    "box": "ns1",
    "known": True,
    "words": ["the box is behind"],
    "files": [FILE],
    "effects": ["write zones/52/a.test.zone", "reload the zone a.test"],
    "refused": [{"kind": "zone", "key": "b.test", "outcome": "held", "words": "kept\x1b[2J"}],
    "cut": True,
}
AWAY = {
    **LANE,
    "logical_server": "ns2.test",
    "box": "ns2",
    "known": False,
    "files": [],
    "effects": [],
}
AWAY |= {"words": ["ns2: the box is not connected; its differences are not known"], "refused": []}
ASK = ("record", "add", "a.test", "www", "A", "192.0.2.1")


def planned(*lanes: Any) -> Told:
    return Told({"domain": "a.test"}, plan={"words": ["touches ns1"], "differences": list(lanes)})


@ensureDeferred
async def test_it_is_printed_as_git_prints_a_diff(cli: Cli) -> None:
    cli.runner.answer = lambda asked: planned(LANE, AWAY)
    ended = await cli.run(*ASK, "--dry-run", "--diff")
    assert ended.code == exit_codes.DONE, "a box that cannot say is no failure"
    (asked,) = cli.runner.asked
    assert (asked.dry_run, asked.diff) == (True, True)
    text = ended.out[ended.out.index("ns1.test on ns1") :]
    assert [line.strip() for line in text.splitlines() if line.strip()] == [
        "ns1.test on ns1",
        "… the box is behind",
        "zone b.test would be held: kept\\x1b[2J",
        "diff --git a/zones/52/a.test.zone b/zones/52/a.test.zone",
        "changed file: mode 0600 becomes 0644",
        "--- a/zones/52/a.test.zone",
        "+++ b/zones/52/a.test.zone",
        "@@ -1 +1 @@",
        "-a\tb\\x1b[2J",
        "... and more, which is not shown",
        "in this order:",
        "1. write zones/52/a.test.zone",
        "2. reload the zone a.test",
        "... and more, which the box did not tell",
        "ns2.test on ns2",
        "? ns2: the box is not connected; its differences are not known",
    ]


@ensureDeferred
async def test_json_has_it_as_it_was_told(cli: Cli) -> None:
    cli.runner.answer = lambda asked: planned(LANE)
    ended = await cli.run(*ASK, "--dry-run", "--diff", "-o", "json")
    assert json.loads(ended.out)["plan"]["differences"] == [LANE]


@ensureDeferred
async def test_a_change_that_touches_no_box_says_so(cli: Cli) -> None:
    cli.runner.answer = lambda asked: planned()
    ended = await cli.run(*ASK, "--dry-run", "--diff")
    assert "no object of a box changes" in ended.out


@ensureDeferred
async def test_alone_it_is_an_error_of_usage_and_nothing_is_written(cli: Cli) -> None:
    ended = await cli.run(*ASK, "--diff")
    assert ended.code == exit_codes.USAGE
    assert "--dry-run --diff" in ended.err
    assert cli.runner.asked == []


@ensureDeferred
async def test_a_deletion_with_diff_alone_is_refused_before_it_asks(cli: Cli) -> None:
    ended = await cli.run("domain", "delete", "a.test", "--diff")
    assert ended.code == exit_codes.USAGE
    assert "--dry-run --diff" in ended.err
    assert cli.runner.asked == []
